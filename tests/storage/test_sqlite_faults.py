"""Disk full, I/O errors, locks: who is told what, and that the database works again afterwards. Real faults only."""

from __future__ import annotations

import asyncio
import pkgutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from watchword.errors import StorageUnavailable
from watchword.storage.database import Tx
from watchword.storage.migrate import migrate
from watchword.storage.sqlite import SQLite
from watchword.storage.sqlite_lock import alone

pytestmark = pytest.mark.anyio

PUT = "INSERT INTO ww_meta (name, value) VALUES (:name, :value)"
COUNT = "SELECT count(*) FROM ww_meta"
BIG = "x" * 100_000


async def count(database: SQLite) -> object:
    """How many rows are stored."""
    row = await database.one(COUNT)
    assert row is not None
    return row[0]


def writing(database: SQLite) -> sqlite3.Connection:
    """The connection under the writer."""
    connection = database._writer._connection
    assert connection is not None
    return connection


def fill_up(database: SQLite) -> None:
    """Let this connection believe that its disk is full; only the connection knows, so a reopened one has room."""
    pages = writing(database).execute("PRAGMA page_count").fetchone()[0]
    writing(database).execute(f"PRAGMA max_page_count = {pages}")


def damage(path: Path) -> None:
    """Overwrite the first page of `ww_meta`."""
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'ww_meta'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else has the write lock."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        if other.in_transaction:
            other.execute("ROLLBACK")
        other.close()


@asynccontextmanager
async def heartbeat() -> AsyncIterator[list[float]]:
    """How late a task that wants to run every millisecond was, in seconds."""
    late: list[float] = []

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - before - 0.001)

    beating = asyncio.ensure_future(beat())
    try:
        yield late
    finally:
        beating.cancel()


async def test_a_full_disk_fails_the_whole_group_and_later_units_work(database: SQLite) -> None:
    """A unit meets the full disk; its neighbours cannot be kept either, all are told, and the next unit is served."""
    fill_up(database)
    asked = [database.run(PUT, name=str(n), value=BIG if n == 2 else "x") for n in range(4)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StorageUnavailable] * 3 + [int]  # 3 came after the fault
    assert await count(database) == 1
    await database.run(PUT, name="later", value=BIG)
    assert await count(database) == 2


async def test_the_message_does_not_tell_but_the_cause_does(database: SQLite) -> None:
    """What the caller may see names no file; what the log needs travels as the cause."""
    fill_up(database)
    with pytest.raises(StorageUnavailable) as failed:
        await database.run(PUT, name="a", value=BIG)
    assert failed.value.message == "The database is not available."
    causes: list[str] = []
    cause = failed.value.__cause__
    while cause is not None:
        causes.append(str(cause))
        cause = cause.__cause__
    assert "database or disk is full" in causes


async def test_a_unit_that_catches_the_full_disk_is_lost_all_the_same(database: SQLite) -> None:
    """After the transaction has ended under it, a unit's next statement would run outside any: it is refused."""
    fill_up(database)
    refused: list[Exception] = []

    async def unit(tx: Tx) -> None:
        for value in (BIG, "small"):
            try:
                await tx.run(PUT, name="a", value=value)
            except StorageUnavailable as error:
                refused.append(error)

    with pytest.raises(StorageUnavailable):
        await database.transact(unit)
    assert len(refused) == 2
    assert await count(database) == 0


