"""Rotating refresh tokens in process, without signing: a plain sqlite3 loop, and `Sessions.rotate` with 32 in flight.

Run as `python -m bench.rotations`, it reads a `Spec` as JSON on stdin and writes `{"rate", "cpu_us", "elsewhere_busy"}`
on stdout. Each side has a process and a database file of its own, made by `prepare` from the service's own migrations,
and both execute the very statement of `watchword.identity.sessions.row`, with `synchronous=FULL`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace

import uvloop

from bench.load import Used
from watchword import opaque
from watchword.cli.serving import garbage
from watchword.clock import SystemClock
from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY, TokenIssuer
from watchword.identity.keys.master import Master
from watchword.identity.notices import Notices
from watchword.identity.one_time import OneTime
from watchword.identity.outbox import Outbox
from watchword.identity.revocation import Revocations
from watchword.identity.rights import Rights
from watchword.identity.roles import MOST_ROLES
from watchword.identity.sessions.row import texts
from watchword.identity.sessions.sessions import Sessions
from watchword.opaque import RefreshToken
from watchword.settings import Settings
from watchword.storage.database import Database
from watchword.storage.ephemeral_memory import MemoryEphemeral
from watchword.storage.migrate import migrate
from watchword.storage.sqlite import SQLite

_ROTATE = texts(()).rotate
IN_FLIGHT = 32
SESSIONS = 32 * IN_FLIGHT
MASTER = Master((b"bench" * 8,))
CLIENT = Client(address="127.0.0.1", agent="bench", request_id="bench")


@dataclass(frozen=True)
class Spec:
    """One run. `side` is `peer` or `ours`; the directory is empty."""

    side: str
    directory: str
    seconds: float
    warmup: float
    core: int
    database_pid: int = 0  # a server of its own, whose work is no disturbance


class Meter:
    """From when it is made: rotations per second, processor time of each, and what the rest of the machine used."""

    def __init__(self, done: int, database_pid: int = 0) -> None:
        self.done, self.database_pid = done, database_pid
        self.before = Used.now(database_pid)

    def read(self, done: int) -> dict[str, float]:
        """Say what has happened since."""
        after = Used.now(self.database_pid)
        shares = after.shares_since(self.before)
        rotations, busy = done - self.done, after.client - self.before.client
        return {
            "rate": rotations / shares["seconds"],
            "cpu_us": 1e6 * busy / rotations,
            "elsewhere_busy": shares["elsewhere_busy"],
            "database_busy": shares["server_busy"],
        }


def handle(place: int) -> bytes:
    """Return the secret handle of a session of the prepared database."""
    return sha256(b"session %d" % place).digest()[: opaque.HANDLE_BYTES]


def prepare(path: Path) -> None:
    """Make a database with as many users as sessions, each session at generation 0."""
    uvloop.run(_migrated(path))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    now = SystemClock().now()
    for place in range(SESSIONS):
        _insert(connection, place, now)
    connection.execute("COMMIT")
    connection.close()


async def _migrated(path: Path) -> None:
    database = await SQLite.open(path)
    await migrate(database, now=SystemClock().now())
    await database.close()


def _insert(connection: sqlite3.Connection, place: int, now: int) -> None:
    for table, row in rows(place, now).items():
        places = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", tuple(row.values()))


def rows(place: int, now: int) -> dict[str, dict[str, str | int]]:
    """Return a user and a session of that user, by their tables."""
    user = f"user-{place:08}-0000-0000-000000000000"
    return {
        "ww_users": {
            "id": user,
            "username": user,
            "username_key": user,
            "roles": "",
            "token_version": 1,
            "created_at": now,
            "updated_at": now,
        },
        "ww_sessions": {
            "id": f"session-{place:08}-0000-0000-000000000000",
            "handle_hash": opaque.fingerprint(handle(place)),
            "user_id": user,
            "client_id": FIRST_PARTY,
            "scope": "",
            "amr": "pwd",
            "auth_time": now,
            "generation": 0,
            "created_at": now,
            "rotated_at": now,
            "idle_expires_at": now + 604_800,
            "expires_at": now + 2_592_000,
            "access_until": now + 900,
            "grace_elsewhere": 0,
            "address": CLIENT.address,
            "agent": CLIENT.agent,
        },
    }


def plain(path: Path, spec: Spec) -> dict[str, float]:
    """Execute the statement in a loop, 32 to a commit, and nothing else."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    todo = turns(range(SESSIONS))
    warm, done = time.perf_counter() + spec.warmup, 0
    while time.perf_counter() < warm:
        done += _group(connection.cursor(), todo)
    end, meter = time.perf_counter() + spec.seconds, Meter(done)
    while time.perf_counter() < end:
        done += _group(connection.cursor(), todo)
    return meter.read(done)


