"""PostgreSQL alone: what is run again, what a deadline ends, and what migrations meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests import pgbouncer
from tests.postgres import Databases
from tests.storage.conftest import NOW
from watchword.cli import exits
from watchword.errors import SchemaMismatch, StorageUnavailable
from watchword.storage import postgres_faults
from watchword.storage.database import Row, Tx
from watchword.storage.migrate import Migration, bundled, migrate, status
from watchword.storage.postgres import ATTEMPTS, Postgres
from watchword.storage.postgres_sql import numbered

pytestmark = pytest.mark.anyio

_IGNORED = (
    "ignore_startup_parameters = statement_timeout,idle_in_transaction_session_timeout,default_transaction_isolation\n"
)
PUT = "INSERT INTO ww_meta (name, value) VALUES (:name, :value)"
NAMES = "SELECT name FROM ww_meta ORDER BY name"


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Postgres]:
    """Open and migrated."""
    database = await Postgres.open(postgres_url)
    await migrate(database, now=NOW)
    yield database
    await database.close()


async def names(database: Postgres) -> list[str]:
    return [str(row[0]) for row in await database.all(NAMES)]


@pytest.mark.parametrize(
    ("sql", "to", "order"),
    [
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ("a", "b")),
        ("SELECT ':a', \"b:c\", x::TEXT -- :d\n, :e", "SELECT ':a', \"b:c\", x::TEXT -- :d\n, $1", ("e",)),
        ("SELECT 'it''s :a', :a1, :a", "SELECT 'it''s :a', $1, $2", ("a1", "a")),
        ("SELECT 1", "SELECT 1", ()),
    ],
)
def test_names_become_numbers(sql: str, to: str, order: tuple[str, ...]) -> None:
    """But not in strings, names in quotes, comments and casts."""
    assert numbered(sql) == (to, order)


async def test_a_unit_whose_connection_is_lost_is_run_again(database: Postgres, postgres_url: str) -> None:
    """Before COMMIT nothing is stored, so it happens once."""
    runs = []

    async def unit(tx: Tx) -> None:
        runs.append(1)
        await tx.run(PUT, name="a", value="1")
        if len(runs) == 1:
            row = await tx.one("SELECT pg_backend_pid() AS pid")
            assert row is not None
            await elsewhere(postgres_url, f"SELECT pg_terminate_backend({row['pid']})")
            await tx.run(PUT, name="b", value="1")

    await database.transact(unit)
    assert len(runs) == 2
    assert await names(database) == ["a"]


async def test_a_connection_lost_in_commit_is_not_run_again(database: Postgres) -> None:
    """Whether it was stored is not known: those who asked are told that the database is not available, once."""
    runs = []
    await database.run("CREATE TABLE slow (n BIGINT)")
    await database.run(
        "CREATE FUNCTION wait() RETURNS trigger AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid());"
        " PERFORM pg_sleep(5); RETURN NULL; END $$ LANGUAGE plpgsql"
    )
    await database.run(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION wait()"
    )

    async def unit(tx: Tx) -> None:
        runs.append(1)
        await tx.run("INSERT INTO slow (n) VALUES (1)")

    with pytest.raises(StorageUnavailable):
        await database.transact(unit)
    assert len(runs) == 1
    assert await database.all("SELECT n FROM slow") == []


async def test_a_deadlock_is_run_again(database: Postgres, postgres_url: str) -> None:
    """Two units that each hold what the other wants: the server ends one, which then has its turn."""
    await database.run(PUT, name="a", value="")
    await database.run(PUT, name="b", value="")
    both = asyncio.Barrier(2)
    runs = []

    async def unit(tx: Tx, first: str, second: str) -> None:
        runs.append(first)
        add = "UPDATE ww_meta SET value = value || 'x' WHERE name = :name"
        await tx.run(add, name=first)
        if len(runs) <= 2:
            await both.wait()
        await tx.run(add, name=second)

    await asyncio.gather(
        database.transact(lambda tx: unit(tx, "a", "b")), database.transact(lambda tx: unit(tx, "b", "a"))
    )
    assert len(runs) >= 3  # the one that was ended may meet the other again
    assert [row["value"] for row in await database.all("SELECT value FROM ww_meta")] == ["xx", "xx"]


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_unit_that_others_have_overtaken_is_run_again(database: Postgres, state: str) -> None:
    """The server says so, by either code, and has stored nothing: the second run is the only one that counts."""
    runs = []

    async def unit(tx: Tx) -> None:
        runs.append(1)
        await tx.run(PUT, name=f"run {len(runs)}", value="1")
        if len(runs) == 1:
            await tx.run(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")

    await database.transact(unit)
    assert len(runs) == 2
    assert await names(database) == ["run 2"]


async def test_one_that_is_always_overtaken_is_not_run_for_ever(database: Postgres) -> None:
    """After so many attempts those who asked are told that the database is not available."""
    runs = []

    async def unit(tx: Tx) -> None:
        runs.append(1)
        await tx.run("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    with pytest.raises(StorageUnavailable):
        await database.transact(unit)
    assert 1 < len(runs) <= ATTEMPTS
    assert await database.writable()


async def test_a_stale_plan_is_run_again(database: Postgres, postgres_url: str) -> None:
    """Another process migrates: what was planned before has other columns now."""
    await database.run("CREATE TABLE wide (a TEXT)")
    await database.run("INSERT INTO wide (a) VALUES ('1')")

    async def unit(tx: Tx) -> Row | None:
        return await tx.one("SELECT * FROM wide")

    for _ in range(3):
        await asyncio.gather(*[database.transact(unit) for _ in range(20)])  # planned on every connection
        await elsewhere(postgres_url, "ALTER TABLE wide ADD COLUMN IF NOT EXISTS b TEXT DEFAULT '2'")
    found = await asyncio.gather(*[database.transact(unit) for _ in range(20)])
    assert {tuple(row) for row in found} == {("1", "2")}  # type: ignore[arg-type]


async def test_a_statement_that_takes_too_long_is_given_up(postgres_url: str) -> None:
    """By the client at the deadline; those behind it are served."""
    database = await Postgres.open(postgres_url, deadline=0.4)
    with pytest.raises(StorageUnavailable):
        await database.one("SELECT pg_sleep(30)")
    with pytest.raises(StorageUnavailable):
        await database.transact(lambda tx: tx.one("SELECT pg_sleep(30)"))
    assert await database.one("SELECT 1 AS n") is not None
    await database.close()


async def test_each_has_its_own_deadline(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who waits for longer is neither ended with the others nor forgotten after them."""
    database = await Postgres.open(postgres_url, deadline=0.3)
    longer = asyncio.create_task(database.scan("SELECT pg_sleep(0.9), 1 AS n"))
    await asyncio.sleep(0.05)
    with pytest.raises(StorageUnavailable):
        await database.one("SELECT pg_sleep(30)")
    assert not longer.done()
    assert (await longer)[0]["n"] == 1
    monkeypatch.setattr("watchword.storage.postgres.SCAN_DEADLINE", 0.6)
    both = database.scan("SELECT pg_sleep(30)"), database.one("SELECT pg_sleep(30)")
    found = await asyncio.wait_for(asyncio.gather(*both, return_exceptions=True), 20)
    assert [type(each) for each in found] == [StorageUnavailable, StorageUnavailable]
    await database.close()


