"""What every database must keep, whatever engine is behind it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import pgbouncer
from tests.postgres import Databases
from tests.storage.conftest import NOW
from watchword.errors import StorageUnavailable, UniqueViolation
from watchword.storage.database import Database, Load, Row, Tx, Unit
from watchword.storage.migrate import migrate
from watchword.storage.postgres import Postgres
from watchword.storage.sqlite import SQLite

pytestmark = pytest.mark.anyio

PUT = "INSERT INTO ww_meta (name, value) VALUES (:name, :value)"
GET = "SELECT value FROM ww_meta WHERE name = :name"
COUNT = "SELECT count(*) AS n FROM ww_meta"
USER = (
    "INSERT INTO ww_users (id, username_key, email_key, roles, token_version, created_at, updated_at)"
    " VALUES (:id, :username, :email, '', 1, 1, 1)"
)


HIGHEST = 2**63 - 1


# `make test` tries the oldest PostgreSQL and the newest.
RARE = [pytest.param(engine, marks=pytest.mark.rare) for engine in ("postgres-16", "pgbouncer-18")]
ENGINES = ["sqlite", "postgres-15", "postgres-18", *RARE]


@pytest.fixture(params=ENGINES)
async def database(
    request: pytest.FixtureRequest, path: Path, postgres: Callable[[int], Databases]
) -> AsyncIterator[Database]:
    """Open and migrated, on each engine."""
    engine, _, version = str(request.param).partition("-")
    url = await postgres(int(version)).borrow() if version else ""
    opened: Database
    if engine == "sqlite":
        opened = await SQLite.open(path)
    elif engine == "postgres":
        opened = await Postgres.open(url)
    else:
        port = request.getfixturevalue("pgbouncer_port")
        opened = await Postgres.open(f"postgresql://postgres@127.0.0.1:{port}/{url.rpartition('/')[2]}")
        assert opened._frame.always, "PgBouncer was not recognised"
    await migrate(opened, now=NOW)
    yield opened
    await opened.close()
    if version:
        await postgres(int(version)).give_back(url)


@pytest.fixture(scope="module")
def pgbouncer_port(postgres: Callable[[int], Databases]) -> Iterator[int]:
    """PgBouncer in transaction mode before PostgreSQL 18."""
    if pgbouncer.PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    with pgbouncer.in_front_of(postgres(18).server) as port:
        yield port


def value(row: Row | None) -> object:
    """The first column, or None without a row."""
    return None if row is None else row[0]


async def test_a_unit_answers_with_its_result_and_is_stored(database: Database) -> None:
    """What a unit returns comes back, and what it wrote is there for a reader at once."""

    async def unit(tx: Tx) -> str:
        assert await tx.run(PUT, name="a", value="1") == 1
        return "done"

    assert await database.transact(unit) == "done"
    assert value(await database.one(GET, name="a")) == "1"


async def test_the_load_is_what_is_under_way(database: Database) -> None:
    """More writers than can write at once: some are seen to write, others to wait; then no one."""
    writing = [asyncio.create_task(database.run(PUT, name=f"load-{number}", value="1")) for number in range(64)]
    seen = [Load(0, 0)]
    while not all(each.done() for each in writing):
        await asyncio.sleep(0)
        seen.append(database.load())
    await asyncio.gather(*writing)
    assert max(load.in_use for load in seen) >= 1
    assert max(load.waiting for load in seen) >= 1
    await asyncio.sleep(0.05)  # a writer ends its turn after the answers
    assert database.load() == Load(0, 0)


async def test_a_unit_that_raises_leaves_nothing(database: Database) -> None:
    """The unit's own exception comes out, and neither of its two statements is stored."""

    async def unit(tx: Tx) -> None:
        await tx.run(PUT, name="a", value="1")
        await tx.run(PUT, name="b", value="1")
        raise LookupError("changed my mind")

    with pytest.raises(LookupError, match="changed my mind"):
        await database.transact(unit)
    assert value(await database.one(COUNT)) == 0


