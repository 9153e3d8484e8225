"""What PostgreSQL has acknowledged is kept, however it goes, and meanwhile everyone is told to come again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx2
import pytest

from tests.postgres import Server as Postgres
from tests.postgres import running
from tests.reliability.conftest import Launch, on
from tests.reliability.journal import REFRESH, Journal, clients
from tests.reliability.model import Model
from tests.reliability.rows import Row
from tests.reliability.service import Service
from tests.reliability.traffic import Traffic, flowing, only_503, until
from tests.reliability.verifying import Verifying, verifying

RATE = 50  # requests a second
STOPS, RESTARTS, STILL = 20, 10, 30
DURABLE = {"fsync": "on", "full_page_writes": "on"}
pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One that may be stopped, and flushes what it acknowledges."""
    with running(18, **DURABLE) as server:
        yield server


@pytest.fixture
def database_url(engine: str, server: Postgres) -> str:
    """An empty database in it."""
    return _new_database(server)


def _new_database(server: Postgres) -> str:
    name = f"app_{time.monotonic_ns()}"
    server.sql(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture
def service(launch: Launch) -> Service:
    """With the longest grace: an answer may be lost for half a minute."""
    return launch(WATCHWORD_REFRESH_GRACE="120s")


@pytest.mark.experiment(5, "PostgreSQL stopped at once 20 times under 50 requests/s")
@on(("postgres", 2), quick=("postgres", 2))
async def test_stopped_at_once(service: Service, server: Postgres, journal: Journal, row: Row) -> None:
    """As by a power cut: its memory is gone, and what it had flushed is read again."""
    await _restarted(service, server, journal, row, signal.SIGQUIT, row.times(STOPS))


@pytest.mark.experiment(5, "PostgreSQL restarted 10 times under 50 requests/s")
@on(("postgres", 2))
async def test_restarted(service: Service, server: Postgres, journal: Journal, row: Row) -> None:
    """As by an operator."""
    await _restarted(service, server, journal, row, signal.SIGINT, row.times(RESTARTS, least=2))


async def _restarted(
    service: Service, server: Postgres, journal: Journal, row: Row, how: signal.Signals, times: int
) -> None:
    begun, back, away = time.monotonic(), list[float](), list[tuple[int, ...]]()
    async with _traffic(service, journal, row) as traffic, _offline(service, journal) as offline:
        for _ in range(times):
            await asyncio.sleep(1)
            await asyncio.to_thread(server.stop, how)
            await asyncio.sleep(0.5)
            away += await _health(service)
            back.append(await _recovered(journal, server.start))
        await asyncio.sleep(1)
    row.tried("stops", times)
    row.none("health told otherwise", [each for each in away if each != (200, 503)])
    await _nothing_lost(service, journal, row, traffic, offline, begun)
    row.at_most("recovered after, s", max(back), 5, time=True)


@pytest.mark.experiment(5, "PostgreSQL stands still (SIGSTOP) for 30 s under 50 requests/s")
@on(("postgres", 2))
async def test_stands_still(service: Service, server: Postgres, journal: Journal, row: Row) -> None:
    """It answers nothing, and its connections live."""
    begun = time.monotonic()
    async with _traffic(service, journal, row) as traffic, _offline(service, journal) as offline:
        await asyncio.sleep(1)
        server.send_all(signal.SIGSTOP)
        try:
            _, away = await asyncio.gather(asyncio.sleep(row.times(STILL, least=4)), _health_later(service))
        finally:
            back = await _recovered(journal, server.send_all, signal.SIGCONT)
        await asyncio.sleep(2)
    row.none("health told otherwise", [each for each in away if each != (200, 503)])
    await _nothing_lost(service, journal, row, traffic, offline, begun)
    row.at_most("recovered after, s", back, 5, time=True)


@pytest.mark.experiment(5, "PostgreSQL's primary dies, its synchronous standby is promoted, under 50 requests/s")
@on(("postgres", 2))
async def test_fails_over(launch: Launch, journal: Journal, row: Row) -> None:
    """The URL names both, and the one that writes is taken."""
    with running(18, **DURABLE) as primary, running(18, following=primary, **DURABLE) as standby:
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.sql("SELECT pg_reload_conf()")
        url = _new_database(primary)
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        url = f"postgresql://postgres@{hosts}/{url.rpartition('/')[2]}?target_session_attrs=read-write"
        service = launch(database_url=url, WATCHWORD_REFRESH_GRACE="120s")
        begun = time.monotonic()
        async with _traffic(service, journal, row) as traffic, _offline(service, journal) as offline:
            await asyncio.sleep(5)
            await asyncio.to_thread(primary.stop, signal.SIGQUIT)
            await asyncio.sleep(1)
            back = await _recovered(journal, standby.sql, "SELECT pg_promote()")
            await asyncio.sleep(5)
        await _nothing_lost(service, journal, row, traffic, offline, begun)
        row.at_most("recovered after, s", back, 5, time=True)
        service.stop()


def _traffic(service: Service, journal: Journal, row: Row) -> AbstractAsyncContextManager[Traffic]:
    """A few clients in the quick selection, since each has to log in."""
    return flowing([service.url], journal, **({"rate": RATE} if row.timed else {"rate": 10, "sessions": 40}))


@asynccontextmanager
async def _offline(service: Service, journal: Journal) -> AsyncIterator[Verifying]:
    """A guard with a good token of a user apart."""
    async with clients(service.url, journal) as people:
        await people.register("apart")
        token = (await people.log_in("apart")).answer["access_token"]
    async with verifying(service.url, token) as offline:
        yield offline


async def _health_later(service: Service) -> list[tuple[int, ...]]:
    """What health says, once requests have failed."""
    await asyncio.sleep(3)
    return await _health(service)


async def _health(service: Service) -> list[tuple[int, ...]]:
    """What `/livez` and `/readyz` say on ten connections, so that each worker process is likely to be asked."""
    async with httpx2.AsyncClient(base_url=service.url, timeout=30, headers={"Connection": "close"}) as http:
        asked = [(await http.get("/livez"), await http.get("/readyz")) for _ in range(10)]
    return [(alive.status_code, ready.status_code) for alive, ready in asked]


async def _recovered(journal: Journal, repair: Callable[..., None], *given: object) -> float:
    """Repair; wait for a second in which everything was done; seconds from the repair to the last request refused."""
    begun = time.monotonic()
    await asyncio.to_thread(repair, *given)

    def last_refused() -> float:
        return max(
            (entry.sent for entry in journal.entries if entry.sent > begun and entry.answered and entry.unknown),
            default=begun,
        )

    def quiet() -> bool:
        pending = [entry for entry in journal.entries if not entry.answered and entry.sent < time.monotonic() - 0.5]
        done = sum(entry.done for entry in journal.of(REFRESH, after=last_refused()))
        return not pending and time.monotonic() > last_refused() + 1 and done > 0

    await until(quiet)
    return last_refused() - begun


async def _nothing_lost(
    service: Service, journal: Journal, row: Row, traffic: Traffic, offline: Verifying, begun: float
) -> None:
    only_503(row, [entry for entry in journal.entries if entry.sent > begun])
    row.tried("turns without a free client", traffic.skipped)
    row.none("lost or half-written", Model(journal).differences(await asyncio.to_thread(service.stored)))
    row.none("forced to log in again", traffic.forced)
    async with clients(service.url, Journal()) as people:
        verified = [await people.verify(token) for token, _ in traffic.ended]
    row.tried("log-outs", len(traffic.ended))
    row.none("accepted after a log-out", [entry for entry in verified if entry.done])
    row.tried("verified offline", offline.verified)
    row.none("refused offline", offline.refused)
