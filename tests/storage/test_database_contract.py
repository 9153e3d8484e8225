"""What every database must keep, whatever engine is behind it."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from watchword.errors import UniqueViolation
from watchword.storage.database import Row, Tx
from watchword.storage.sqlite import SQLite

pytestmark = pytest.mark.anyio

PUT = "INSERT INTO ww_meta (name, value) VALUES (:name, :value)"
GET = "SELECT value FROM ww_meta WHERE name = :name"
COUNT = "SELECT count(*) AS n FROM ww_meta"
USER = (
    "INSERT INTO ww_users (id, username_key, email_key, roles, token_version, created_at, updated_at)"
    " VALUES (:id, :username, :email, '', 1, 1, 1)"
)


def value(row: Row | None) -> object:
    """The first column, or None without a row."""
    return None if row is None else row[0]


async def test_a_unit_answers_with_its_result_and_is_stored(database: SQLite) -> None:
    """What a unit returns comes back, and what it wrote is there for a reader at once."""

    async def unit(tx: Tx) -> str:
        assert await tx.run(PUT, name="a", value="1") == 1
        return "done"

    assert await database.transact(unit) == "done"
    assert value(await database.one(GET, name="a")) == "1"


async def test_a_unit_that_raises_leaves_nothing(database: SQLite) -> None:
    """The unit's own exception comes out, and neither of its two statements is stored."""

    async def unit(tx: Tx) -> None:
        await tx.run(PUT, name="a", value="1")
        await tx.run(PUT, name="b", value="1")
        raise LookupError("changed my mind")

    with pytest.raises(LookupError, match="changed my mind"):
        await database.transact(unit)
    assert value(await database.one(COUNT)) == 0


async def test_a_unit_reads_what_it_has_written(database: SQLite) -> None:
    """Reads inside a unit go to the writer, so they see the unit's own rows."""

    async def unit(tx: Tx) -> list[object]:
        await tx.run(PUT, name="a", value="1")
        await tx.run(PUT, name="b", value="2")
        return [row["value"] for row in await tx.all("SELECT value FROM ww_meta ORDER BY name")]

    assert await database.transact(unit) == ["1", "2"]


async def test_returning_gives_the_row_as_written(database: SQLite) -> None:
    """`UPDATE … RETURNING` answers with the new row, by name and by position; without a match with None."""
    await database.run(PUT, name="a", value="1")
    update = "UPDATE ww_meta SET value = :value WHERE name = :name RETURNING name, value"

    async def unit(tx: Tx) -> tuple[Row | None, Row | None]:
        return await tx.one(update, name="a", value="2"), await tx.one(update, name="absent", value="2")

    row, none = await database.transact(unit)
    assert row is not None
    assert (row["value"], row[0]) == ("2", "a")
    assert none is None


async def test_run_says_how_many_rows_changed(database: SQLite) -> None:
    """The row count decides races, so it must be right for none, one, several, and with RETURNING."""
    for name in "abc":
        assert await database.run(PUT, name=name, value="1") == 1
    assert await database.run("UPDATE ww_meta SET value = :v WHERE name = :name", v="2", name="absent") == 0
    assert await database.run("UPDATE ww_meta SET value = :v RETURNING name", v="2") == 3
    assert await database.run("DELETE FROM ww_meta WHERE name <> :name", name="a") == 2
    assert await database.run("CREATE TABLE other (id TEXT)") == 0


@pytest.mark.parametrize(
    ("second", "index"),
    [
        ({"id": "2", "username": "ann", "email": None}, "ww_users_username"),
        ({"id": "2", "username": "eve", "email": "a@example.org"}, "ww_users_email"),
        ({"id": "1", "username": "eve", "email": None}, "ww_users_pkey"),
    ],
)
async def test_a_unique_violation_names_the_index(database: SQLite, second: dict[str, str | None], index: str) -> None:
    """The name is the one PostgreSQL would give, since features tell `username_taken` from `email_taken` by it."""
    await database.run(USER, id="1", username="ann", email="a@example.org")
    with pytest.raises(UniqueViolation) as refused:
        await database.run(USER, **second)
    assert refused.value.index == index