async def test_a_unit_reads_what_it_has_written(database: Database) -> None:
    """Reads inside a unit go to the writer, so they see the unit's own rows."""

    async def unit(tx: Tx) -> list[object]:
        await tx.run(PUT, name="a", value="1")
        await tx.run(PUT, name="b", value="2")
        return [row["value"] for row in await tx.all("SELECT value FROM ww_meta ORDER BY name")]

    assert await database.transact(unit) == ["1", "2"]


async def test_returning_gives_the_row_as_written(database: Database) -> None:
    """`UPDATE … RETURNING` answers with the new row, by name and by position; without a match with None."""
    await database.run(PUT, name="a", value="1")
    update = "UPDATE ww_meta SET value = :value WHERE name = :name RETURNING name, value"

    async def unit(tx: Tx) -> tuple[Row | None, Row | None]:
        return await tx.one(update, name="a", value="2"), await tx.one(update, name="absent", value="2")

    row, none = await database.transact(unit)
    assert row is not None
    assert (row["value"], row[0]) == ("2", "a")
    assert none is None


async def test_a_change_is_a_unit_of_its_own(database: Database) -> None:
    """Its row comes back once it is stored; None where there was nothing to change; of 64 at once one gets it."""
    await database.run(PUT, name="a", value="1")
    take = "UPDATE ww_meta SET value = :mine WHERE name = :name AND value = '1' RETURNING value"
    won = await asyncio.gather(*[database.change(take, mine=f"by {n}", name="a") for n in range(64)])
    (row,) = [each for each in won if each is not None]
    assert value(await database.one(GET, name="a")) == row["value"]
    assert await database.change(take, mine="2", name="absent") is None


async def test_run_says_how_many_rows_changed(database: Database) -> None:
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
async def test_a_unique_violation_names_the_index(
    database: Database, second: dict[str, str | None], index: str
) -> None:
    """The name is the one PostgreSQL would give, since features tell `username_taken` from `email_taken` by it."""
    await database.run(USER, id="1", username="ann", email="a@example.org")
    with pytest.raises(UniqueViolation) as refused:
        await database.run(USER, **second)
    assert refused.value.index == index


async def test_a_unique_violation_names_constraints_and_expressions(database: Database) -> None:
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


async def test_a_statement_that_failed_ends_its_unit_even_if_caught(database: Database) -> None:
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


async def test_a_foreign_key_is_kept(database: Database) -> None:
    """Foreign keys are on: deleting a user deletes what refers to it, in the same unit."""
    await database.run(USER, id="1", username="ann", email=None)
    await database.run("CREATE TABLE ww_notes (user_id TEXT REFERENCES ww_users (id) ON DELETE CASCADE)")
    await database.run("INSERT INTO ww_notes (user_id) VALUES ('1')")
    await database.run("DELETE FROM ww_users WHERE id = :id", id="1")
    assert value(await database.one("SELECT count(*) FROM ww_notes")) == 0


async def test_a_text_is_never_part_of_the_sql(database: Database) -> None:
    """Values are bound: quotes, comments and statements in them stay text (J6)."""
    for text in ("'; DROP TABLE ww_meta; --", '"', "%", "\\", ":name", "日本語 \U0001f511", ""):
        await database.run("DELETE FROM ww_meta")
        await database.run(PUT, name=text, value=text)
        assert value(await database.one(GET, name=text)) == text


async def test_scan_sees_what_was_acknowledged(database: Database) -> None:
    """A scan, which runs elsewhere, has all rows of the units answered before it."""
    await asyncio.gather(*[database.run(PUT, name=f"{n:03}", value="x") for n in range(300)])
    rows = await database.scan("SELECT name FROM ww_meta WHERE name >= :first ORDER BY name", first="100")
    assert [row["name"] for row in rows] == [f"{n:03}" for n in range(100, 300)]


async def test_changed_follows_every_commit(database: Database) -> None:
    """True at first and after a commit; on SQLite False while nothing happens: a follower may skip its query."""
    assert await database.changed()
    quiet = await database.changed()
    assert quiet == isinstance(database, Postgres)
    await database.run(PUT, name="a", value="1")
    assert await database.changed()


