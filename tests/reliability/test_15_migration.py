"""A migration that is killed leaves the old schema or the new one, and two versions serve side by side meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from tests.e2e.server import free_port
from tests.reliability.conftest import Launch, on
from tests.reliability.journal import Journal, clients
from tests.reliability.model import Model
from tests.reliability.rows import Row
from tests.reliability.service import ROOT, Service
from tests.reliability.test_upgrade import ADDS, MOST, SERVES, copied
from tests.reliability.traffic import flowing, only_503

pytestmark = pytest.mark.timeout(900)
KILLS, RATE = 10, 20
# It takes a second or so, and ends with a table, so that what is half done would be seen.
SLOW = """
CREATE TABLE ww_many (id TEXT PRIMARY KEY);
INSERT INTO ww_many (id) WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 150000)
    SELECT CAST(n AS TEXT) FROM many;
CREATE TABLE ww_last (id TEXT PRIMARY KEY);
"""
UNDO = (
    "DROP TABLE ww_later", "ALTER TABLE ww_users DROP COLUMN later", "DROP TABLE ww_many", "DROP TABLE ww_last",
    f"DELETE FROM ww_schema WHERE version = {MOST + 1}",
)  # fmt: skip


@pytest.mark.experiment(15, "a migration under traffic, killed 10 times; then both versions side by side")
@on(("sqlite", 1), ("postgres", 1))
async def test_killed(launch: Launch, engine: str, journal: Journal, row: Row, tmp_path: Path) -> None:
    """Clients of the older version notice nothing but 503 at most."""
    issuer = f"http://127.0.0.1:{free_port()}"
    older = launch(WATCHWORD_PUBLIC_URL=issuer)
    place = copied(tmp_path, SERVES + ADDS + SLOW)
    full = await asyncio.to_thread(_migrate, older, place, None)
    await _undo(older)
    schemas, urls, begun = list[str](), [older.url], time.monotonic()
    async with flowing(urls, journal, rate=RATE, sessions=60) as traffic:
        begun = time.monotonic()
        for _ in range(row.times(KILLS, least=3)):
            await asyncio.to_thread(_migrate, older, place, random.uniform(0.2, 1.0) * full)
            schemas.append(await _schema(older))
            if schemas[-1] == "new":
                await _undo(older)
        await asyncio.to_thread(_migrate, older, place, None)
        schemas.append(await _schema(older))
        if engine == "postgres":  # on SQLite the newer one takes the older one's place
            newer = await asyncio.to_thread(_newer, launch, issuer, older, place)
            async with clients(newer.url, journal, at_once=60) as there:
                traffic.services = [*traffic.services, there]
                await asyncio.sleep(5)
                traffic.services = traffic.services[:1]
                await asyncio.sleep(1)
                await traffic.settle()
        await asyncio.sleep(2)
    row.tried("kills", len(schemas) - 1)
    row.tried("full migration, s", full)
    row.tried("left the old schema", schemas.count("old"))
    row.none("left something between", [each for each in schemas if each not in {"old", "new"}])
    row.exactly("newest schema in the end", schemas[-1] == "new", True)
    only_503(row, [entry for entry in journal.entries if entry.sent > begun])
    row.none("forced to log in again", traffic.forced)
    row.none("lost or half-written", Model(journal).differences(await asyncio.to_thread(older.stored)))
    async with clients(older.url, Journal()) as people:
        looked = [await people.verify(token) for token, _ in traffic.ended]
    row.tried("log-outs", len(looked))
    row.none("accepted after a log-out", [entry for entry in looked if entry.done])


def _newer(launch: Launch, issuer: str, older: Service, place: Path) -> Service:
    settings = {"WATCHWORD_PUBLIC_URL": issuer, "PYTHONPATH": f"{place}{os.pathsep}{ROOT}"}
    return launch(database_url=older.database_url, **settings)


def _migrate(service: Service, place: Path, kill_after: float | None) -> float:
    """Run the newer version's `migrate`, and kill it after so many seconds; how many it took."""
    environment = {**service._environment, "PYTHONPATH": str(place), "WATCHWORD_DATA_DIR": str(service.data)}
    command = [sys.executable, "-m", "watchword.cli", "migrate"]
    begun = time.monotonic()
    process = subprocess.Popen(command, cwd=service.folder, env=environment, stderr=subprocess.PIPE)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(kill_after)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert kill_after is not None or process.returncode == 0, said.decode()
    return time.monotonic() - begun


async def _schema(service: Service) -> str:
    """`old`, `new`, or what is there of the new one."""
    parts = [
        await _asked(service, f"SELECT 1 FROM ww_schema WHERE version = {MOST + 1}"),
        await _asked(service, "SELECT COUNT(*) FROM ww_later"),
        await _asked(service, "SELECT COUNT(later) FROM ww_users"),
        await _asked(service, "SELECT 1 FROM ww_many WHERE id = '150000'"),
        await _asked(service, "SELECT COUNT(*) FROM ww_last"),
    ]
    return "new" if all(parts) else "old" if not any(parts) else repr(parts)


async def _asked(service: Service, sql: str) -> bool:
    """Whether there is a row."""
    try:
        return bool(await _do(service, lambda run: run(sql)))
    except (sqlite3.OperationalError, asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        if isinstance(error, sqlite3.OperationalError) and "no such" not in str(error):
            raise
        return False


async def _undo(service: Service) -> None:
    for statement in UNDO:
        await _do(service, lambda run: run(statement))  # noqa: B023


async def _do(service: Service, what: Callable[..., object]) -> object:
    """Do it with a connection of our own."""
    if not service.database_url:
        with contextlib.closing(sqlite3.connect(service.data / "watchword.db", timeout=60)) as database, database:
            return what(lambda sql: database.execute(sql).fetchall())
    connection = await asyncpg.connect(service.database_url)
    try:
        return await what(connection.fetch)  # type: ignore[misc]
    finally:
        await connection.close()
