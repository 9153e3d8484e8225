"""A PostgreSQL that refuses or is gone, over HTTP: 503 with Retry-After, and no restart once it is well."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import httpx2
import pytest

from tests.postgres import Server as Postgres
from tests.postgres import running
from tests.reliability.conftest import Launch
from tests.reliability.journal import Clients, Journal, clients

DATABASE, CONNECTIONS = "app", 12
END_THEIRS = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'"
WELL, AWAY = 200, 503


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One with few connections, which may be stopped."""
    with running(18, fsync="on", max_connections=str(CONNECTIONS), superuser_reserved_connections="2") as server:
        server.sql(f"CREATE DATABASE {DATABASE}")
        yield server


@asynccontextmanager
async def only_reads(server: Postgres) -> AsyncIterator[None]:
    """As a standby does."""
    server.sql(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on")
    server.sql(END_THEIRS)
    yield
    server.sql(f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only")


@asynccontextmanager
async def full(server: Postgres) -> AsyncIterator[None]:
    """Others have all connections."""
    held: list[asyncpg.Connection] = []
    try:
        while len(held) < CONNECTIONS:
            try:
                held.append(await asyncpg.connect(server.url()))
            except asyncpg.TooManyConnectionsError:
                await held[0].execute(END_THEIRS)
        yield
    finally:
        for each in held:
            await each.close()


@asynccontextmanager
async def stopped(server: Postgres) -> AsyncIterator[None]:
    """Every connection is lost, and no new one is made."""
    await asyncio.to_thread(server.stop, signal.SIGQUIT)
    yield
    await asyncio.to_thread(server.start)


async def test_everyone_is_told_to_come_again_and_may(launch: Launch, server: Postgres) -> None:
    """One service, one fault after the other. Tokens go on being verified, and no process is replaced."""
    service = launch(database_url=server.url(DATABASE))
    before = service.pids
    async with clients(service.url, Journal()) as people, httpx2.AsyncClient(base_url=service.url, timeout=30) as http:
        assert (await people.register("ada")).done
        token = (await people.log_in("ada")).answer["access_token"]
        for fault in (only_reads, full, stopped):
            async with fault(server):
                await _is_refused(people, http, token)
            assert (await people.sooner_or_later(people.log_in, "ada")).done
            await _is_ready(http)
    assert service.pids == before


async def _is_refused(people: Clients, http: httpx2.AsyncClient, token: str) -> None:
    """A log-in is, and not as one that is wrong; `/readyz` says so, and a token is still a good one."""
    for _ in range(4):
        answer = await people.log_in("ada")
        assert (answer.status, int(answer.retry_after) > 0) == (AWAY, True), answer
    assert (await http.get("/livez")).status_code == WELL
    assert (await http.get("/readyz")).status_code == AWAY
    verified = await people.verify(token)
    assert verified.done, verified


async def _is_ready(http: httpx2.AsyncClient) -> None:
    give_up_at = time.monotonic() + 60
    while (await http.get("/readyz")).status_code != WELL:
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.1)