async def test_a_unique_violation_names_constraints_and_expressions(database: SQLite) -> None:
    """UNIQUE clauses and indexes on expressions or several columns have PostgreSQL's names as well."""
    await database.run("CREATE TABLE pairs (a TEXT, b TEXT, c TEXT, UNIQUE (a, b))")
    await database.run("CREATE UNIQUE INDEX pairs_lower_c ON pairs (lower(c))")
    put = "INSERT INTO pairs (a, b, c) VALUES (:a, :b, :c)"
    await database.run(put, a="1", b="1", c="X")
    for values, index in (
        ({"a": "1", "b": "1", "c": "y"}, "pairs_a_b_key"),
        ({"a": "2", "b": "1", "c": "x"}, "pairs_lower_c"),
    ):
        with pytest.raises(UniqueViolation) as refused:
            await database.run(put, **values)
        assert refused.value.index == index


async def test_a_statement_that_failed_ends_its_unit_even_if_caught(database: SQLite) -> None:
    """On PostgreSQL a transaction is lost after a failed statement; a unit that works on one engine works on both."""
    await database.run(PUT, name="taken", value="1")
    went_on: list[str] = []

    async def unit(tx: Tx) -> None:
        await tx.run(PUT, name="mine", value="1")
        try:
            await tx.run(PUT, name="taken", value="2")
        except UniqueViolation:
            went_on.append("caught")
        await tx.run(PUT, name="after", value="1")

    async def swallows(tx: Tx) -> None:
        try:
            await unit(tx)
        except UniqueViolation:
            went_on.append("again")

    with pytest.raises(UniqueViolation):
        await database.transact(swallows)
    assert went_on == ["caught", "again"]
    assert value(await database.one(COUNT)) == 1


async def test_a_foreign_key_is_kept(database: SQLite) -> None:
    """Foreign keys are on: deleting a user deletes what refers to it, in the same unit."""
    await database.run(USER, id="1", username="ann", email=None)
    await database.run("CREATE TABLE ww_notes (user_id TEXT REFERENCES ww_users (id) ON DELETE CASCADE)")
    await database.run("INSERT INTO ww_notes (user_id) VALUES ('1')")
    await database.run("DELETE FROM ww_users WHERE id = :id", id="1")
    assert value(await database.one("SELECT count(*) FROM ww_notes")) == 0


async def test_a_text_is_never_part_of_the_sql(database: SQLite) -> None:
    """Values are bound: quotes, comments and statements in them stay text (J6)."""
    for text in ("'; DROP TABLE ww_meta; --", '"', "%", "\\", ":name", "日本語 \U0001f511", ""):
        await database.run("DELETE FROM ww_meta")
        await database.run(PUT, name=text, value=text)
        assert value(await database.one(GET, name=text)) == text


async def test_scan_sees_what_was_acknowledged(database: SQLite) -> None:
    """A scan, which runs elsewhere, has all rows of the units answered before it."""
    await asyncio.gather(*[database.run(PUT, name=f"{n:03}", value="x") for n in range(300)])
    rows = await database.scan("SELECT name FROM ww_meta WHERE name >= :first ORDER BY name", first="100")
    assert [row["name"] for row in rows] == [f"{n:03}" for n in range(100, 300)]


async def test_changed_follows_every_commit(database: SQLite) -> None:
    """True at first and after a commit, False while nothing happens: a follower may skip its query."""
    assert await database.changed()
    assert not await database.changed()
    await database.run(PUT, name="a", value="1")
    assert await database.changed()
    assert not await database.changed()


async def test_a_unit_runs_in_its_requesters_context(database: SQLite) -> None:
    """A request id in a context variable is the requester's, though units of many requests run in one go."""
    request = contextvars.ContextVar[str]("request")

    async def requester(name: str) -> str:
        request.set(name)

        async def unit(tx: Tx) -> str:
            return request.get()

        return await database.transact(unit)

    names = [f"request {n}" for n in range(20)]
    assert await asyncio.gather(*[requester(name) for name in names]) == names


async def test_reads_see_everything_acknowledged(database: SQLite) -> None:
    """Each of many requesters reads its own write back, over and over, on the reading connection."""

    async def requester(name: str) -> None:
        await database.run(PUT, name=name, value="0")
        for n in range(1, 15):
            await database.run("UPDATE ww_meta SET value = :n WHERE name = :name", n=str(n), name=name)
            assert value(await database.one(GET, name=name)) == str(n)

    await asyncio.gather(*[requester(str(n)) for n in range(16)])
