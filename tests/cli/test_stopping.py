"""Stopping a service that is in use, and what else a terminal or a service manager does to it."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Serve, Service, environment

PATIENCE = 30.0
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


def until(condition: Callable[[], bool]) -> None:
    """Wait for something to come true."""
    give_up_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


Connect = Callable[[Service], socket.socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open connections, which end with the test."""
    with ExitStack() as opened:
        yield lambda service: opened.enter_context(
            socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=PATIENCE)
        )


def ask(connection: socket.socket, request: bytes) -> bytes:
    """Send it, and read one answer, with its body."""
    connection.sendall(request)
    got = b""
    while b"\r\n\r\n" not in got:
        data = connection.recv(65536)
        assert data, got
        got += data
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@WORKERS
def test_readiness_ends_first_and_requests_are_taken_meanwhile(serve: Serve, connect: Connect, workers: str) -> None:
    """Balancers look away while those who have not heard of it are still served; then the connections end."""
    service = serve("--drain", "600", "--workers", workers)
    kept = connect(service)
    assert b"connection: close" not in ask(kept, get("/livez"))
    service.process.send_signal(signal.SIGTERM)
    until(lambda: service.get("/readyz") == 503)
    assert service.get("/livez") == 200
    body = json.dumps({"username": "ada", "email": "ada@example.com", "password": "a long enough one"}).encode()
    answer = ask(kept, post("/register", body))
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert kept.recv(1) == b""
    service.process.send_signal(signal.SIGTERM)  # has seen enough
    assert service.ended().code == 0


@WORKERS
def test_the_time_to_drain_ends(serve: Serve, workers: str) -> None:
    ended = serve("--drain", "1", "--workers", workers).stop()
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("how", "workers"),
    [
        (signal.SIGTERM, "1"),
        (signal.SIGINT, "2"),
        pytest.param(signal.SIGTERM, "2", marks=pytest.mark.rare),
        pytest.param(signal.SIGINT, "1", marks=pytest.mark.rare),
    ],
)
def test_a_second_signal_ends_it_at_once(serve: Serve, connect: Connect, workers: str, how: signal.Signals) -> None:
    """Whatever is under way; the drain would take ten minutes."""
    service = serve("--drain", "600", "--workers", workers)
    held = connect(service)
    held.sendall(post("/register", b"x")[:-1])
    service.process.send_signal(how)
    until(lambda: service.get("/readyz") == 503)
    service.process.send_signal(how)
    ended = service.ended()
    assert ended.code == 0
    assert "Traceback" not in ended.out + ended.err