async def test_the_reopened_connection_is_set_up_like_the_first(synced: None, database: SQLite) -> None:
    """`synchronous=FULL` belongs to a connection: a reopened one without it would lose answered commits."""

    def settings() -> list[object]:
        names = ("synchronous", "journal_mode", "foreign_keys", "busy_timeout")
        return [writing(database).execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    first, before = writing(database), settings()
    assert before == [2, "wal", 1, 0]
    fill_up(database)
    with pytest.raises(StorageUnavailable):
        await database.run(PUT, name="a", value=BIG)
    await database.run(PUT, name="a", value="x")
    assert writing(database) is not first
    assert settings() == before


async def test_a_busy_file_is_waited_for_without_holding_the_loop(database: SQLite, path: Path) -> None:
    """While another holds the write lock for a third of a second, reads and timers go on; then the unit is stored."""
    async with heartbeat() as late:
        with locked(path):
            waiting = asyncio.ensure_future(database.run(PUT, name="a", value="x"))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            assert await count(database) == 0
        assert await waiting == 1
    assert late, "the loop went on"


async def test_a_file_that_stays_busy_is_not_available(path: Path) -> None:
    """After `patience` everybody who waits is told; when the lock is gone the database works."""
    database = await SQLite.open(path, patience=0.2)
    await migrate(database, now=1)
    with locked(path):
        started = time.perf_counter()
        answers = await asyncio.gather(
            *[database.run(PUT, name=str(n), value="x") for n in range(5)], return_exceptions=True
        )
        assert time.perf_counter() - started > 0.15
    assert {type(answer) for answer in answers} == {StorageUnavailable}
    assert await database.run(PUT, name="a", value="x") == 1
    await database.close()


async def test_a_file_that_is_no_database_is_not_available(path: Path) -> None:
    """Opening garbage, a folder, or a path that is not there is `StorageUnavailable`, not a stack trace of sqlite3."""
    path.write_bytes(b"certainly not a database " * 400)  # noqa: ASYNC240 - nothing else runs on this loop
    for place in (path, path.parent, path / "below", path.parent / "absent" / "a.db"):
        with pytest.raises(StorageUnavailable):
            await SQLite.open(place)


@pytest.mark.parametrize("step", ["sqlite.share", "sqlite_units.connect", "sqlite.connect"])
async def test_a_cancelled_opening_leaves_nothing_open(path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a connection nor the lock beside the file, which would keep `watchword restore` out."""
    begun, go, made = threading.Event(), threading.Event(), list[object]()
    name = f"watchword.storage.{step}"
    true = pkgutil.resolve_name(name)

    def slow(*given: object, **more: object) -> object:
        begun.set()
        assert go.wait(30)
        made.append(true(*given, **more))
        return made[0]

    monkeypatch.setattr(name, slow)
    opening = asyncio.create_task(SQLite.open(path))
    assert await asyncio.to_thread(begun.wait, 30)
    opening.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    with alone(path):
        assert len(made) == 1
    if isinstance(made[0], sqlite3.Connection):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            made[0].execute("SELECT 1")


async def test_a_new_file_is_its_owners_alone(database: SQLite, path: Path) -> None:
    """The file and the log beside it hold password hashes: nobody else on the machine may read them."""
    await database.run(PUT, name="a", value="x")
    for suffix in ("", "-wal", "-shm"):
        assert path.with_name(path.name + suffix).stat().st_mode & 0o777 == 0o600


async def test_a_damaged_file_is_not_available_to_readers(path: Path) -> None:
    """A reader that meets a damaged page says "not available" (C7: never "no such user"), scans likewise."""
    database = await SQLite.open(path)
    await migrate(database, now=1)
    await database.run(PUT, name="a", value=BIG)
    await database.close()
    damage(path)
    database = await SQLite.open(path)
    for read in (database.one, database.scan):
        with pytest.raises(StorageUnavailable):
            await read("SELECT name, value FROM ww_meta")
    with pytest.raises(StorageUnavailable):
        await database.run(PUT, name="b", value="x")
    await database.close()


COMMIT_FAILS = """
import asyncio, resource, sys
from pathlib import Path
from watchword.errors import StorageUnavailable
from watchword.storage.migrate import migrate
from watchword.storage.sqlite import SQLite
from watchword.storage.sqlite_lock import alone

PUT = "INSERT INTO ww_meta (name, value) VALUES (:name, :value)"

async def main(path):
    database = await SQLite.open(path)
    await migrate(database, now=1)
    heard = []
    database._writer._connection.set_trace_callback(heard.append)
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10_000, resource.RLIM_INFINITY))
    answers = await asyncio.gather(
        *[database.run(PUT, name=str(n), value="x" * 20_000) for n in range(3)], return_exceptions=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert heard[-1] == "COMMIT" and sum("INSERT" in sql for sql in heard) == 3, heard
    assert [type(answer) for answer in answers] == [StorageUnavailable] * 3, answers
    async def unit(tx):
        return (await tx.one("SELECT count(*) FROM ww_meta"))[0]
    assert await database.transact(unit) == 0
    assert await database.run(PUT, name="later", value="x" * 50_000) == 1
    assert (await database.one("SELECT count(*) FROM ww_meta"))[0] == 1
    await database.close()
    database = await SQLite.open(path)
    assert (await database.one("SELECT count(*) FROM ww_meta"))[0] == 1
    await database.close()
    print("as it should be")

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_commit_that_fails_fails_the_whole_group(path: Path) -> None:
    """The log cannot grow (a real EFBIG at COMMIT): all three are told, nothing is stored, later units work."""
    child = subprocess.run(
        [sys.executable, "-c", COMMIT_FAILS, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert child.stdout.strip() == "as it should be", child.stderr