async def test_a_unit_runs_in_its_requesters_context(database: Database) -> None:
    """A request id in a context variable is the requester's, though units of many requests run in one go."""
    request = contextvars.ContextVar[str]("request")

    async def requester(name: str) -> str:
        request.set(name)

        async def unit(tx: Tx) -> str:
            return request.get()

        return await database.transact(unit)

    names = [f"request {n}" for n in range(20)]
    assert await asyncio.gather(*[requester(name) for name in names]) == names


async def test_reads_see_everything_acknowledged(database: Database) -> None:
    """Each of many requesters reads its own write back, over and over, on the reading connection."""

    async def requester(name: str) -> None:
        await database.run(PUT, name=name, value="0")
        for n in range(1, 15):
            await database.run("UPDATE ww_meta SET value = :n WHERE name = :name", n=str(n), name=name)
            assert value(await database.one(GET, name=name)) == str(n)

    await asyncio.gather(*[requester(str(n)) for n in range(16)])


async def test_one_of_many_wins(database: Database) -> None:
    """Of 64 that change a row from one state to the next, the row count tells exactly one that it was them."""
    await database.run(PUT, name="token", value="new")
    take = "UPDATE ww_meta SET value = :mine WHERE name = 'token' AND value = 'new' RETURNING value"

    async def taker(name: str) -> str | None:
        async def unit(tx: Tx) -> Row | None:
            return await tx.one(take, mine=name)

        row = await database.transact(unit)
        return None if row is None else str(row["value"])

    won = [name for name in await asyncio.gather(*[taker(str(n)) for n in range(64)]) if name is not None]
    assert len(won) == 1
    assert value(await database.one(GET, name="token")) == won[0]


async def test_no_count_is_lost(database: Database) -> None:
    """Many units that read and write the same rows in different orders are all stored, each once."""
    for name in "ab":
        await database.run(PUT, name=name, value="0")
    add = "UPDATE ww_meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE name = :name"

    async def unit(tx: Tx, names: str) -> None:
        for name in names:
            assert await tx.run(add, name=name) == 1

    units: list[Unit[None]] = [lambda tx: unit(tx, "ab"), lambda tx: unit(tx, "ba")]
    await asyncio.gather(*[database.transact(units[n % 2]) for n in range(12)])
    assert [value(await database.one(GET, name=name)) for name in "ab"] == ["12", "12"]


async def test_a_cancelled_request_only_stops_waiting(database: Database) -> None:
    """Its unit happens as a whole or not at all, and the database works on for everyone else."""

    async def unit(tx: Tx, name: str) -> None:
        await tx.run(PUT, name=f"{name} first", value="1")
        await tx.run(PUT, name=f"{name} second", value="1")

    for steps in range(12):
        task = asyncio.create_task(database.transact(lambda tx, n=steps: unit(tx, str(n))))  # type: ignore[misc]
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await database.run(PUT, name="after", value="1")
    await asyncio.gather(*[database.run(PUT, name=f"then {n}", value="1") for n in range(20)])
    rows = await database.scan("SELECT name FROM ww_meta")
    names = {str(row["name"]) for row in rows}
    assert {name for name in names if name.endswith("first")} == {
        name.replace("second", "first") for name in names if name.endswith("second")
    }


async def test_what_is_written_comes_back(database: Database) -> None:
    """Text of every plane, the empty text, null, and whole numbers of 64 bits, by name and by position."""
    await database.run("CREATE TABLE kinds (t TEXT, n BIGINT)")
    put = "INSERT INTO kinds (t, n) VALUES (:t, :n)"
    for text, number in (("", 0), (None, None), ("\U0001f511 é \u0301", HIGHEST), ("x" * 100_000, -HIGHEST - 1)):
        await database.run("DELETE FROM kinds")
        await database.run(put, t=text, n=number)
        row = await database.one("SELECT t, n FROM kinds")
        assert row is not None
        assert (row["t"], row[1]) == (text, number)