async def test_a_deadline_between_two_steps_of_the_driver_is_no_fault_of_the_program(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver has prepared a statement and not sent it yet when its connection is ended."""
    database = await Postgres.open(postgres_url)

    prepare = asyncpg.Connection._get_statement

    async def ended(connection: asyncpg.Connection, *args: object, **how: object) -> object:
        statement = await prepare(connection, *args, **how)
        connection.terminate()
        return statement

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Connection, "_get_statement", ended)
        with pytest.raises(StorageUnavailable):
            await database.transact(lambda tx: tx.one("SELECT 1 AS n"))
    assert await database.one("SELECT 1 AS n") is not None
    await database.close()


async def test_the_server_gives_up_as_well(postgres_url: str) -> None:
    """After three seconds, so that what no one waits for holds no locks. Upkeep may take longer."""
    database = await Postgres.open(postgres_url, deadline=60)
    show = (
        "SELECT current_setting('statement_timeout') AS s, current_setting('idle_in_transaction_session_timeout') AS i"
    )
    for ask in (database.one(show), database.transact(lambda tx: tx.one(show))):
        row = await ask
        assert row is not None
        assert (row["s"], row["i"]) == ("3s", "5s")
    row = await database.transact(lambda tx: tx.one(show), upkeep=True)
    assert row is not None
    assert (row["s"], row["i"]) == ("0", "0")
    assert (await database.scan(show))[0]["s"] == "30s"
    await database.close()


async def test_commits_wait_for_the_disk(database: Postgres, postgres_url: str) -> None:
    """Also where the database was set to answer before: what is answered is stored."""
    name = urlsplit(postgres_url).path.removeprefix("/")
    await database.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await database.run(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    for url in (postgres_url, postgres_url + "?pgbouncer=true"):
        other = await Postgres.open(url)
        sql = "SELECT current_setting('synchronous_commit') AS s, current_setting('transaction_isolation') AS i"
        for ask in (other.one(sql), other.transact(lambda tx, sql=sql: tx.one(sql))):  # type: ignore[misc]
            row = await ask
            assert row is not None
            assert (row["s"], row["i"]) == ("on", "read committed")
        await other.close()


@pytest.mark.skipif(pgbouncer.PROGRAM is None, reason="pgbouncer is not installed")
@pytest.mark.parametrize("more", ["", _IGNORED], ids=["refused_at_the_start", "mixed_up_later"])
async def test_a_pooler_that_is_denied(
    postgres: Callable[[int], Databases],
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: str,
) -> None:
    """`pgbouncer=false` where there is one is a slip: one line says so in our words, and not that a disk is full."""
    monkeypatch.setattr(pgbouncer, "_CONFIGURATION", pgbouncer._CONFIGURATION + more)
    with pgbouncer.in_front_of(postgres(18).server) as port:
        place = f"127.0.0.1:{port}/{urlsplit(postgres_url).path.removeprefix('/')}"
        with pytest.raises(StorageUnavailable) as refused:
            await _used(f"postgresql://postgres@{place}?pgbouncer=false")
    assert exits.told(refused.value) == exits.FAULT
    error, hint = capsys.readouterr().err.splitlines()
    assert "write pgbouncer=true in WATCHWORD_DATABASE_URL" in hint
    assert "The database" in error
    assert "NOTE" not in error, error
    assert len(error) < 200, error


async def _used(url: str) -> None:
    """Ask in more than one connection at once, until a server has not what another one was told."""
    database = await Postgres.open(url)
    try:
        for _ in range(50):
            await migrate(database, now=NOW)
            await asyncio.gather(*[names(database) for _ in range(20)])
    finally:
        await database.close()


async def test_eight_processes_migrate_at_once(postgres_url: str) -> None:
    """Each migration is applied once, and everyone finds it applied."""
    several = [await Postgres.open(postgres_url) for _ in range(8)]
    applied = await asyncio.gather(*[migrate(each, now=NOW) for each in several])
    versions = sorted(migration.version for each in applied for migration in each)
    assert versions == list(range(1, (await status(several[0])).newest + 1))
    for each in several:
        await each.close()


async def test_an_engine_without_advisory_locks(database: Postgres, postgres_url: str) -> None:
    """The row that a migration claims keeps the others out by itself."""
    everything = "ALL ON SCHEMA public", "ALL ON ALL TABLES IN SCHEMA public"
    url = await as_user(database, postgres_url, "watcher_without_locks", *everything)
    await database.run("REVOKE EXECUTE ON FUNCTION pg_advisory_xact_lock(bigint) FROM PUBLIC")
    several = [await Postgres.open(url) for _ in range(4)]
    more = (*bundled(), Migration(len(bundled()) + 1, "more", ("CREATE TABLE more (n BIGINT)",)))
    applied = await asyncio.gather(*[migrate(each, now=NOW, migrations=more) for each in several])
    assert [migration.name for each in applied for migration in each] == ["more"]
    for each in several:
        await each.close()


async def test_another_programs_table(postgres_url: str) -> None:
    """One line, and nothing is changed."""
    database = await Postgres.open(postgres_url)
    await database.run("CREATE TABLE ww_schema (id TEXT)")
    with pytest.raises(SchemaMismatch, match="another program"):
        await migrate(database, now=NOW)
    await database.close()


async def test_a_newer_schema(database: Postgres) -> None:
    """It says which version to install."""
    await database.run("INSERT INTO ww_schema (version, name, applied_at) VALUES (9999, 'later', 1)")
    with pytest.raises(SchemaMismatch, match="9999"):
        await migrate(database, now=NOW)


async def test_a_user_who_may_not_make_tables(database: Postgres, postgres_url: str) -> None:
    """Since PostgreSQL 15 that is everyone but the owner: the hint says which right."""
    url = await as_user(database, postgres_url, "watcher_without_rights")
    other = await Postgres.open(url)
    with pytest.raises(StorageUnavailable) as refused:
        await other.run("CREATE TABLE mine (n BIGINT)")
    assert "GRANT CREATE" in postgres_faults.advice(refused.value.__cause__)
    await other.close()


async def test_a_user_who_does_not_own_the_tables(database: Postgres, postgres_url: str) -> None:
    """As after a restore by another user. The right to make tables would not help."""
    url = await as_user(database, postgres_url, "watcher_of_others_tables", "CREATE ON SCHEMA public")
    other = await Postgres.open(url)
    for refused_sql in ("SELECT version FROM ww_schema", "ALTER TABLE ww_users ADD COLUMN more BIGINT"):
        with pytest.raises(StorageUnavailable) as refused:
            await other.one(refused_sql)
        advice = postgres_faults.advice(refused.value.__cause__)
        assert "pg_restore --no-owner" in advice
        assert "GRANT" not in advice
    await other.close()


async def elsewhere(url: str, sql: str) -> None:
    """As another process does it."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def as_user(database: Postgres, url: str, name: str, *rights: str) -> str:
    """The URL for another user, who is made if need be and given rights."""
    if not await database.all("SELECT 1 AS n FROM pg_roles WHERE rolname = :name", name=name):
        await database.run(f"CREATE ROLE {name} LOGIN")
    for right in rights:
        await database.run(f"GRANT {right} TO {name}")
    return url.replace("postgres@", f"{name}@")
