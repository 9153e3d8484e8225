"""The port of `watchword serve`, and what stands in its way; several processes are in tests/reliability."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import COMMAND, environment
from tests.e2e.server import Server, free_port
from tests.observing.reading import scrape, value, wait_until
from watchword.observing import port as metrics_port


def test_one_process_serves_its_metrics_on_a_port_of_their_own(tmp_path: Path) -> None:
    """On 127.0.0.1, at /metrics only, and not on the service's port."""
    port = free_port()
    # What another program's variable says must not send our numbers to its files.
    server = Server(tmp_path, WATCHWORD_METRICS_PORT=str(port), PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "none"))
    try:
        assert f"port {port} of 127.0.0.1, at /metrics" in server.log()
        assert value(scrape(port), "watchword_processes") == 1
        guess(server)
        assert value(scrape(port), "watchword_log_ins_total", result="refused") == 1
        assert httpx2.get(f"http://127.0.0.1:{port}/").status_code == 404
        head = httpx2.head(f"http://127.0.0.1:{port}/metrics")
        assert (head.status_code, head.content) == (200, b"")
        assert httpx2.post(f"http://127.0.0.1:{port}/metrics").status_code == 501
        assert httpx2.get(f"{server.url}/metrics").status_code == 404
        assert server.stop() == 0
    finally:
        server.kill()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_busy_port_is_one_clear_line(workers: str, tmp_path: Path) -> None:
    """The service does not start without the metrics it was told to show."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        ended = serve_in_vain(tmp_path, "--workers", workers, WATCHWORD_METRICS_PORT=str(taken))
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {taken}: address already in use" in ended.stderr
    assert "choose another port with --metrics-port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_services_own_port_is_refused(tmp_path: Path) -> None:
    """One port cannot be both."""
    ended = serve_in_vain(tmp_path, WATCHWORD_PORT="4100", WATCHWORD_METRICS_PORT="4100")
    assert ended.returncode != 0
    assert "is the service's own port" in ended.stderr


def test_a_host_without_its_port_is_told(tmp_path: Path) -> None:
    """The first line says that the port is missing."""
    server = Server(tmp_path, WATCHWORD_METRICS_HOST="127.0.0.1")
    try:
        assert "WATCHWORD_METRICS_HOST is set, and no metrics port" in server.log()
    finally:
        server.kill()


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    """prometheus-client is an extra: who asks for metrics without it reads how to install it."""
    (tmp_path / "prometheus_client.py").write_text("raise ModuleNotFoundError(name='prometheus_client')\n")
    ended = serve_in_vain(tmp_path, WATCHWORD_METRICS_PORT=str(free_port()), PYTHONPATH=str(tmp_path))
    assert ended.returncode != 0
    assert "needs the package prometheus-client" in ended.stderr
    assert "pip install -e '.[server,metrics]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_metrics_no_library_of_theirs_is_loaded(tmp_path: Path) -> None:
    """The service without a metrics port imports neither prometheus-client nor OpenTelemetry."""
    code = (
        "import sys, asyncio\n"
        "from watchword import Settings, Watchword\n"
        "async def main():\n"
        "    async with Watchword(Settings()).lifespan(): pass\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('prometheus_client', 'opentelemetry')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_inside_another_application_its_logging_shows_our_lines(tmp_path: Path) -> None:
    """structlog that nobody configured prints everything, debugging included, to standard output."""
    code = (
        "import asyncio, logging, sys\n"
        "from watchword import Settings, Watchword\n"
        "from watchword.tally import Log\n"
        "logging.basicConfig(level=sys.argv[1], format='%(levelname)s %(name)s %(message)s')\n"
        "async def main():\n"
        "    async with Watchword(Settings()).lifespan():\n"
        "        Log('watchword.jobs').debug('seen', job='x')\n"
        "        Log('watchword.jobs').warning('told', job='y')\n"
        "asyncio.run(main())\n"
    )
    for level, lines in (("WARNING", ["WARNING watchword.jobs event='told' job='y'"]),
                         ("DEBUG", ["DEBUG watchword.jobs event='seen' job='x'",
                                    "WARNING watchword.jobs event='told' job='y'"])):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code, level],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == ""
        assert [line for line in done.stderr.splitlines() if "seen" in line or "told" in line] == lines


def test_slow_and_many_clients_hold_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """More connections than places are closed at once; one that sends nothing is cut off."""
    monkeypatch.setattr(metrics_port, "_SECONDS", 5)  # enough to fill all places on a busy machine
    listener, others = socket.create_server(("127.0.0.1", 0)), {*threading.enumerate()}
    address = listener.getsockname()
    with metrics_port.served([listener], lambda: b"x 1\n", "text/plain; version=0"):
        held = [socket.create_connection(address) for _ in range(metrics_port.MOST_CONNECTIONS)]
        for each in held:
            each.sendall(b"GET /metrics HTTP/1.1\r\n")
        wait_until(lambda: _busy(others) == metrics_port.MOST_CONNECTIONS)
        with socket.create_connection(address) as late:
            late.settimeout(30)
            assert late.recv(1) == b""
        for each in held:
            each.settimeout(30)
            assert each.recv(1) == b""
            each.close()
        wait_until(lambda: _busy(others) == 0)
        assert httpx2.get(f"http://127.0.0.1:{address[1]}/metrics").text == "x 1\n"


def guess(server: Server) -> None:
    """A log-in that fails, on a connection of its own: these spread over the workers."""
    wrong = {"username": "nobody", "password": "wrong-wrong-wrong"}
    assert httpx2.post(f"{server.url}/login", json=wrong, timeout=60).status_code == 401


def _busy(others: set[threading.Thread]) -> int:
    """How many connections have a thread; servers of other tests have left some behind."""
    return sum("process_request_thread" in thread.name for thread in {*threading.enumerate()} - others)


def serve_in_vain(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """A start that must fail."""
    port = () if "WATCHWORD_PORT" in extra else ("--port", str(free_port()))
    return subprocess.run(
        [*COMMAND, "serve", *port, *arguments],
        cwd=folder,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_names_in_the_banner_are_those_of_the_settings() -> None:
    """The hint of a busy port is a flag that exists."""
    from watchword.settings.table import BY_NAME

    assert BY_NAME["metrics_port"].flag == "--metrics-port"
    assert re.fullmatch(r"--metrics-host", BY_NAME["metrics_host"].flag)
