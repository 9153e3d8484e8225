"""Nothing that was answered 2xx is ever lost, however often all processes are killed."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from tests.reliability.conftest import Launch, on
from tests.reliability.journal import REGISTER, Clients, Journal, clients
from tests.reliability.model import Model
from tests.reliability.moved_clock import CHEAP_HASHES
from tests.reliability.rows import Row
from tests.reliability.service import Service

pytestmark = pytest.mark.alone

KILLS, REGISTRATIONS, AT_ONCE = 20, 10_000, 4


@pytest.mark.experiment(3, "kill -9 of all processes at 20 random moments in 10,000 registrations")
@pytest.mark.timeout(900)
@on(("sqlite", 2), ("postgres", 2), quick=("sqlite", 2))
async def test_acknowledged_registrations_survive(launch: Launch, journal: Journal, row: Row) -> None:
    """None is missing, none is half-written, and the service is ready again within two seconds.

    Hashes are cheap, so that more kills fall into a registration's statements.
    """
    service = launch(**{CHEAP_HASHES: "1"})
    wanted, kills = row.times(REGISTRATIONS), row.times(KILLS, least=3)
    ready = await _register_while_killing(service, journal, wanted, kills)
    acknowledged = [entry for entry in journal.of(REGISTER) if entry.done]
    row.tried("kills", len(ready))
    row.at_least("acknowledged", len(acknowledged), wanted)
    row.tried("unanswered", sum(entry.unknown for entry in journal.of(REGISTER)))
    row.none("refused", [entry for entry in journal.of(REGISTER) if not entry.done and entry.status])
    row.none("missing or half-written", Model(journal).differences(await asyncio.to_thread(service.stored)))
    row.at_most("ready again after, s", max(ready), 2, time=True)


async def _register_while_killing(service: Service, journal: Journal, wanted: int, kills: int) -> list[float]:
    """Register so many, and kill the service so often, spread over them; how long each start took, in seconds."""
    ready, numbers = [], itertools.count()

    def acknowledged() -> int:
        return sum(entry.done for entry in journal.entries)

    async def register(people: Clients) -> None:
        while acknowledged() < wanted:
            entry = await people.register(f"person{next(numbers)}")
            if entry.unknown:
                await asyncio.sleep(0.1)

    async with clients(service.url, journal, at_once=AT_ONCE) as people:
        registering = [asyncio.create_task(register(people)) for _ in range(AT_ONCE)]
        for number in range(1, kills + 1):
            while acknowledged() < number * wanted // (kills + 1):  # noqa: ASYNC110 - each kill has its number
                await asyncio.sleep(0.005)
            await asyncio.sleep(random.random() / 50)  # anywhere within a registration
            await asyncio.to_thread(service.kill)
            await asyncio.to_thread(service.start)
            ready.append(service.ready_after)
        await asyncio.gather(*registering)
    return ready
