"""From the answer of `POST /logout` to the refusal by a guard in another process: within a second."""

from __future__ import annotations

import json
import random
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.e2e.client import bearer
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server

PROGRAM = Path(__file__).with_name("watching_guard.py")


class WatchingGuard:
    """The guard's process, once it accepts every token."""

    def __init__(self, server: Server, tokens: list[str], *, seconds: float, guard_key: str | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        asked = {"issuer": server.url, "tokens": tokens, "seconds": seconds, "guard_key": guard_key}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def refused(self) -> dict[int, float]:
        """When each token was refused, once all are or the time is over."""
        assert self.process.stdout is not None
        found = json.loads(self.process.stdout.readline())
        assert self.process.wait(5) == 0
        return {int(number): at for number, at in found.items()}


@contextmanager
def watching(server: Server, tokens: list[str], **more: object) -> Iterator[WatchingGuard]:
    guard = WatchingGuard(server, tokens, **more)  # type: ignore[arg-type]
    try:
        yield guard
    finally:
        guard.process.kill()
        guard.process.communicate()


def log_ins(server: Server, number: int) -> list[str]:
    """Access tokens of so many sessions, of two users; one has a hundred at most."""
    with server.client() as client:
        names = [client.register()["username"] for _ in range(2)]
        return [client.grant(names[n % 2])["access_token"] for n in range(number)]


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.rare), "2"])
def test_E7_100_log_outs_are_refused(serve: Serve, workers: str) -> None:
    """None is missed; log-outs at random moments, by one worker process and by two. (How soon: tests/reliability.)"""
    server = serve("--workers", workers, **UNLIMITED)
    tokens = log_ins(server, 100)
    with watching(server, tokens, seconds=120) as guard, server.client() as client:
        for token in tokens:
            assert client.post("/logout", headers=bearer(token)).status_code == 204
            time.sleep(random.random() / 50)
        refused = guard.refused()
    assert sorted(refused) == list(range(100)), "some were missed"


def test_a_server_that_is_asked_to_stop_lets_its_guards_go(serve: Serve) -> None:
    """Long polls are answered, not cut off when the time for stopping is over, and the guards are none the wiser."""
    for workers in ("1", "2"):
        server = serve("--workers", workers)
        cursor = httpx2.get(f"{server.url}/revocations").json()["cursor"]
        with ExitStack() as stack:
            polls = [stack.enter_context(poll(server, cursor)) for _ in range(20)]
            time.sleep(0.3)
            assert server.stop() == 0
            for one in polls:
                one.settimeout(60)
                assert one.recv(65_536).startswith(b"HTTP/1.1 200 ")


@contextmanager
def poll(server: Server, cursor: str) -> Iterator[socket.socket]:
    """A poll that has been asked, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        line = f"GET /revocations?after={cursor} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        connection.sendall(line.encode())
        yield connection


def test_a_storm_of_2000_polls_hurts_nobody(serve: Serve) -> None:
    """A thousand are held, the others answered at once; log-ins go on, memory stays small, hanging up frees all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5_000:
        pytest.skip(f"this machine allows {hard} open files, 5,000 are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5_000), hard))
    server = serve(**UNLIMITED, WATCHWORD_TRUSTED_PROXIES="1")  # else one address has a share of the connections only
    assert server._process is not None
    before = _megabytes(server._process.pid)
    cursor = httpx2.get(f"{server.url}/revocations").json()["cursor"]
    with server.client() as client, ExitStack() as stack:
        polls = [stack.enter_context(poll(server, cursor)) for _ in range(2_000)]
        _settled(polls, 1_000)
        token = client.newcomer()
        assert client.post("/logout", headers=bearer(token)).status_code == 204
        end = time.monotonic() + 60
        while sum(_has_answer(one) for one in polls) < 2_000:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert _megabytes(server._process.pid) - before < 100
        cursor = httpx2.get(f"{server.url}/revocations").json()["cursor"]
        with ExitStack() as hanging:
            gone = [hanging.enter_context(poll(server, cursor)) for _ in range(1_200)]
            _settled(gone, 200)
        assert _waits(server, cursor), "all places are free again"


def _settled(polls: list[socket.socket], answered: int) -> None:
    """Wait until so many have an answer; a moment later there are no more."""
    end = time.monotonic() + 60
    while sum(map(_has_answer, polls)) < answered:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)
    assert sum(map(_has_answer, polls)) == answered


def _waits(server: Server, cursor: str) -> bool:
    """Whether a poll is held, once the service has noticed that others are gone."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with poll(server, cursor) as one:
            time.sleep(0.5)
            if not _has_answer(one):
                return True
    return False


def _has_answer(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def _megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no such line")


def test_E7_beyond_loopback_a_guard_with_its_key(serve: Serve) -> None:
    """Public URL https, a key made by the command; without it the feed is closed, with a revoked one it closes."""
    server = serve(WATCHWORD_PUBLIC_URL="https://auth.example", WATCHWORD_TRUSTED_PROXIES="0")
    made = server.command("guards", "create", "orders")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    with httpx2.Client(base_url=server.url) as client:
        assert client.get("/revocations").status_code == 401
        assert client.get("/revocations", headers=bearer(key)).status_code == 200
        assert server.command("guards", "revoke", "orders", "--yes").returncode == 0
        assert client.get("/revocations", headers=bearer(key)).json()["code"] == "guard_key_invalid"
    assert key not in server.log()
    assert key[4:] not in server.log()
