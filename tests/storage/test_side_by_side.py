"""What a new version may do to a database while the version before it still serves: each migration says so."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from watchword.errors import SchemaMismatch
from watchword.storage.database import Database
from watchword.storage.migrate import Migration, bundled, migrate, read, status, tables
from watchword.storage.postgres import Postgres
from watchword.storage.sqlite import SQLite

pytestmark = pytest.mark.anyio

MOST = len(bundled())
# Older code does not go on beside these. A new one needs a reason, and a word in docs/guides/upgrade.md.
STOPS = {
    1: "the first",
    2: "before the first release",
    3: "before the first release",
    4: "before the first release",
    6: "before the first release",
    12: "older code would refresh a session that is for one API with a token for the service's own audience",
}

_USER = """
INSERT INTO ww_users (id, username, username_key, roles, token_version, created_at, updated_at)
VALUES ('u', 'ann', 'ann', '', 1, 1, 1)
"""
_SESSION = """
INSERT INTO ww_sessions (id, handle_hash, user_id, client_id, scope, amr, auth_time, generation, created_at, rotated_at,
    idle_expires_at, expires_at, access_until, grace_elsewhere, address, agent)
VALUES ('s', 'h', 'u', 'watchword', '', 'pwd', 1, 1, 1, 1, 9, 9, 9, 0, '', '')
"""
_MAKES = re.compile(r"CREATE TABLE (\w+)")
_ADDS = re.compile(r"ALTER TABLE (?P<table>\w+) ADD COLUMN (?P<column>\w+) (?:TEXT|BIGINT)(?P<more>.*)", re.DOTALL)
_INDEXES = re.compile(r"CREATE (?P<unique>UNIQUE )?INDEX \w+ ON (?P<table>\w+) \((?P<columns>[^)]*)\)")


# An index that no statement of the code before reads by.
UNREAD = {"DROP INDEX ww_audit_user"}


def disturbs(migration: Migration) -> list[str]:
    """The statements of a migration that older code cannot go on beside; the rest only adds."""
    made = {found[1] for each in migration.statements if (found := _MAKES.match(each))}
    made |= {f"{found['table']} ({found['column']})" for each in migration.statements if (found := _ADDS.match(each))}
    return [each for each in migration.statements if not _only_adds(each, made)]


def _only_adds(statement: str, made: set[str]) -> bool:
    """:param made: tables, and columns as `table (column)`, that the migration makes itself."""
    if _MAKES.match(statement) or statement in UNREAD:
        return True
    if found := _ADDS.fullmatch(statement):  # else older code's INSERT would be refused
        return "NOT NULL" not in found["more"] or "DEFAULT" in found["more"]
    if found := _INDEXES.match(statement):  # a new rule on rows that older code writes
        return not found["unique"] or bool({found["table"], f"{found['table']} ({found['columns']})"} & made)
    # New rows and other values: only in tables that older code does not know.
    found = re.match(r"(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)", statement)
    return found is not None and found[1] in made


@pytest.mark.parametrize("migration", bundled(), ids=lambda migration: migration.name)
def test_a_migration_adds_or_is_known_to_stop_older_code(migration: Migration) -> None:
    """What is removed, renamed or demanded is removed a version later, or older code is stopped, with a reason."""
    assert (migration.serves is None) == (migration.version in STOPS)
    assert migration.serves is None or disturbs(migration) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE ww_users",
        "DROP INDEX ww_users_email",
        "ALTER TABLE ww_users RENAME TO ww_people",
        "ALTER TABLE ww_users RENAME COLUMN email TO mail",
        "ALTER TABLE ww_users DROP COLUMN email",
        "ALTER TABLE ww_users ADD COLUMN kind TEXT NOT NULL",
        "CREATE UNIQUE INDEX ww_users_kind ON ww_users (kind)",
        "UPDATE ww_users SET roles = ''",
        "DELETE FROM ww_sessions",
        "INSERT INTO ww_meta (name, value) VALUES ('a', 'b')",
    ],
)
def test_what_disturbs(statement: str) -> None:
    """The rule above finds each of these."""
    assert disturbs(Migration(9, "later", (statement,), 8)) == [statement]


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE ww_more (id TEXT PRIMARY KEY)", "CREATE UNIQUE INDEX ww_more_id ON ww_more (id)"),
        ("CREATE TABLE ww_more (id TEXT PRIMARY KEY)", "INSERT INTO ww_more (id) SELECT id FROM ww_users"),
        ("ALTER TABLE ww_users ADD COLUMN kind TEXT",),
        ("ALTER TABLE ww_users ADD COLUMN kind TEXT NOT NULL DEFAULT ''",),
        ("CREATE INDEX ww_users_kind ON ww_users (kind)",),
    ],
)
def test_what_does_not(statements: tuple[str, ...]) -> None:
    """And lets these pass."""
    assert disturbs(Migration(9, "later", statements, 8)) == []


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop is enough here."""
    return "asyncio", {"use_uvloop": False}


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, path: Path, postgres_url: str) -> AsyncIterator[Database]:
    """With this version's schema."""
    database: Database = await (SQLite.open(path) if request.param == "sqlite" else Postgres.open(postgres_url))
    await migrate(database, now=1)
    yield database
    await database.close()


