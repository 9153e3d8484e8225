"""Faults of a PostgreSQL server: it only reads, is full, or is not what the URL says. `test_05_postgres` stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import asyncpg
import pytest

from tests.postgres import Databases, Server, free_port, running
from tests.storage.conftest import NOW
from tests.storage.test_postgres import PUT, names
from watchword.errors import SettingsError, StorageError, StorageUnavailable
from watchword.storage import postgres_faults
from watchword.storage.database import Tx
from watchword.storage.migrate import migrate
from watchword.storage.postgres import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that may be stopped, and that keeps what it said."""
    with running(18, fsync="on", max_connections="12", superuser_reserved_connections="2") as server:
        yield server


@pytest.fixture
async def exposed(server: Server) -> AsyncIterator[Postgres]:
    """A database in that server, with a short deadline."""
    url = await Databases(server).make()
    database = await Postgres.open(url, deadline=1.0)
    await migrate(database, now=NOW)
    yield database
    await database.close()
    await Databases(server).drop(url)


async def test_a_server_that_only_reads(exposed: Postgres, server: Server) -> None:
    """Reads go on; writes are not available until it writes again."""
    name = (await exposed.all("SELECT current_database() AS name"))[0]["name"]
    server.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    exposed._pool.expire()
    with pytest.raises(StorageUnavailable) as refused:
        await exposed.run(PUT, name="a", value="1")
    assert "standby" in postgres_faults.advice(refused.value.__cause__)
    assert await names(exposed) == []
    server.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await _recovered(exposed)


async def test_a_server_without_a_free_connection(exposed: Postgres, server: Server) -> None:
    """It is full, says so, and is used again when others have gone."""
    exposed._pool.expire()
    held = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            held.append(await asyncpg.connect(server.url()))
    with pytest.raises(StorageUnavailable) as refused:
        await asyncio.gather(*[exposed.one("SELECT pg_sleep(0.1)") for _ in range(8)])
    assert "max_connections" in postgres_faults.advice(refused.value.__cause__)
    for each in held:
        await each.close()
    await _recovered(exposed)


async def test_what_is_wrong_at_the_start(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with a hint each; never the password."""
    server.sql("DROP ROLE IF EXISTS ann; CREATE ROLE ann LOGIN PASSWORD 'right'")
    hba = server.data / "pg_hba.conf"
    trusting = hba.read_text()
    hba.write_text("host all ann 127.0.0.1/32 scram-sha-256\n" + trusting)
    server.send(signal.SIGHUP)
    address = f"127.0.0.1:{server.port}"
    for url, said in (
        (f"postgresql://ann:hunter2@{address}/postgres", "password authentication failed"),
        (f"postgresql://postgres:hunter2@{address}/absent", "createdb absent"),
        (f"postgresql://postgres:hunter2@{address}/postgres?sslmode=require", "TLS"),
        (
            f"postgresql://postgres:hunter2@{address}/postgres?sslmode=verify-full&sslrootcert=/absent.pem",
            "sslrootcert",
        ),
        (f"postgresql://postgres:hunter2@{address}/postgres?sslrootcert=system", "TLS"),
        (f"postgresql://postgres:hunter2@127.0.0.1:{free_port()}/postgres", "not available"),
        ("postgresql://postgres:hunter2@no-such-host.invalid/postgres", "not available"),
    ):
        assert said in await _refusal(url)
    server.sql("DROP DATABASE IF EXISTS latin")
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "createdb -E UTF8" in await _refusal(server.url("latin"))
    monkeypatch.setattr("watchword.storage.postgres_connection.OLDEST", 99)
    assert "14 or newer" in await _refusal(server.url())
    hba.write_text(trusting)
    server.send(signal.SIGHUP)


async def _refusal(url: str) -> str:
    with pytest.raises((SettingsError, StorageError)) as refused:
        await Postgres.open(url)
    error = refused.value
    if isinstance(error, SettingsError):
        ((fault),) = error.faults
        text = f"{fault.message}; {fault.hint}"
    else:
        text = f"{error.message} ({error.__cause__}); {postgres_faults.advice(error.__cause__)}"
    assert "hunter2" not in text
    assert "\n" not in text
    return text


async def _put(tx: Tx) -> int:
    return await tx.run(PUT, name="unit", value="1")


async def _recovered(database: Postgres) -> None:
    """Wait until it is writable again, as `/readyz` asks; then so it stays."""
    for _ in range(600):
        if await database.writable() and not database._failed:
            try:
                await database.run("DELETE FROM ww_meta WHERE name = 'recovered'")
            except StorageUnavailable:
                continue
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it does not recover")
