"""One process at a time does a job; a dead one is succeeded; no wrong clock stops a job. On both engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.postgres import Databases
from tests.storage.conftest import NOW
from watchword.errors import StorageUnavailable
from watchword.storage.database import Database
from watchword.storage.leases import LIFE, Leases
from watchword.storage.migrate import migrate
from watchword.storage.postgres import Postgres
from watchword.storage.sqlite import SQLite

pytestmark = pytest.mark.anyio

PAUSE = 60  # between two turns


@pytest.fixture(params=["sqlite", "postgres"])
async def shared(
    request: pytest.FixtureRequest, path: Path, postgres: Callable[[int], Databases]
) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        database: Database = await SQLite.open(path)
        await migrate(database, now=NOW)
        yield database
        await database.close()
        return
    url = await postgres(18).make()
    database = await Postgres.open(url)
    await migrate(database, now=NOW)
    yield database
    await database.close()
    await postgres(18).drop(url)


async def test_one_of_many_takes_it(shared: Database) -> None:
    """However many ask at once, on however many connections."""
    processes = [Leases(shared) for _ in range(20)]
    taken = await asyncio.gather(*(each.take("sweep", NOW) for each in processes))
    assert sum(taken) == 1
    holder = processes[taken.index(True)]
    again = await asyncio.gather(*(each.take("sweep", NOW + PAUSE) for each in processes))
    assert again == taken, "who has it renews it"
    assert await holder.take("sweep", NOW + 3 * PAUSE), "the renewal counted"


async def test_jobs_are_apart(shared: Database) -> None:
    first, second = Leases(shared), Leases(shared)
    assert await first.take("sweep", NOW)
    assert await second.take("keys", NOW)
    assert not await second.take("sweep", NOW)


async def test_a_dead_process_is_succeeded(shared: Database) -> None:
    """Not a second before its lease has run out; then by one."""
    dead, *others = (Leases(shared) for _ in range(6))
    assert await dead.take("sweep", NOW)
    assert not any(await asyncio.gather(*(each.take("sweep", NOW + LIFE - 1) for each in others)))
    assert sum(await asyncio.gather(*(each.take("sweep", NOW + LIFE) for each in others))) == 1
    assert not await dead.take("sweep", NOW + LIFE + 1), "one that only stood still learns of it"


async def test_what_is_given_up_is_free(shared: Database) -> None:
    first, second = Leases(shared), Leases(shared)
    for job in ("sweep", "keys"):
        assert await first.take(job, NOW)
    await first.give_up("sweep")
    assert await second.take("sweep", NOW)
    await first.give_up("sweep")
    assert not await first.take("sweep", NOW), "no one gives up what another has"
    await first.release()
    assert await second.take("keys", NOW)


async def test_a_call_that_was_cancelled_may_have_taken_it(shared: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop gives it up all the same."""
    first, second = Leases(shared), Leases(shared)
    change = shared.change

    async def slow(sql: str, /, **values: str | int | None) -> object:
        row = await change(sql, **values)
        await asyncio.sleep(60)
        return row

    monkeypatch.setattr(shared, "change", slow)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first.take("sweep", NOW), 2)
    monkeypatch.setattr(shared, "change", change)
    assert not await second.take("sweep", NOW)
    await first.release()
    assert await second.take("sweep", NOW)


@pytest.mark.parametrize("off", [-(LIFE - PAUSE - 1), -1, 1, LIFE])
async def test_one_at_a_time_while_clocks_differ_little(shared: Database, off: int) -> None:
    """The holder's clock is off by as much as the module says, and it keeps its job for many turns."""
    holder, other = Leases(shared), Leases(shared)
    for turn in range(6):
        assert await holder.take("sweep", NOW + off + turn * PAUSE)
        assert not await other.take("sweep", NOW + turn * PAUSE + PAUSE - 1)


@pytest.mark.parametrize("off", [-86_400, -LIFE, 2 * LIFE, 86_400])
async def test_no_wrong_clock_stops_a_job(shared: Database, off: int) -> None:
    """Whichever clock is wrong, and by however much, the other process does the job after one turn at most."""
    wrong, right = Leases(shared), Leases(shared)
    assert await wrong.take("sweep", NOW + off)
    assert await right.take("sweep", NOW)
    for turn in range(1, 4):
        await wrong.take("sweep", NOW + off + turn * PAUSE)
        assert await right.take("sweep", NOW + turn * PAUSE)


async def test_without_its_database_nothing_is_held(shared: Database) -> None:
    """Who cannot ask has no lease; giving up, as the stop does, raises nothing."""
    leases = Leases(shared)
    assert await leases.take("sweep", NOW)
    await shared.close()
    with pytest.raises(StorageUnavailable):
        await leases.take("sweep", NOW)
    await leases.release()