def _group(cursor: sqlite3.Cursor, todo: Iterator[tuple[str, int]]) -> int:
    """Rotate 32 sessions in one transaction."""
    same = same_for_all()
    cursor.execute("BEGIN IMMEDIATE")
    for fingerprint, generation in islice(todo, IN_FLIGHT):
        found = cursor.execute(_ROTATE, same | {"handle": fingerprint, "generation": generation}).fetchall()
        assert len(found) == 1
    cursor.execute("COMMIT")
    return IN_FLIGHT


def same_for_all() -> dict[str, str | int]:
    """Return what every rotation binds at this time; `handle` and `generation` are its own."""
    now = int(time.time())
    same: dict[str, str | int] = {"client": FIRST_PARTY, "address": CLIENT.address, "agent": CLIENT.agent}
    return same | {"now": now, "idle": now + 604_800, "until": now + 900, "most": MOST_ROLES, "retry": ""}


def turns(places: range) -> Iterator[tuple[str, int]]:
    """Yield session after session with the generation that each has by then, for ever."""
    fingerprints = [opaque.fingerprint(handle(place)) for place in places]
    generation = 0
    while True:
        for fingerprint in fingerprints:
            yield fingerprint, generation
        generation += 1


class Callers:
    """What is measured: how many rotations are done, and whether to go on."""

    def __init__(self) -> None:
        self.done = 0
        self.stopping = False


class Ours(Callers):
    """Callers that each rotate sessions of their own, one after the other."""

    def __init__(self, rotating: Sessions) -> None:
        super().__init__()
        self.sessions = rotating

    async def call(self, first: int, in_flight: int) -> None:
        """Present a token, take its successor, turn to the next session."""
        key = MASTER.keys("refresh")[0]
        held = {place: RefreshToken(handle(place), 0) for place in range(first, SESSIONS, in_flight)}
        for place in cycle(held):
            if self.stopping:
                return
            presented = opaque.encode_refresh(held[place], key)
            held[place] = (await self.sessions.rotate(presented, client_id=FIRST_PARTY, client=CLIENT)).refresh
            self.done += 1


async def ours(path: Path, spec: Spec) -> dict[str, float]:
    """Rotate through the service's own code with 32 in flight."""
    return await through(await SQLite.open(path), spec, IN_FLIGHT)


async def through(database: Database, spec: Spec, in_flight: int) -> dict[str, float]:
    """Rotate through the service's own code, and close the database."""
    settings, clock = Settings(data_dir=Path(spec.directory)), SystemClock()
    ring = SimpleNamespace(to_sign_with=lambda: None)  # nothing is signed here
    issuer = TokenIssuer(SimpleNamespace(ring=ring), settings)  # type: ignore[arg-type]
    revocations = Revocations(database, clock, lambda: None)  # no one follows
    notices = Notices(Outbox(database, clock, enabled=False), OneTime(database, MASTER, clock))
    rights = Rights(database, settings.audience)
    callers = Ours(Sessions(database, MemoryEphemeral(), MASTER, issuer, rights, revocations, settings, clock, notices))
    garbage.settle()  # as the service does when it has started
    measured = await counted(callers, [callers.call(first, in_flight) for first in range(in_flight)], spec)
    await database.close()
    return measured


async def counted(callers: Callers, calls: Sequence[Coroutine[None, None, None]], spec: Spec) -> dict[str, float]:
    """Let the callers work, and count what they do after the warm-up."""
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(spec.warmup)
    meter = Meter(callers.done, spec.database_pid)
    await asyncio.sleep(spec.seconds)
    measured = meter.read(callers.done)
    callers.stopping = True
    await asyncio.gather(*tasks)
    return measured


def main() -> None:
    """Read the spec, run its side, write what was measured."""
    spec = Spec(**json.load(sys.stdin))
    if spec.core >= 0:
        os.sched_setaffinity(0, {spec.core})
    path = Path(spec.directory) / "rotations.db"
    prepare(path)
    measured = plain(path, spec) if spec.side == "peer" else uvloop.run(ours(path, spec))
    json.dump(measured, sys.stdout)


if __name__ == "__main__":
    main()
