"""How close group commit comes to the bare driver: rotations of a session row per second, `synchronous=FULL`.

    python bench/storage_rotation.py [--rounds 5] [--rotations 20000] [--folder /var/tmp]

`plain`: a loop over sqlite3, 32 rotations per commit, one thread. `units`: the same statement through
`SQLite.transact` with 32 requesters in flight, on uvloop where it is installed. Rounds alternate; medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from watchword.storage.database import Row, Tx, Value
from watchword.storage.migrate import migrate
from watchword.storage.sqlite import SQLite
from watchword.storage.sqlite_connection import connect

IN_FLIGHT = 32
USERS, SESSIONS = 1_000, 10_000
ROTATE = """
    UPDATE ww_sessions SET
        generation = generation + 1, prev_rotated_at = rotated_at, rotated_at = :now,
        idle_expires_at = CASE WHEN :now + :idle < expires_at THEN :now + :idle ELSE expires_at END,
        access_until = CASE WHEN :now + :life > access_until THEN :now + :life ELSE access_until END,
        grace_elsewhere = 0
    WHERE handle_hash = :handle AND generation = :generation AND client_id = :client
        AND ended_at IS NULL AND expires_at > :now AND idle_expires_at > :now
        AND EXISTS (SELECT 1 FROM ww_users WHERE id = ww_sessions.user_id AND disabled_at IS NULL)
    RETURNING id, user_id, scope, amr, auth_time, generation, rotated_at, expires_at,
        (SELECT roles FROM ww_users WHERE id = ww_sessions.user_id) AS roles,
        (SELECT token_version FROM ww_users WHERE id = ww_sessions.user_id) AS token_version"""


class Sessions:
    """Which session is rotated next, and the generation it has reached."""

    def __init__(self) -> None:
        self.generations = [0] * SESSIONS
        self.turn = 0

    def next(self) -> dict[str, Value]:
        """What the next rotation binds."""
        self.turn += 1
        session = self.turn * 7_919 % SESSIONS
        generation = self.generations[session]
        self.generations[session] += 1
        return {
            "handle": f"{session:064}",
            "generation": generation,
            "client": "watchword",
            "now": 1_800_000_000 + generation,
            "idle": 604_800,
            "life": 900,
        }


def plain(connection: sqlite3.Connection, sessions: Sessions, rotations: int) -> float:
    """Rotations per second of the bare driver."""
    cursor = connection.cursor()
    started = time.perf_counter()
    for _ in range(rotations // IN_FLIGHT):
        cursor.execute("BEGIN IMMEDIATE")
        for _ in range(IN_FLIGHT):
            assert cursor.execute(ROTATE, sessions.next()).fetchall()
        cursor.execute("COMMIT")
    return rotations / (time.perf_counter() - started)


async def units(database: SQLite, sessions: Sessions, rotations: int) -> float:
    """Rotations per second through units."""
    started = time.perf_counter()
    await asyncio.gather(*[_requester(database, sessions, rotations // IN_FLIGHT) for _ in range(IN_FLIGHT)])
    return rotations / (time.perf_counter() - started)


async def _requester(database: SQLite, sessions: Sessions, rotations: int) -> None:
    for _ in range(rotations):
        values = sessions.next()

        async def unit(tx: Tx, values: dict[str, Value] = values) -> Row | None:
            return await tx.one(ROTATE, **values)

        assert await database.transact(unit)


async def _fill(database: SQLite) -> None:
    async def unit(tx: Tx) -> None:
        for number in range(USERS):
            await tx.run(
                "INSERT INTO ww_users (id, username, username_key, roles, token_version, created_at, updated_at)"
                " VALUES (:id, :id, :id, 'admin', 1, 1, 1)",
                id=f"{number:036}",
            )
        for number in range(SESSIONS):
            await tx.run(
                "INSERT INTO ww_sessions (id, handle_hash, user_id, client_id, scope, amr, auth_time, generation,"
                " created_at, rotated_at, idle_expires_at, expires_at, access_until, grace_elsewhere, address, agent)"
                " VALUES (:id, :hash, :user, 'watchword', '', 'pwd', 1, 0, 1, 1, :end, :end, 1, 0, '', '')",
                id=f"{number:036}",
                hash=f"{number:064}",
                user=f"{number % USERS:036}",
                end=4_000_000_000,
            )

    await database.transact(unit)


async def measure(folder: Path, rounds: int, rotations: int) -> dict[str, object]:
    """Alternate the two on one file."""
    database = await SQLite.open(folder / "bench.db")
    await migrate(database, now=1_800_000_000)
    await _fill(database)
    connection = connect(folder / "bench.db", patience=5)
    sessions = Sessions()
    results: dict[str, list[float]] = {"plain": [], "units": []}
    for _ in range(rounds):
        results["plain"].append(plain(connection, sessions, rotations))
        results["units"].append(await units(database, sessions, rotations))
    connection.close()
    await database.close()
    return _summary(results)


def _summary(results: dict[str, list[float]]) -> dict[str, object]:
    ratios = [ours / bare for ours, bare in zip(results["units"], results["plain"], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "plain_per_second": round(statistics.median(results["plain"])),
        "units_per_second": round(statistics.median(results["units"])),
        "in_flight": IN_FLIGHT,
        "sqlite": sqlite3.sqlite_version,
        "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rotations", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the file lies; it should be a real disk")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        print(json.dumps(_run(Path(folder), given.rounds, given.rotations)))


def _run(folder: Path, rounds: int, rotations: int) -> dict[str, object]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(measure(folder, rounds, rotations))
    return uvloop.run(measure(folder, rounds, rotations))


if __name__ == "__main__":
    main()
