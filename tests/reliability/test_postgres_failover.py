"""Two servers, of which one takes writes: the other streams what it writes, and is promoted when it has gone."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.postgres import Databases, Server, running
from tests.reliability.test_postgres_faults import _recovered
from tests.storage.conftest import NOW
from tests.storage.test_postgres import PUT, names
from watchword.errors import StorageUnavailable
from watchword.storage import postgres_faults
from watchword.storage.migrate import migrate
from watchword.storage.postgres import DEADLINE, Postgres

pytestmark = pytest.mark.anyio
RECOVERED = 5.0  # seconds after the promotion, as the table of experiments has it
MARGIN = 5.0  # for a machine that others use too


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary, which waits for its standby before it acknowledges, and that standby."""
    with running(18, fsync="on", wal_level="replica") as primary, running(18, following=primary) as standby:
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.sql("SELECT pg_reload_conf()")
        yield primary, standby


@pytest.fixture
async def database(pair: tuple[Server, Server]) -> AsyncIterator[Postgres]:
    """Open and migrated. The URL names the standby first."""
    primary, standby = pair
    url = await Databases(primary).make()
    database = await Postgres.open(url.replace(f":{primary.port}", f":{standby.port},127.0.0.1:{primary.port}"))
    await migrate(database, now=NOW)
    yield database
    await database.close()


@pytest.mark.parametrize("how", ["killed", "still"])
async def test_a_standby_is_promoted(pair: tuple[Server, Server], database: Postgres, how: str) -> None:
    """Nothing acknowledged is lost, everyone is told within the deadline, and the new primary is found by itself."""
    primary, standby = pair
    stored: list[str] = []
    waits: list[float] = []
    stop = asyncio.Event()

    async def write(writer: int) -> None:
        count = 0
        while not stop.is_set():
            began = time.monotonic()
            try:
                await database.run(PUT, name=f"{writer}-{count}", value="1")
            except StorageUnavailable:
                await asyncio.sleep(0.05)
            else:
                stored.append(f"{writer}-{count}")
            waits.append(time.monotonic() - began)
            count += 1

    writers = [asyncio.create_task(write(each)) for each in range(12)]
    await asyncio.sleep(1)
    primary.send(signal.SIGQUIT) if how == "killed" else primary.send_all(signal.SIGSTOP)
    await asyncio.sleep(0.5)
    before = len(stored)
    assert before > 0
    standby.sql("SELECT pg_promote()")
    promoted = time.monotonic()
    while len(stored) < before + 50:
        assert time.monotonic() < promoted + RECOVERED + MARGIN, "the new primary is not used"
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*writers)
    assert max(waits) < DEADLINE + MARGIN
    assert set(stored) <= set(await names(database))


async def test_a_primary_that_answers_nothing_is_named_first(pair: tuple[Server, Server]) -> None:
    """Each host has a time of its own, so that the second is reached."""
    primary, standby = pair
    url = (await Databases(primary).make()).replace("/test", f",127.0.0.1:{standby.port}/test")
    primary.sql("ALTER SYSTEM RESET synchronous_standby_names")
    primary.send_all(signal.SIGSTOP)
    standby.sql("SELECT pg_promote()")
    database = await Postgres.open(url)
    await migrate(database, now=NOW)
    await database.run(PUT, name="a", value="1")
    await database.close()


async def test_the_primary_becomes_a_standby(pair: tuple[Server, Server], database: Postgres) -> None:
    """As after a planned switch: it answers, and takes no writes any more; its connections are not used again."""
    primary, standby = pair
    await database.run(PUT, name="before", value="1")
    primary.stop()
    standby.sql("SELECT pg_promote()")
    primary.place("standby.signal", b"")
    await asyncio.to_thread(primary.start)
    await _recovered(database)
    await database.run(PUT, name="after", value="1")
    assert await names(database) == ["after", "before"]


async def test_only_a_standby_is_named(pair: tuple[Server, Server]) -> None:
    """The hint says what else to name."""
    _, standby = pair
    with pytest.raises(StorageUnavailable) as refused:
        await Postgres.open(standby.url() + "?target_session_attrs=read-write")
    assert "only reads" in postgres_faults.advice(refused.value.__cause__)