def test_an_interrupt_of_the_terminal_reaches_everybody_and_counts_once(tmp_path: Path, port: int) -> None:
    """Ctrl-C goes to every process of the terminal: the workers drain all the same."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), "--workers", "2", "--drain", "600"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    service = Service(process, f"http://127.0.0.1:{port}")
    try:
        until(lambda: _status(service, "/readyz") == 200)
        os.killpg(process.pid, signal.SIGINT)
        until(lambda: _status(service, "/readyz") == 503)
        assert service.get("/livez") == 200
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def test_what_is_under_way_is_finished(serve: Serve, connect: Connect) -> None:
    """A body that is still being sent when the service is told to stop gets its answer, and the last one."""
    service = serve()
    body = json.dumps({"username": "ada", "email": "ada@example.com", "password": "a long enough one"}).encode()
    request = post("/register", body)
    slow = connect(service)
    slow.sendall(request[:-5])
    idle = connect(service)
    ask(idle, get("/livez"))
    service.process.send_signal(signal.SIGTERM)
    assert idle.recv(1) == b""  # the idle ones have been closed
    answer = ask(slow, request[-5:])
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert service.ended().code == 0


@WORKERS
def test_what_comes_while_others_are_finished_is_sent_away(serve: Serve, connect: Connect, workers: str) -> None:
    """It gets an answer at once, where it would wait for nothing: every worker has been told to stop."""
    service = serve("--workers", workers)
    held = [connect(service) for _ in range(20)]
    for each in held:
        each.sendall(post("/register", b"x" * 9)[:-5])
    told: list[bytes] = []

    def sent_away() -> bool:
        late = connect(service)
        late.settimeout(1)
        with suppress(TimeoutError):
            told.append(ask(late, get("/livez")))
        return bool(told) and told[-1].startswith(b"HTTP/1.1 503 ")

    service.process.send_signal(signal.SIGTERM)
    until(sent_away)
    service.process.send_signal(signal.SIGTERM)
    service.ended()


@WORKERS
def test_a_hang_up_is_ignored_and_logged(serve: Serve, workers: str) -> None:
    service = serve("--workers", workers)
    service.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert service.get("/readyz") == 200
    ended = service.stop()
    assert ended.code == 0
    assert "hang_up_ignored" in ended.err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_that_is_gone_takes_nothing_with_it(tmp_path: Path, port: int, workers: str) -> None:
    """Every process of it is told, and nothing can be written any more: log lines are lost, requests are not."""
    main, other = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), "--workers", workers, "--log-level", "debug"],
        cwd=tmp_path,
        env=environment(),
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    )
    os.close(other)
    service = Service(process, f"http://127.0.0.1:{port}")
    try:
        until(lambda: _status(service, "/readyz") == 200)
        os.close(main)
        os.killpg(process.pid, signal.SIGHUP)
        for _ in range(5):
            assert service.get("/readyz") == 200
            assert service.get("/nothing") == 404
            time.sleep(0.1)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("workers", "closed"),
    [
        ("1", "<&- >&-"),
        ("1", "<&- >&- 2>&-"),
        ("1", "2>&-"),
        ("2", "<&- >&- 2>&-"),
        pytest.param("2", "<&- >&-", marks=pytest.mark.rare),
        pytest.param("2", "2>&-", marks=pytest.mark.rare),
    ],
)
def test_closed_standard_streams(tmp_path: Path, port: int, connect: Connect, workers: str, closed: str) -> None:
    """⚑ As some service managers start it. A connection had the number of one of them: libuv aborted on closing it."""
    command = [*COMMAND, "serve", "--port", str(port), "--workers", workers]
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    service = Service(process, f"http://127.0.0.1:{port}")
    try:
        until(lambda: _status(service, "/readyz") == 200)
        assert ask(connect(service), get("/livez")).startswith(b"HTTP/1.1 200")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_localhost_is_both_families(tmp_path: Path, serve: Serve, port: int) -> None:
    """Half of the clients try one first, half the other."""
    families = ["127.0.0.1"]
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            families.append("[::1]")
    except OSError:
        pass  # a machine without IPv6: the service starts there as well
    serve("--host", "localhost")
    for family in families:
        with urllib.request.urlopen(f"http://{family}:{port}/livez", timeout=PATIENCE) as answer:
            assert answer.status == 200


def test_localhost_is_taken_when_one_family_is(run: Callable[..., object], port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        ended = run("serve", "--host", "localhost", "--port", str(port))
    assert f"cannot listen on localhost port {port}: address already in use" in ended.err  # type: ignore[attr-defined]


@pytest.fixture
def poor(serve: Serve, tmp_path: Path, port: int) -> Iterator[str]:
    """A service that may open 120 files and not one more."""
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 120))"
    code += "; from watchword.cli import main; sys.argv[0] = 'watchword'; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--port", str(port)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    service = Service(process, url)
    until(lambda: _status(service, "/readyz") == 200)
    yield url
    process.kill()
    process.wait()


def test_connections_leave_the_service_its_files(poor: str) -> None:
    """One address holds its share; strangers and the database go on, and what is too much is told so."""
    port = int(poor.rpartition(":")[2])
    held = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(150)]
    answers = []
    for connection in held:
        connection.settimeout(0.05)
        try:
            answers.append(connection.recv(1000))
        except TimeoutError:
            answers.append(b"")
    refused = [answer for answer in answers if answer]
    assert all(answer.startswith(b"HTTP/1.1 503 ") and b"retry-after" in answer for answer in refused)
    assert 100 < len(refused) < 150
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=("127.0.0.2", 0)) as stranger:
        body = json.dumps({"username": "ada", "email": "ada@example.com", "password": "a long enough one"}).encode()
        assert ask(stranger, post("/register", body)).startswith(b"HTTP/1.1 201 ")
    for connection in held:
        connection.close()


def test_the_number_of_files_is_raised(serve: Serve) -> None:
    """To what the system allows, and no further than is of use."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    service = serve()
    soft, _ = resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)
    assert soft >= min(hard, 16_384)


def _status(service: Service, path: str) -> int:
    try:
        return service.get(path)
    except urllib.error.URLError:
        return 0
    except OSError:
        return 0
