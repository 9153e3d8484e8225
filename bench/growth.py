"""What grows with the users: requests, what they ask the database, and the sweep.

    python -m bench.growth [--engine sqlite|postgres] [--users 1000,100000,1000000] [--calls 2000] [--core 0]

Requests go through the whole application in process: the dispatcher, the checks, the database, durably, and signing;
no socket. Beside them stands what they ask the database alone. One call follows the other, on users drawn at random.
Medians in microseconds. Every user has a password, an e-mail address and three live sessions (`bench.filling`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import uvloop

from bench import filling, machine
from bench.filling import DEAD, EACH, SESSIONS_EACH, SWEEPS, Engine, name_of, owner_of, user_id
from watchword import opaque
from watchword.app import dispatcher
from watchword.clock import SystemClock
from watchword.identity import sweeping
from watchword.identity.identifiers import Identifier
from watchword.identity.kernel import Kernel
from watchword.opaque import RefreshToken
from watchword.opening import opened

FORM = (b"content-type", b"application/x-www-form-urlencoded")
JSON = (b"content-type", b"application/json")
LOG_INS = 60  # each takes its hash
SETTLING_SECONDS = 90
Ask = Callable[[int], Awaitable[Any]]


class Client:
    """Sends requests to the application, in process."""

    def __init__(self, kernel: Kernel) -> None:
        self._application = dispatcher(kernel)

    async def ask(self, method: str, path: str, body: bytes, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
        """Send one request; return the decoded answer. Raises `RuntimeError` for anything but 200."""
        scope = {
            "type": "http", "http_version": "1.1", "asgi": {"version": "3.0"}, "scheme": "http", "method": method,
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(b"host", b"127.0.0.1:8000"), (b"content-length", b"%d" % len(body)), *headers],
            "client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._application(scope, receive, send)
        answer = b"".join(message.get("body", b"") for message in sent)
        if sent[0]["status"] != 200:
            raise RuntimeError(f"{method} {path} was answered {sent[0]['status']}: {answer[:200]!r}")
        found: dict[str, Any] = json.loads(answer)
        return found


async def timed(calls: int, call: Ask, places: list[int]) -> float:
    """Call with each place; return the median in microseconds, after a fifth to warm up."""
    took = []
    for place in places[:calls]:
        began = time.perf_counter()
        await call(place)
        took.append(1e6 * (time.perf_counter() - began))
    return statistics.median(took[len(took) // 5 :])


class Calls:
    """The calls that are timed, on a database with so many users."""

    def __init__(self, kernel: Kernel, count: int) -> None:
        self.kernel, self.count, self.client = kernel, count, Client(kernel)
        self.key = kernel.master.keys("refresh")[0]
        self.access: dict[int, bytes] = {}

    async def refresh(self, place: int) -> None:
        """POST /token, which rotates the refresh token of a session."""
        token = opaque.encode_refresh(RefreshToken(filling.handle(place), 0), self.key)
        body = urlencode({"grant_type": "refresh_token", "refresh_token": token}).encode()
        answer = await self.client.ask("POST", "/token", body, FORM)
        self.access[owner_of(place, self.count)] = answer["access_token"].encode()

    async def sessions(self, place: int) -> None:
        """GET /sessions of someone who refreshed before."""
        bearer = (b"authorization", b"Bearer " + self.access[place])
        answer = await self.client.ask("GET", "/sessions", b"", bearer)
        assert len(answer["items"]) == SESSIONS_EACH

    async def log_in(self, place: int) -> None:
        """POST /login, with its hash."""
        body = json.dumps({"username": name_of(place), "password": filling.PASSWORD}).encode()
        await self.client.ask("POST", "/login", body, JSON)

    async def look_up(self, place: int) -> None:
        """What a log-in asks first: who has that name."""
        found = await self.kernel.users.find_by(Identifier("username", name_of(place), name_of(place)))
        assert found is not None

    async def page(self, place: int) -> None:
        """What GET /sessions asks."""
        assert len(await self.kernel.sessions.page(user_id(place))) == SESSIONS_EACH


async def measure(kernel: Kernel, count: int, calls: int) -> dict[str, float]:
    """Time each of them on a filled database."""
    made, drawn = Calls(kernel, count), random.Random(7)
    chosen = [drawn.randrange(count) for _ in range(calls)]
    figures = {
        "POST /token, refresh": await timed(calls, made.refresh, drawn.sample(range(3 * count), min(calls, count)))
    }
    figures["GET /sessions"] = await timed(calls, made.sessions, list(made.access))
    figures["look-up of a name"] = await timed(calls, made.look_up, chosen)
    figures["three sessions of a user"] = await timed(calls, made.page, [drawn.randrange(count) for _ in range(calls)])
    figures["sweep, each dead session"] = await _swept(kernel)
    figures["POST /login, with its hash"] = await timed(LOG_INS, made.log_in, chosen)
    return figures


async def _swept(kernel: Kernel) -> float:
    """Delete dead sessions in several sweeps; return the median microseconds of each session."""
    now, took = kernel.clock.now(), []
    for sweep in range(SWEEPS):
        began = time.perf_counter()
        deleted = await sweeping.sweep(kernel.database, filling.ended_at(sweep, now) + 2 * filling.DAY)
        took.append(1e6 * (time.perf_counter() - began) / EACH)
        assert deleted == EACH, f"the sweep deleted {deleted}"
    return statistics.median(took)


async def grow(name: str, counts: list[int], calls: int) -> None:
    """Measure each size on a database of its own, and print a line of JSON for each."""
    quiet_ms = machine.fsync_ms()
    for count in counts:
        async with filling.sqlite_engine() if name == "sqlite" else filling.postgres_engine() as engine:
            figures = await _on(engine, count, calls, quiet_ms)
        print(json.dumps({"engine": name, "users": count} | figures), flush=True)


def _settled(quiet_ms: float) -> float:
    """Wait until the disk is as quick as before the rows came; return the milliseconds of a durable append.

    A refresh is a flush: behind gigabytes that are still being written it would measure those.
    """
    give_up_at = time.monotonic() + SETTLING_SECONDS
    while (now_ms := machine.fsync_ms()) > 1.5 * quiet_ms and time.monotonic() < give_up_at:
        time.sleep(2)
    return now_ms


async def _on(engine: Engine, count: int, calls: int, quiet_ms: float) -> dict[str, Any]:
    async with opened(engine.settings, clock=SystemClock()):
        pass
    began = time.perf_counter()
    await filling.fill(engine, count, SystemClock().now())
    print(f"{count:,} users: filled in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    at_rest = _settled(quiet_ms)
    sizes = await engine.sizes()
    each = {
        "bytes of a user": sizes["ww_users"] / count,
        "bytes of a session": sizes["ww_sessions"] / (SESSIONS_EACH * count + DEAD),
        "a durable append, µs": 1000 * at_rest,
    }
    async with opened(engine.settings, clock=SystemClock()) as kernel:
        return {name: round(value, 1) for name, value in (await measure(kernel, count, calls) | each).items()}


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--users", default="1000,100000,1000000")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--core", type=int, default=-1, help="stay on this core")
    asked = parser.parse_args()
    if asked.core >= 0:
        os.sched_setaffinity(0, {asked.core})
    uvloop.run(grow(asked.engine, [int(each) for each in asked.users.split(",")], asked.calls))


if __name__ == "__main__":
    main()
