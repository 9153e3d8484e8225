"""`watchword health`: 0 while the service can serve, 1 when it cannot or is not there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Serve


def test_a_service_that_runs_and_one_that_is_stopped(run: Run, serve: Serve, port: int) -> None:
    """By the settings and by the URL, ready and live; a proxy of the environment is not asked."""
    proxied = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    own = {"WATCHWORD_PORT": str(port), **proxied}
    url = f"http://127.0.0.1:{port}"
    service = serve()
    for arguments in ([], [url], [url + "/"], ["--port", str(port)], ["--wait", "60"],
                      ["--wait", "1m"], ["--wait", "5s", url], [url + "/readyz"], [url + "/readyz/"]):  # fmt: skip
        ended = run("health", *arguments, **own)
        assert (ended.code, ended.out, ended.err) == (0, "ready\n", ""), arguments
    for arguments in (["--live"], ["--live", url], [url + "/livez"], [url + "/readyz", "--live"]):
        assert run("health", *arguments, **own).out == "alive\n", arguments
    service.stop()
    for arguments in ([], [url], ["--live"]):
        ended = run("health", *arguments, **own)
        assert (ended.code, ended.out) == (1, "")
        assert "no answer" in ended.err
        assert "hint:" in ended.err


def test_a_container_listens_everywhere(run: Run, serve: Serve, port: int) -> None:
    """Then loopback is asked, below the path of the public URL."""
    own = {"WATCHWORD_HOST": "0.0.0.0", "WATCHWORD_PORT": str(port), "WATCHWORD_TRUSTED_PROXIES": "1",
           "WATCHWORD_PUBLIC_URL": "https://auth.example.com/auth"}  # fmt: skip
    serve(prefix="/auth", **own)
    ended = run("health", **own)
    assert (ended.code, ended.out, ended.err) == (0, "ready\n", "")


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server with one answer for everything; its URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (503, json.dumps({"checks": {"writes": False, "keys": True, "database": False}}), "writes, database"),
        (503, "down", "status 503"),
        (404, "{}", "status 404"),
        (302, "", "status 302"),
        (500, "[1]", "status 500"),
        (503, '{"checks": null}', "status 503"),
    ],
)
def test_other_answers(run: Run, status: int, body: str, says: str) -> None:
    """They name what fails, if they are the service's; a redirection is not followed."""
    with answering(status, body.encode()) as url:
        ended = run("health", url)
    assert ended.code == 1
    assert says in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "127.0.0.1:4000", "http://", "http://a b/", "http://127.0.0.1/ü", "http://127.0.0.1:99999", "http://[::1",
     "http://u:p@127.0.0.1", "http://127.0.0.1/?x=1", "http://127.0.0.1:0", "http://127.0.0.1/\x01"],
)  # fmt: skip
def test_no_address(run: Run, url: str) -> None:
    """One line with a hint, and the code of wrong usage."""
    ended = run("health", url)
    assert ended.code == 2
    assert ended.err.count("\n") == 2
    assert "hint:" in ended.err


@pytest.mark.parametrize("wait", ["-1", "soon", "2h", "1.5", "inf", ""])
def test_no_time_to_wait(run: Run, wait: str) -> None:
    """Said in our words, with what to write."""
    ended = run("health", "http://127.0.0.1:9", f"--wait={wait}")
    assert (ended.code, ended.err.count("\n")) == (2, 2)
    assert "write 5s, 1m or 30; at most 1h" in ended.err


def test_settings_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    """The code is that of `serve`."""
    assert run("health", WATCHWORD_PORT="x").code == 78
    assert not list(tmp_path.iterdir()), "nothing is made"
