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
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
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
from watchword.identity.revocation import Revocations
from watchword.identity.roles import MOST_ROLES
from watchword.identity.sessions.row import ROTATE
from watchword.identity.sessions.sessions import Sessions
from watchword.opaque import RefreshToken
from watchword.settings import Settings
from watchword.storage.ephemeral_memory import MemoryEphemeral
from watchword.storage.sqlite import SQLite

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


class Meter:
    """From when it is made: rotations per second, processor time of each, and what the rest of the machine used."""

    def __init__(self, done: int) -> None:
        self.done, self.before = done, Used.now(0)

    def read(self, done: int) -> dict[str, float]:
        """Say what has happened since."""
        after = Used.now(0)
        shares = after.shares_since(self.before)
        rotations, busy = done - self.done, after.client - self.before.client
        return {
            "rate": rotations / shares["seconds"],
            "cpu_us": 1e6 * busy / rotations,
            "elsewhere_busy": shares["elsewhere_busy"],
        }


def handle(place: int) -> bytes:
    """Return the secret handle of a session of the prepared database."""
    return sha256(b"session %d" % place).digest()[: opaque.HANDLE_BYTES]


def prepare(path: Path) -> None:
    """Make a database with as many users as sessions, each session at generation 0."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    migrations = files("watchword.storage") / "migrations"
    for script in sorted(item.name for item in migrations.iterdir() if item.name.endswith(".sql")):
        connection.executescript((migrations / script).read_text())
    connection.execute("BEGIN")
    now = SystemClock().now()
    for place in range(SESSIONS):
        _insert(connection, place, now)
    connection.execute("COMMIT")
    connection.close()


def _insert(connection: sqlite3.Connection, place: int, now: int) -> None:
    user = f"user-{place:08}-0000-0000-000000000000"
    connection.execute(
        "INSERT INTO ww_users (id, username, username_key, roles, token_version, created_at, updated_at)"
        " VALUES (?, ?, ?, '', 1, ?, ?)",
        (user, user, user, now, now),
    )
    connection.execute(
        "INSERT INTO ww_sessions (id, handle_hash, user_id, client_id, scope, amr, auth_time, generation, created_at,"
        " rotated_at, idle_expires_at, expires_at, access_until, grace_elsewhere, address, agent)"
        " VALUES (?, ?, ?, ?, '', 'pwd', ?, 0, ?, ?, ?, ?, ?, 0, '127.0.0.1', 'bench')",
        (
            f"session-{place:08}-0000-0000-000000000000",
            opaque.fingerprint(handle(place)),
            user,
            FIRST_PARTY,
            now,
            now,
            now,
            now + 604_800,
            now + 2_592_000,
            now + 900,
        ),
    )


def plain(path: Path, spec: Spec) -> dict[str, float]:
    """Execute the statement in a loop, 32 to a commit, and nothing else."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    turns = _turns(range(SESSIONS))
    warm, done = time.perf_counter() + spec.warmup, 0
    while time.perf_counter() < warm:
        done += _group(connection.cursor(), turns)
    end, meter = time.perf_counter() + spec.seconds, Meter(done)
    while time.perf_counter() < end:
        done += _group(connection.cursor(), turns)
    return meter.read(done)


def _group(cursor: sqlite3.Cursor, turns: Iterator[tuple[str, int]]) -> int:
    """Rotate 32 sessions in one transaction."""
    now = int(time.time())
    same: dict[str, str | int] = {"client": FIRST_PARTY, "address": CLIENT.address, "agent": CLIENT.agent}
    same |= {"now": now, "idle": now + 604_800, "until": now + 900, "most": MOST_ROLES}
    cursor.execute("BEGIN IMMEDIATE")
    for fingerprint, generation in islice(turns, IN_FLIGHT):
        rows = cursor.execute(ROTATE, same | {"handle": fingerprint, "generation": generation}).fetchall()
        assert len(rows) == 1
    cursor.execute("COMMIT")
    return IN_FLIGHT


def _turns(places: range) -> Iterator[tuple[str, int]]:
    """Yield session after session with the generation that each has by then, for ever."""
    fingerprints = [opaque.fingerprint(handle(place)) for place in places]
    generation = 0
    while True:
        for fingerprint in fingerprints:
            yield fingerprint, generation
        generation += 1


class Ours:
    """Callers that each rotate sessions of their own, one after the other."""

    def __init__(self, rotating: Sessions) -> None:
        self.sessions = rotating
        self.done = 0
        self.stopping = False

    async def call(self, first: int) -> None:
        """Present a token, take its successor, turn to the next session."""
        key = MASTER.keys("refresh")[0]
        held = {place: RefreshToken(handle(place), 0) for place in range(first, SESSIONS, IN_FLIGHT)}
        for place in cycle(held):
            if self.stopping:
                return
            presented = opaque.encode_refresh(held[place], key)
            held[place] = (await self.sessions.rotate(presented, client_id=FIRST_PARTY, client=CLIENT)).refresh
            self.done += 1


async def ours(path: Path, spec: Spec) -> dict[str, float]:
    """Rotate through the service's own code with 32 in flight."""
    database = await SQLite.open(path)
    settings, clock = Settings(data_dir=path.parent), SystemClock()
    ring = SimpleNamespace(to_sign_with=lambda: None)  # nothing is signed here
    issuer = TokenIssuer(SimpleNamespace(ring=ring), settings)  # type: ignore[arg-type]
    revocations = Revocations(database, clock, lambda: None)  # no one follows
    callers = Ours(Sessions(database, MemoryEphemeral(), MASTER, issuer, revocations, settings, clock))
    garbage.settle()  # as the service does when it has started
    tasks = [asyncio.create_task(callers.call(first)) for first in range(IN_FLIGHT)]
    await asyncio.sleep(spec.warmup)
    meter = Meter(callers.done)
    await asyncio.sleep(spec.seconds)
    measured = meter.read(callers.done)
    callers.stopping = True
    await asyncio.gather(*tasks)
    await database.close()
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