async def test_an_optional_parameter_may_be_null(database: Database) -> None:
    """`CAST(:x AS TEXT)` says what kind it is where nothing else does; a name that stands twice is one value."""
    sql = "SELECT name FROM ww_meta WHERE (CAST(:name AS TEXT) IS NULL OR name = :name) ORDER BY name"
    for name in "ab":
        await database.run(PUT, name=name, value="1")
    assert [row[0] for row in await database.all(sql, name=None)] == ["a", "b"]
    assert [row[0] for row in await database.all(sql, name="b")] == ["b"]


async def test_nul_is_refused_or_kept(database: Database) -> None:
    """The edge refuses it. PostgreSQL refuses it once more, and goes on; SQLite gives back what it got."""
    if isinstance(database, Postgres):
        with pytest.raises(ValueError, match="cannot hold"):
            await database.run(PUT, name="a", value="a\0b")
        assert value(await database.one(COUNT)) == 0
    else:
        await database.run(PUT, name="a", value="a\0b")
        assert value(await database.one(GET, name="a")) == "a\0b"


@pytest.mark.parametrize("wrong", [HIGHEST + 1, "\ud800"])
async def test_what_cannot_be_stored_is_refused(database: Database, wrong: str | int) -> None:
    """A number beyond 64 bits and half a character raise; nothing is stored, and the next statement works."""
    await database.run("CREATE TABLE kinds (t TEXT, n BIGINT)")
    column = "n" if isinstance(wrong, int) else "t"

    async def unit(tx: Tx) -> None:
        await tx.run(PUT, name="a", value="1")
        await tx.run(f"INSERT INTO kinds ({column}) VALUES (:it)", it=wrong)

    with pytest.raises((OverflowError, ValueError)):
        await database.transact(unit)
    assert value(await database.one(COUNT)) == 0


async def test_the_database_is_not_called_inside_a_unit(database: Database) -> None:
    """It would not see what the unit has written, and wait for it."""

    async def unit(tx: Tx) -> None:
        await database.one(GET, name="a")

    with pytest.raises(RuntimeError, match="inside a unit"):
        await database.transact(unit)
    assert await database.one(GET, name="a") is None


async def test_a_unit_that_has_ended_says_so(database: Database) -> None:
    """`tx` is of no use after its unit."""
    kept: list[Tx] = []

    async def unit(tx: Tx) -> None:
        kept.append(tx)

    await database.transact(unit)
    with pytest.raises(RuntimeError, match="this unit has ended"):
        await kept[0].one(GET, name="a")


async def test_upkeep_and_endings_are_units_like_others(database: Database) -> None:
    """Both kinds store, and leave nothing when they raise; several upkeeps at once take turns."""

    async def add(tx: Tx) -> None:
        row = await tx.one(GET, name="n")
        assert row is not None
        await tx.run("UPDATE ww_meta SET value = :value WHERE name = 'n'", value=str(int(row["value"]) + 1))

    await database.run(PUT, name="n", value="0")
    await asyncio.gather(*[database.transact(add, upkeep=True) for _ in range(16)])
    await database.transact(add, ends=True)
    assert value(await database.one(GET, name="n")) == "17"  # no lock but their own kept them apart

    async def raises(tx: Tx) -> None:
        await add(tx)
        raise LookupError

    for kind in ("upkeep", "ends"):
        with pytest.raises(LookupError):
            await database.transact(raises, **{kind: True})
    assert value(await database.one(GET, name="n")) == "17"


async def test_a_closed_database_says_so(database: Database) -> None:
    """What was under way is finished first."""
    writing = asyncio.gather(*[database.run(PUT, name=str(n), value="1") for n in range(20)])
    await asyncio.sleep(0)
    await database.close()
    assert await writing == [1] * 20
    with pytest.raises(StorageUnavailable):
        await database.run(PUT, name="after", value="1")
    with pytest.raises(StorageUnavailable):
        await database.transact(lambda tx: tx.one(GET, name="a"))
    await database.close()


async def test_it_is_writable(database: Database) -> None:
    """As long as nothing was lost."""
    assert await database.writable()
