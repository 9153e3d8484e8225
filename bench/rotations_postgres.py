"""Rotating refresh tokens in process on PostgreSQL, without signing: bare asyncpg, and `Sessions.rotate`.

Run as `python -m bench.rotations_postgres URL`, it reads a `Spec` as JSON on stdin and writes what `bench.rotations`
writes. Both sides have 16 connections and as many callers, each with sessions of its own, and execute the very
statement of `watchword.identity.sessions.row`, each durably. The database is made by `prepare` with our migrations.
"""

from __future__ import annotations

import json
import os
import sys

import asyncpg
import uvloop

from bench.rotations import SESSIONS, Callers, Spec, counted, rows, same_for_all, through, turns
from watchword.cli.serving import garbage
from watchword.clock import SystemClock
from watchword.identity.sessions.row import texts
from watchword.storage.migrate import migrate
from watchword.storage.postgres import Postgres
from watchword.storage.postgres_sql import numbered

IN_FLIGHT = 16


async def prepare(url: str) -> None:
    """Fill an empty database with as many users as sessions, each session at generation 0."""
    now = SystemClock().now()
    database = await Postgres.open(url)
    await migrate(database, now=now)
    await database.close()
    connection = await asyncpg.connect(url)
    for table in ("ww_sessions", "ww_users"):
        await connection.execute(f"DELETE FROM {table}")
        found = [rows(place, now)[table] for place in range(SESSIONS)]
        records = [tuple(row.values()) for row in found]
        await connection.copy_records_to_table(table, records=records, columns=list(found[0]))
        await connection.execute(f"VACUUM ANALYZE {table}")
    await connection.close()


async def plain(url: str, spec: Spec) -> dict[str, float]:
    """Execute the statement in a loop on each connection, and nothing else."""
    connections = [await asyncpg.connect(url) for _ in range(IN_FLIGHT)]
    callers, text = Callers(), numbered(texts(()).rotate)

    async def call(first: int) -> None:
        for handle, generation in turns(range(first, SESSIONS, IN_FLIGHT)):
            if callers.stopping:
                return
            values = text.values(same_for_all() | {"handle": handle, "generation": generation})
            assert await connections[first].fetchrow(text.sql, *values)
            callers.done += 1

    garbage.settle()
    measured = await counted(callers, [call(first) for first in range(IN_FLIGHT)], spec)
    for connection in connections:
        await connection.close()
    return measured


async def run(url: str, spec: Spec) -> dict[str, float]:
    """Prepare the database and run a side on it."""
    await prepare(url)
    if spec.side == "peer":
        return await plain(url, spec)
    return await through(await Postgres.open(f"{url}?pool_size={IN_FLIGHT}"), spec, IN_FLIGHT)


def main() -> None:
    """Read the spec, run its side, write what was measured."""
    spec = Spec(**json.load(sys.stdin))
    if spec.core >= 0:
        os.sched_setaffinity(0, {spec.core})
    json.dump(uvloop.run(run(sys.argv[1], spec)), sys.stdout)


if __name__ == "__main__":
    main()
