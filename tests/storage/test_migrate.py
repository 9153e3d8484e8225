"""Migrations: in order, once, whole or not at all, and never by an older version."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from watchword.errors import SchemaMismatch
from watchword.storage.database import Database
from watchword.storage.migrate import bundled, migrate, read, split, status
from watchword.storage.postgres import Postgres
from watchword.storage.sqlite import SQLite

pytestmark = pytest.mark.anyio

ONE = {"0001_one.sql": "CREATE TABLE one (id TEXT);"}
TWO = {**ONE, "0002_two.sql": "CREATE TABLE two (id TEXT);\nINSERT INTO two (id) VALUES ('a;b -- c');"}


@pytest.fixture(params=["sqlite", "postgres"])
async def empty(request: pytest.FixtureRequest, path: Path, postgres_url: str) -> AsyncIterator[Database]:
    """A database without anything in it."""
    database: Database = await (SQLite.open(path) if request.param == "sqlite" else Postgres.open(postgres_url))
    yield database
    await database.close()


async def tables(database: Database) -> list[object]:
    """What there is."""
    of_sqlite = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    of_postgres = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    return [row[0] for row in await database.scan(of_sqlite if isinstance(database, SQLite) else of_postgres)]


async def test_the_bundled_migrations_apply_once(empty: Database) -> None:
    """From nothing to ready; a second run finds nothing to do; the record says when."""
    assert (await status(empty)).version == 0
    assert (await status(empty)).pending == bundled()
    assert await migrate(empty, now=1_800_000_000) == bundled()
    assert await migrate(empty, now=1_900_000_000) == ()
    assert (await status(empty)).pending == ()
    row = await empty.one("SELECT version, name, applied_at FROM ww_schema WHERE version = 1")
    assert row is not None
    assert tuple(row[n] for n in range(3)) == (1, "foundation", 1_800_000_000)


async def test_status_writes_nothing(empty: Database) -> None:
    """The readiness probe and the CLI may look at a database that nobody has migrated."""
    assert (await status(empty)).pending == bundled()
    assert await tables(empty) == []


async def test_only_what_is_missing_is_applied(empty: Database) -> None:
    """A database at one gets two; text in quotes keeps its semicolons and dashes."""
    await migrate(empty, now=1, migrations=read(ONE))
    applied = await migrate(empty, now=2, migrations=read(TWO))
    assert [migration.name for migration in applied] == ["two"]
    row = await empty.one("SELECT id FROM two")
    assert row is not None
    assert row[0] == "a;b -- c"


async def test_a_failing_migration_leaves_nothing(empty: Database) -> None:
    """Its first statements and its record go with the one that failed; those before it stay; repaired, it applies."""
    broken = {**ONE, "0002_two.sql": "CREATE TABLE two (id TEXT);\nINSERT INTO nowhere (id) VALUES ('a');"}
    with pytest.raises(SchemaMismatch, match="0002_two") as refused:
        await migrate(empty, now=1, migrations=read(broken))
    assert isinstance(refused.value.__cause__, sqlite3.OperationalError | asyncpg.UndefinedTableError)
    assert "nowhere" in str(refused.value.__cause__)
    assert await tables(empty) == ["one", "ww_schema"]
    assert (await status(empty, migrations=read(TWO))).version == 1
    assert len(await migrate(empty, now=1, migrations=read(TWO))) == 1


async def test_a_newer_database_is_refused(empty: Database) -> None:
    """An older version must not touch what it does not understand, and says what to do."""
    await migrate(empty, now=1, migrations=read(TWO))
    for refused in (migrate(empty, now=2, migrations=read(ONE)), status(empty, migrations=read(ONE))):
        with pytest.raises(SchemaMismatch, match=r"schema 2.*knows 1.*Install the newer"):
            await refused


async def test_another_history_is_refused(empty: Database) -> None:
    """A migration that was renamed after it had been applied, or a record with a gap, is not ours to go on from."""
    await migrate(empty, now=1, migrations=read(TWO))
    other = read({"0001_other.sql": "CREATE TABLE other (id TEXT);", "0002_two.sql": "CREATE TABLE two (id TEXT);"})
    with pytest.raises(SchemaMismatch, match="0001_other"):
        await status(empty, migrations=other)
    await empty.run("DELETE FROM ww_schema WHERE version = 1")
    with pytest.raises(SchemaMismatch, match="0001_one"):
        await migrate(empty, now=1, migrations=read(TWO))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"0001_one.sql": "", "0003_three.sql": ""}, "0003_three stands where 0002"),
        ({"0002_two.sql": ""}, "where 0001"),
        ({"0001_one.sql": "", "0001_other.sql": ""}, "where 0002"),
        ({"1_one.sql": ""}, "NNNN_name"),
        ({"0001_One.sql": ""}, "NNNN_name"),
        ({"0001_one.sql": "CREATE TABLE one (id TEXT)"}, "does not end in ';'"),
        ({"0001_one.sql": "COMMIT;"}, "may not say 'COMMIT'"),
        ({"0001_one.sql": "-- a\n pragma foreign_keys = off;"}, "may not say 'pragma"),
        ({"0001_one.sql": ";"}, "may not say ''"),
        ({**ONE, "0002_two.sql": "-- serves: 0002\nDROP TABLE one;"}, "names one schema before"),
        ({**ONE, "0002_two.sql": "-- serves: 0000\nDROP TABLE one;"}, "names one schema before"),
        ({**ONE, "0002_two.sql": "-- serves: 0001\n-- serves: 0001\nDROP TABLE one;"}, "names one schema before"),
    ],
)
def test_names_numbers_and_statements_are_checked(files: dict[str, str], says: str) -> None:
    """A gap, a duplicate, a wrong name, a statement that ends the transaction: found before anything is applied."""
    with pytest.raises(ValueError, match=says):
        read(files)


def test_statements_are_split_without_their_comments() -> None:
    """A semicolon, a quote or a colon in a comment or a text neither splits a statement nor looks like a parameter."""
    text = """-- don't: split; here
    CREATE TABLE a (id TEXT, -- null: never; "quoted
        b TEXT DEFAULT 'it''s; -- fine');
    INSERT INTO "odd;name" VALUES (1 - 2);
    -- the end
    """
    first, second = split(text)
    assert " ".join(first.split()) == "CREATE TABLE a (id TEXT, b TEXT DEFAULT 'it''s; -- fine')"
    assert second == 'INSERT INTO "odd;name" VALUES (1 - 2)'


START = """
import asyncio, sys
from pathlib import Path
from watchword.storage.migrate import migrate
from watchword.storage.sqlite import SQLite

async def main():
    database = await SQLite.open(Path(sys.argv[1]), processes=4)
    sys.stdin.read()
    print(len(await migrate(database, now=1)))
    await database.close()

asyncio.run(main())
"""


async def test_several_processes_start_at_once(path: Path) -> None:
    """Of four that find an empty database, one applies each migration and none fails."""
    started = [
        subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
            [sys.executable, "-c", START, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    await asyncio.sleep(0.5)
    outputs = [child.communicate(b"", timeout=120)[0] for child in started]
    assert [child.returncode for child in started] == [0] * 4
    assert sum(int(output) for output in outputs) == len(bundled())
