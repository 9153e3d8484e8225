"""Refreshes while all processes are killed: who tries again goes on, and what was rotated is worth nothing."""

from __future__ import annotations

import asyncio

import pytest

from tests.reliability.conftest import Launch, on
from tests.reliability.journal import REFRESH, Clients, Entry, Journal, clients
from tests.reliability.model import Model
from tests.reliability.rows import Row
from tests.reliability.service import Service

SESSIONS, KILLS, AT_ONCE = 64, 10, 32
BETWEEN = 1.0
"""Seconds between a start and the next kill."""
GRACE = 30


@pytest.mark.experiment(4, "kill -9 of all processes × 10 in a storm of refreshes, then each rotated token again")
@pytest.mark.timeout(900)
@on(("sqlite", 1), ("sqlite", 2), ("postgres", 2), quick=("sqlite", 1))
async def test_a_storm_of_refreshes_with_kills(launch: Launch, journal: Journal, row: Row) -> None:
    """The service's clock stands still meanwhile, so that a slow start uses up no grace."""
    service = launch()
    async with clients(service.url, journal, at_once=AT_ONCE) as people:
        held = await _opened(people, row.times(SESSIONS, least=8))
        service.clock.stop()
        kills = row.times(KILLS, least=2)
        await _storm(service, people, held, kills)
        storm = list(journal.of(REFRESH))
        model = Model(journal)
        differences = model.differences(await asyncio.to_thread(service.stored))
        row.tried("kills", kills)
        row.tried("refreshes", sum(entry.done for entry in storm))
        row.tried("unanswered", sum(entry.unknown for entry in storm))
        row.none("forced to log in within the grace", [e for e in storm if not e.done and not e.unknown])
        row.none("different from the model", differences)
        service.clock.advance(GRACE + 1)
        accepted = await _replayed(people, model.rotated)
    row.tried("rotated tokens sent again", len(model.rotated))
    row.none("rotated tokens accepted", accepted)


async def _opened(people: Clients, number: int) -> list[str]:
    """Sessions of one user; the refresh token of each."""
    await people.register("ada")
    return [(await people.log_in("ada")).answer["refresh_token"] for _ in range(number)]


async def _storm(service: Service, people: Clients, held: list[str], kills: int) -> None:
    """Let each session refresh without a pause, and kill the service so often."""
    over = asyncio.Event()

    async def go_on(token: str) -> None:
        while not over.is_set():
            entry = await people.sooner_or_later(people.refresh_cookie, token)
            token = entry.answer.get("refresh_token", token)

    running = [asyncio.create_task(go_on(token)) for token in held]
    for _ in range(kills):
        await asyncio.sleep(BETWEEN)
        await asyncio.to_thread(service.kill)
        await asyncio.to_thread(service.start)
    await asyncio.sleep(BETWEEN)
    over.set()
    await asyncio.gather(*running)


async def _replayed(people: Clients, rotated: dict[str, str]) -> list[Entry]:
    """Send each again, sixteen at a time; those that were accepted."""
    waiting, accepted = list(rotated), []
    while waiting:
        batch, waiting = waiting[:16], waiting[16:]
        answers = await asyncio.gather(*(people.refresh_cookie(token) for token in batch))
        accepted += [entry for entry in answers if entry.status != 401]
    return accepted
