"""From the end of a session to the refusal of its tokens in three applications; and what outages do to it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import queue
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.client import bearer
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server, free_port
from tests.identity.scenes import HOME
from watchword.identity.revocation import Entry, Published
from watchword.opening import opened
from watchword.settings import Settings
from watchword.storage.database import Tx

pytestmark = pytest.mark.timeout(600)
FRAMEWORKS = ("fastapi", "flask", "django")
TIMES = 300
APART = 0.1  # seconds between two ends, on average
PATIENCE = 10.0
PROGRAM = Path(__file__).with_name("guarded.py")


class Guarded:
    """One application, and a thread that asks it about tokens whose sessions have just ended."""

    def __init__(self, framework: str, issuer: str, url: str) -> None:
        self.framework = framework
        self.port = free_port()
        self.process = subprocess.Popen([sys.executable, PROGRAM, framework, str(self.port), issuer, url])
        self.delays: list[float] = []
        self.missed = 0
        self._ended: queue.Queue[tuple[str, float] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def accepts(self, connection: http.client.HTTPConnection, token: str) -> bool:
        connection.request("GET", "/", headers=bearer(token))
        answer = connection.getresponse()
        code = json.loads(answer.read()).get("code")
        assert (answer.status, code) in ((200, None), (401, "token_revoked")), (self.framework, answer.status, code)
        return answer.status == 200

    def connect(self) -> contextlib.closing[http.client.HTTPConnection]:
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10))

    def wait_until_up(self, token: str) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                with self.connect() as connection:
                    assert self.accepts(connection, token)
            except (OSError, AssertionError, http.client.HTTPException):
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return

    def begin(self) -> None:
        self._thread.start()

    def ended(self, token: str, at: float) -> None:
        """From now on it should be refused."""
        self._ended.put((token, at))

    def finish(self) -> list[float]:
        """When all were refused, or were not within ten seconds."""
        self._ended.put(None)
        self._thread.join(PATIENCE + 60)
        return sorted(self.delays)

    def _watch(self) -> None:
        open_ones: dict[str, float] = {}
        more = True
        with self.connect() as connection:
            while more or open_ones:
                with contextlib.suppress(queue.Empty):
                    while one := self._ended.get_nowait():
                        open_ones[one[0]] = one[1]
                    more = False
                for token, at in list(open_ones.items()):
                    late = time.monotonic() - at > PATIENCE
                    if late or not self.accepts(connection, token):
                        self.missed += late
                        self.delays.append(max(time.monotonic() - at, 0.0))
                        del open_ones[token]
                time.sleep(0.01)


@contextlib.contextmanager
def three(issuer: str, url: str, token: str) -> Iterator[list[Guarded]]:
    """The three applications, each following by itself."""
    running = [Guarded(framework, issuer, url) for framework in FRAMEWORKS]
    try:
        for one in running:
            one.wait_until_up(token)
        yield running
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.wait(10)


def measure(running: list[Guarded], ends: list[tuple[str, Callable[[], object]]], what: str) -> dict[str, Any]:
    """End one after the other at random moments, and wait for every application's refusals."""
    for one in running:
        one.begin()
    for token, end in ends:
        end()
        at = time.monotonic()
        for one in running:
            one.ended(token, at)
        time.sleep(random.random() * 2 * APART)
    figures: dict[str, Any] = {"what": what, "times": len(ends)}
    for one in running:
        delays = one.finish()
        assert len(delays) == len(ends)
        at = {"p50": len(delays) // 2, "p99": len(delays) * 99 // 100 - 1, "max": -1}
        figures[one.framework] = {name: round(delays[index], 3) for name, index in at.items()} | {"missed": one.missed}
    print(json.dumps(figures))
    return figures


def log_ins(client: Any, number: int) -> list[dict[str, Any]]:
    """The tokens of so many sessions, fifty to a user, who may have a hundred."""
    granted: list[dict[str, Any]] = []
    while len(granted) < number:
        name = client.register()["username"]
        granted += [client.grant(name) for _ in range(min(50, number - len(granted)))]
    return granted


def within_a_second(figures: dict[str, Any]) -> None:
    for framework in FRAMEWORKS:
        assert figures[framework]["missed"] == 0, figures
        assert figures[framework]["p99"] <= 1.0, figures


def test_E7_log_outs(serve: Serve) -> None:
    """300 sessions."""
    server = serve(**UNLIMITED)
    with server.client(inspected=False) as client:
        tokens = [granted["access_token"] for granted in log_ins(client, TIMES + 1)]
        ends = [(token, _log_out(client, token)) for token in tokens[1:]]
        with three(server.url, server.url, tokens[0]) as running:
            within_a_second(measure(running, ends, "log out"))


def _log_out(client: Any, token: str) -> Callable[[], object]:
    def end() -> None:
        assert client.post("/logout", headers=bearer(token)).status_code == 204

    return end


def test_E3_reuse(serve: Serve) -> None:
    """300 sessions whose first refresh token is shown again, two generations and a grace later."""
    server = serve(**UNLIMITED, WATCHWORD_REFRESH_GRACE="1s")
    with server.client(inspected=False) as client:
        first, *others = log_ins(client, TIMES + 1)
        ends = []
        for granted in others:
            stolen = form = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
            for _ in range(2):
                renewed = client.post("/token", data=form).json()
                form = form | {"refresh_token": renewed["refresh_token"]}
            ends.append((renewed["access_token"], _reuse(client, stolen)))
        time.sleep(2.5)
        with three(server.url, server.url, first["access_token"]) as running:
            within_a_second(measure(running, ends, "reuse of a refresh token"))


def _reuse(client: Any, form: dict[str, str]) -> Callable[[], object]:
    def end() -> None:
        assert client.post("/token", data=form).status_code == 400

    return end


def test_E8_disabling(serve: Serve) -> None:
    """300 users, disabled by another process on the same database, as the command does."""
    server = serve(**UNLIMITED)
    with server.client(inspected=False) as client, Beside(server) as beside:
        users = [client.register() for _ in range(TIMES)]
        ends = [(client.grant(user["username"])["access_token"], beside.disabling(user["id"])) for user in users]
        with three(server.url, server.url, client.newcomer()) as running:
            within_a_second(measure(running, ends, "disable a user"))


class Beside:
    """A second process's view of the database, with an event loop of its own."""

    def __init__(self, server: Server) -> None:
        settings = Settings(data_dir=server.data, public_url=server.url)
        self._loop = asyncio.new_event_loop()
        self._opened = opened(settings)

    def __enter__(self) -> Self:
        self.kernel = self._loop.run_until_complete(self._opened.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._opened.__aexit__(None, None, None))
        self._loop.close()

    def disabling(self, user_id: str) -> Callable[[], object]:
        return lambda: self._loop.run_until_complete(self.kernel.users.disable(user_id, client=HOME))

    def publish(self, names: list[str]) -> None:
        """Entries as log-outs make them, 500 to a unit."""
        until = int(time.time()) + 3_600

        async def unit(_: Tx) -> tuple[None, Published]:
            return None, [Entry("session", name, None, until) for name in names]

        self._loop.run_until_complete(self.kernel.revocations.commit(unit))


class Wire:
    """A connection between guards and service that can be cut."""

    def __init__(self, to: int) -> None:
        self.port = free_port()
        self._to = to
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.mend()

    def mend(self) -> None:
        self._listener = listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Every connection ends, and no new one is made."""
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        self._open.add(one)
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        self._open.discard(one)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)  # which wakes the thread that carries the other way
        one.close()


def test_60_seconds_without_the_feed_and_10_000_entries_behind(serve: Serve) -> None:
    """Caught up within 2 s of its being back: 40 sessions ended meanwhile, spread over the 10,000, none missed."""
    server = serve(**UNLIMITED)
    wire = Wire(server.port)
    with server.client(inspected=False) as client, Beside(server) as beside:
        name = client.register()["username"]
        tokens = [client.grant(name)["access_token"] for _ in range(41)]
        with three(server.url, f"http://127.0.0.1:{wire.port}", tokens[0]) as running:
            wire.cut()
            cut_at = time.monotonic()
            for number, token in enumerate(tokens[1:]):
                _log_out(client, token)()
                beside.publish([f"behind-{number}-{n}" for n in range(249)])
            time.sleep(max(0.0, cut_at + 60 - time.monotonic()))
            with contextlib.ExitStack() as stack:
                connections = [stack.enter_context(one.connect()) for one in running]
                for one, connection in zip(running, connections, strict=True):
                    assert all(one.accepts(connection, token) for token in tokens), "cut off, so it cannot know yet"
                wire.mend()
                back_at, caught_up = time.monotonic(), dict[str, float]()
                while len(caught_up) < len(running) and time.monotonic() < back_at + 10:
                    for one, connection in zip(running, connections, strict=True):
                        # The last one first: when that is refused, all before it are.
                        if one.framework not in caught_up and not one.accepts(connection, tokens[-1]):
                            caught_up[one.framework] = round(time.monotonic() - back_at, 3)
                            assert not any(one.accepts(connection, token) for token in tokens[1:])
                            assert one.accepts(connection, tokens[0])
                    time.sleep(0.01)
                wire.cut()
    print(json.dumps({"what": "60 s cut, 10,000 entries behind: caught up after", **caught_up, "missed": 0}))
    assert set(caught_up) == set(FRAMEWORKS)
    assert max(caught_up.values()) <= 2.0
