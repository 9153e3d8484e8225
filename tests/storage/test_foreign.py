"""Another application's database that goes on changing while it is read."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from tests.postgres import Databases
from watchword.errors import StorageUnavailable
from watchword.storage.foreign import PAGE, Table
from watchword.storage.opening import read_foreign

COUNT = 3 * PAGE
PEOPLE = Table("people", {"id": "id", "name": "name"})
MADE = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)"
FILLED = "INSERT INTO people VALUES " + ", ".join(f"({2 * each}, 'user{2 * each}')" for each in range(1, COUNT + 1))
READ, AHEAD, LAST = 2, 2 * COUNT - 2, 2 * COUNT
CHANGES = (
    f"DELETE FROM people WHERE id = {READ}",
    f"DELETE FROM people WHERE id = {AHEAD}",
    f"UPDATE people SET name = 'renamed' WHERE id = {LAST}",
    f"INSERT INTO people VALUES (1, 'before'), ({2 * PAGE + 1}, 'next'), ({LAST + 1}, 'after')",
)
CLASHING = f"UPDATE people SET name = 'user{READ}' WHERE id = {LAST}"
"""A name that goes from someone who was read already to someone who was not."""


class Theirs(NamedTuple):
    """The other application's database: its URL, and how it writes."""

    url: str
    write: Callable[[str], Awaitable[None]]
    is_snapshot: bool


@pytest.fixture(params=["sqlite", "postgres"])
async def theirs(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[int], Databases]
) -> AsyncIterator[Theirs]:
    """A database of each engine with three pages of people."""
    if request.param == "sqlite":
        path = tmp_path / "theirs.db"

        async def write(sql: str) -> None:
            with closing(sqlite3.connect(path, timeout=0)) as connection, connection:
                connection.execute(sql)

        found = Theirs(f"sqlite:///{path}", write, is_snapshot=False)
    else:
        url = await postgres(18).make()

        async def write(sql: str) -> None:
            connection = await asyncpg.connect(url)
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        found = Theirs(url, write, is_snapshot=True)
    await found.write(MADE)
    await found.write(FILLED)
    yield found
    if found.is_snapshot:
        await postgres(18).drop(found.url)


async def read(theirs: Theirs, *changes: str) -> list[tuple[int, str]]:
    """Everything that is read, where the application makes these changes when half of the first page was."""
    found: list[tuple[int, str]] = []
    async with read_foreign(theirs.url) as database:
        async for row in database.rows(PEOPLE):
            found.append((row["id"], row["name"]))
            if len(found) == PAGE // 2:
                for change in changes:
                    await theirs.write(change)
    return found


async def test_the_application_goes_on_writing(theirs: Theirs) -> None:
    """It is not kept from it. No one who was there all the time is missed or read twice; PostgreSQL is one snapshot."""
    before = [(2 * each, f"user{2 * each}") for each in range(1, COUNT + 1)]
    found = await read(theirs, *CHANGES)
    assert len({key for key, _ in found}) == len(found)
    if theirs.is_snapshot:
        assert found == before
    else:
        changed = {LAST: "renamed", 2 * PAGE + 1: "next", LAST + 1: "after"}
        after = {key: name for key, name in before if key != AHEAD} | changed
        assert found == sorted(after.items())
    # The next run reads what this one could not know of.
    again = dict(await read(theirs))
    assert (1 in again, READ in again, again[LAST]) == (True, False, "renamed")


async def test_a_name_that_moves_is_read_with_both(theirs: Theirs) -> None:
    """On SQLite the name comes twice, and import refuses the second; on PostgreSQL each has the name of the start."""
    found = await read(theirs, f"UPDATE people SET name = 'other' WHERE id = {READ}", CLASHING)
    holders = [key for key, name in found if name == f"user{READ}"]
    assert holders == ([READ] if theirs.is_snapshot else [READ, LAST])


async def test_a_table_that_goes_away_is_no_end(theirs: Theirs) -> None:
    """SQLite: an error in our words, so that no one takes a part for the whole. PostgreSQL lets the dropping wait."""
    if not theirs.is_snapshot:
        with pytest.raises(StorageUnavailable, match="cannot be read"):
            await read(theirs, "DROP TABLE people")
        return
    async with read_foreign(theirs.url) as database:
        rows = aiter(database.rows(PEOPLE))
        await anext(rows)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await theirs.write("SET lock_timeout = 100; DROP TABLE people")
        assert len([row async for row in rows]) == COUNT - 1
