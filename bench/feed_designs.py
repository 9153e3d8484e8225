"""Log-outs on PostgreSQL under two designs of the feed, with each commit delayed as a synchronous replica would.

    python -m bench.feed_designs [--rates 200,500,1000] [--delays 0,1,5] [--seconds 4]

`head row`: the unit draws its number from the feed's row, which stays locked until its commit. `numbered later`: the
product's way. Both end a session through `Postgres.transact`. Log-outs are offered at a rate, whether or not earlier
ones are answered. COMMIT is held back in the driver, as a proxy on the way to the server would hold it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from tests.postgres import Server
from watchword.clock import SystemClock
from watchword.errors import StorageUnavailable
from watchword.identity import revocation
from watchword.identity.revocation import Published, Revocations, create_feed, end_session, find_place
from watchword.ids import new_id
from watchword.storage import postgres_units
from watchword.storage.database import Database, Tx
from watchword.storage.hints import Hints
from watchword.storage.migrate import migrate
from watchword.storage.postgres import Postgres

CONNECTIONS = 40
POLLS = 2  # as many processes follow the feed

LogOut = Callable[[str], Awaitable[None]]
_said = postgres_units._said  # noqa: SLF001 - where the driver sends COMMIT


@contextlib.contextmanager
def held_commits(milliseconds: float) -> Any:
    """Hold each COMMIT of this process back."""

    async def late(connection: Any, text: str, **how: bool) -> None:
        if text == "COMMIT" and milliseconds:
            await asyncio.sleep(milliseconds / 1000)
        await _said(connection, text, **how)

    postgres_units._said = late  # noqa: SLF001
    try:
        yield
    finally:
        postgres_units._said = _said  # noqa: SLF001


async def add_sessions(database: Database, count: int) -> list[str]:
    """Insert live sessions of one user each; return their ids."""
    ids = [new_id() for _ in range(count)]

    async def unit(tx: Tx) -> None:
        for each in ids:
            await tx.run(
                "INSERT INTO ww_sessions (id, handle_hash, user_id, client_id, scope, amr, auth_time, generation,"
                " created_at, rotated_at, idle_expires_at, expires_at, access_until, grace_elsewhere, address, agent)"
                " VALUES (:id, :id, :id, 'watchword', '', 'pwd', 1, 0, 1, 1, :far, :far, :far, 0, '', '')",
                id=each,
                far=2**40,
            )

    await database.transact(unit, upkeep=True)
    return ids


def with_head_row(database: Database, _: Hints) -> LogOut:
    """Publish with a number drawn in the same transaction."""

    async def log_out(session: str) -> None:
        async def unit(tx: Tx) -> None:
            ended = await end_session(tx, session, reason="logged_out", now=1)
            await revocation._publish(tx, ended, alone=True)  # noqa: SLF001 - SQLite's way

        await database.transact(unit)

    return log_out


def with_numbers_later(database: Database, hints: Hints) -> LogOut:
    """Publish as the product does on PostgreSQL."""
    revocations = Revocations(database, SystemClock(), hint=hints.tell)

    async def log_out(session: str) -> None:
        async def unit(tx: Tx) -> tuple[None, Published]:
            return None, await end_session(tx, session, reason="logged_out", now=1)

        await revocations.commit(unit)

    return log_out


DESIGNS = {"head row": with_head_row, "numbered later": with_numbers_later}


class Load:
    """Offers log-outs and counts what came of them."""

    def __init__(self, log_out: LogOut) -> None:
        self._log_out = log_out
        self.took: list[float] = []
        self.unavailable = 0

    async def offer(self, sessions: list[str], rate: int) -> float:
        """Offer them at so many a second; return the seconds until the last was answered."""
        began = time.perf_counter()
        tasks = []
        for number, session in enumerate(sessions):
            due = began + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(self._one(session, due)))
        await asyncio.gather(*tasks)
        return time.perf_counter() - began

    async def _one(self, session: str, due: float) -> None:
        try:
            await self._log_out(session)
        except StorageUnavailable:
            self.unavailable += 1
        else:
            self.took.append(1000 * (time.perf_counter() - due))


@contextlib.asynccontextmanager
async def followed(database: Database, hints: Hints) -> AsyncIterator[None]:
    """Find the feed's place as processes do: every quarter second, and at a hint."""

    async def follow(hears: Hints) -> None:
        while True:
            await hears.wait(0.25)
            with contextlib.suppress(StorageUnavailable):
                await find_place(database)

    tasks = [asyncio.create_task(follow(hints if first else Hints())) for first in (True, *[False] * (POLLS - 1))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run(database: Database, design: str, rate: int, delay: float, seconds: float) -> dict[str, Any]:
    """Measure one design at one rate; times in milliseconds from when a log-out was due."""
    sessions, hints = await add_sessions(database, int(rate * seconds)), Hints()
    load = Load(DESIGNS[design](database, hints))
    with held_commits(delay):
        async with followed(database, hints):
            took = await load.offer(sessions, rate)
    times = sorted(load.took) or [float("nan")]
    return {
        "design": design,
        "offered": rate,
        "commit_delay_ms": delay,
        "done_per_second": round(len(load.took) / took),
        "p50_ms": round(statistics.median(times), 1),
        "p99_ms": round(times[int(len(times) * 0.99)], 1),
        "unavailable": load.unavailable,
    }


async def measure(url: str, rates: list[int], delays: list[float], seconds: float) -> None:
    """Alternate the designs over all rates and delays, and print a line of JSON for each."""
    for delay in delays:
        for rate in rates:
            for design in DESIGNS:
                database = await Postgres.open(url)
                await migrate(database, now=1)
                await create_feed(database)
                print(json.dumps(await run(database, design, rate, delay, seconds)), flush=True)
                await database.close()


def main() -> None:
    """Start a server of our own, with flushes on, and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rates", default="200,500,1000")
    parser.add_argument("--delays", default="0,1,5")
    parser.add_argument("--seconds", type=float, default=4.0)
    asked = parser.parse_args()
    rates = [int(rate) for rate in asked.rates.split(",")]
    delays = [float(delay) for delay in asked.delays.split(",")]
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as folder:
        server = Server(Path(folder), 18, fsync="on", full_page_writes="on", autovacuum="on")
        server.make()
        server.start()
        try:
            uvloop.run(measure(f"{server.url()}?pool_size={CONNECTIONS}", rates, delays, asked.seconds))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