def later(*serves: int | None) -> tuple[Migration, ...]:
    """This version's migrations and more, each with the schema that it serves."""
    more = (
        Migration(MOST + at, f"later{at}", (f"CREATE TABLE ww_later{at} (id TEXT)",), each)
        for at, each in enumerate(serves, 1)
    )
    return (*bundled(), *more)


@pytest.mark.parametrize("serves", [(MOST,), (MOST - 1,), (MOST, MOST), (MOST - 1, MOST)])
async def test_code_goes_on_beside_what_serves_it(database: Database, serves: tuple[int, ...]) -> None:
    """It is ready, starts again, and applies nothing; the newer one finds nothing to do either."""
    newer = later(*serves)
    assert len(await migrate(database, now=2, migrations=newer)) == len(serves)
    found = await status(database)
    assert (found.version, found.newest, found.pending) == (MOST + len(serves), MOST, ())
    assert await migrate(database, now=3) == ()
    assert await migrate(database, now=3, migrations=newer) == ()


@pytest.mark.parametrize("serves", [(None,), (MOST, None), (None, MOST), (MOST, MOST + 1)])
async def test_code_stops_beside_what_does_not(database: Database, serves: tuple[int | None, ...]) -> None:
    """One step beyond that does not serve it is enough: it is not ready, and does not start again."""
    await migrate(database, now=2, migrations=later(*serves))
    for refused in (status(database), migrate(database, now=3)):
        with pytest.raises(SchemaMismatch, match="Install the newer") as caught:
            await refused
        assert "upgrade.md" in caught.value.hint


@pytest.mark.parametrize("begins", range(1, MOST))
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_an_older_database_is_brought_here(path: Path, postgres_url: str, engine: str, begins: int) -> None:
    """From each schema on the way, with a user and a session, who are there afterwards."""
    database: Database = await (SQLite.open(path) if engine == "sqlite" else Postgres.open(postgres_url))
    await migrate(database, now=1, migrations=bundled()[:begins])
    await database.run(_USER)
    await database.run(_SESSION)
    assert await migrate(database, now=2) == bundled()[begins:]
    assert len(await database.all("SELECT id FROM ww_users WHERE username = 'ann'")) == 1
    assert len(await database.all("SELECT id FROM ww_sessions WHERE user_id = 'u'")) == 1
    await database.close()


def test_tables() -> None:
    """Those that are made, without those that are dropped, under the names that they have at the end."""
    files = {"0001_one.sql": "CREATE TABLE a (id TEXT);CREATE TABLE b (id TEXT);CREATE TABLE c_next (id TEXT);"
                             "DROP TABLE b;ALTER TABLE c_next RENAME TO c;CREATE INDEX d ON a (id);"}  # fmt: skip
    assert tables(read(files)) == ("a", "c")
    assert {"ww_users", "ww_sessions", "ww_meta"} <= set(tables(bundled()))
    assert "ww_sessions_next" not in tables(bundled())
