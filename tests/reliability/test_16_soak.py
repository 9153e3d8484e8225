"""Ten minutes of everything: memory and descriptors stay where they are."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.postgres import Databases
from tests.reliability.conftest import Launch
from tests.reliability.journal import Clients, Journal, clients
from tests.reliability.moved_clock import PAGE_CACHE
from tests.reliability.rows import Row
from tests.reliability.service import Service
from watchword.identity.issuing import FIRST_PARTY, AccessGrant
from watchword.opening import opened
from watchword.tokens.cache import DEFAULT_SIZE

SECONDS, EVERY = 600, 2.0
PEOPLE = 8
PAUSE = 0.1
"""Seconds between two requests of one of them."""
BATCH = 80
"""Tokens that are shown before the connections are made anew."""
MOST_KEPT = 20
"""Sessions that one of them holds at once."""


class Sample:
    """What a service's processes hold at one moment."""

    def __init__(self, service: Service) -> None:
        self.at = time.monotonic()
        pids = service.pids
        self.bytes = sum(int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * 4096 for pid in pids)
        self.descriptors = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


@pytest.mark.experiment(16, "10 min of mixed load", engines="SQLite × 1 and PostgreSQL 18", workers=2)
@pytest.mark.timeout(900)
@pytest.mark.soak
async def test_nothing_grows(launch: Launch, postgres: Callable[[int], Databases], row: Row) -> None:
    """After a fifth of the time, memory grows by at most 1 MB a minute, and the number of descriptors not at all.

    SQLite's page cache grows with the database up to its bound, for half an hour: here its bound is soon reached.
    """
    seconds = max(40.0, SECONDS * row.scale)
    lent = postgres(18).lent()
    url = await asyncio.to_thread(lent.__enter__)
    services = {"SQLite": launch(**{PAGE_CACHE: "1024"}), "PostgreSQL": launch(database_url=url, workers=2)}
    samples: dict[str, list[Sample]] = {name: [] for name in services}
    journals = {name: Journal() for name in services}
    async with AsyncExitStack() as stack:
        for name, service in services.items():
            await _filled(service, enough=DEFAULT_SIZE * 6 // 5 * (1 if name == "SQLite" else 3))
            await stack.enter_async_context(_used(service, journals[name]))
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            await asyncio.sleep(EVERY)
            for name, service in services.items():
                samples[name].append(Sample(service))
    for name, found in samples.items():
        warm = [sample for sample in found if sample.at > began + seconds / 5]
        descriptors = [sample.descriptors for sample in warm]
        half = len(descriptors) // 2
        asked = journals[name].entries
        row.tried(f"{name}: requests", len(asked))
        row.none(f"{name}: errors", [entry for entry in asked if not entry.done])
        row.tried(f"{name}: MB in the end", warm[-1].bytes / 1e6)
        row.at_most(f"{name}: MB a minute", slope(warm), 1)
        row.at_most(f"{name}: descriptors more", max(descriptors[half:]) - max(descriptors[:half]), 2)
    for service in services.values():
        await asyncio.to_thread(service.stop)
    await asyncio.to_thread(lent.__exit__, None, None, None)


def slope(samples: list[Sample]) -> float:
    """MB a minute, by least squares."""
    times = [sample.at / 60 for sample in samples]
    sizes = [sample.bytes / 1e6 for sample in samples]
    middle, mean = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((at - middle) ** 2 for at in times)
    return sum((at - middle) * (size - mean) for at, size in zip(times, sizes, strict=True)) / spread


async def _filled(service: Service, *, enough: int) -> None:
    """Show the service so many tokens, of which each process remembers some, and use every thread for hashes.

    By new connections for each batch: which process serves one is chance, and each has to see enough.
    """
    async with opened(service.settings) as kernel:
        now = kernel.clock.now()
        grants = (
            AccessGrant(
                f"u{n}", "s", FIRST_PARTY, "", (), 1, auth_time=now, amr=("pwd",), issued_at=now, not_after=2**33
            )
            for n in range(enough)
        )
        tokens = [kernel.issuer.access_token(grant) for grant in grants]
    for start in range(0, len(tokens), BATCH):
        async with clients(service.url, Journal(), at_once=PEOPLE) as people:
            answers = await asyncio.gather(*(people.verify(token) for token in tokens[start : start + BATCH]))
            assert all(answer.done for answer in answers), answers
    async with clients(service.url, Journal(), at_once=PEOPLE) as people:
        await people.register("warm")
        await asyncio.gather(*(people.log_in("warm") for _ in range(4 * PEOPLE)))


@asynccontextmanager
async def _used(service: Service, journal: Journal) -> AsyncIterator[None]:
    """People who register, log in, refresh, verify and log out meanwhile."""
    numbers = itertools.count()
    async with clients(service.url, journal, at_once=PEOPLE) as people:
        tasks = [asyncio.create_task(_someone(people, random.Random(n), numbers)) for n in range(PEOPLE)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            # Without those that were under way: cancelled, they have neither a status nor a fault.
            journal.entries = [entry for entry in journal.entries if entry.status or entry.fault]
            assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def _someone(people: Clients, chance: random.Random, numbers: itertools.count[int]) -> None:
    name, held = f"ada{next(numbers)}", list[tuple[str, str]]()
    await people.register(name)
    while True:
        await asyncio.sleep(chance.uniform(0, 2 * PAUSE))
        dice = chance.random()
        if dice < 0.02:
            name, held = f"ada{next(numbers)}", []
            await people.register(name)
        elif not held or (dice < 0.08 and len(held) < MOST_KEPT):
            answer = (await people.log_in(name)).answer
            held.append((answer["access_token"], answer["refresh_token"]))
        elif dice < 0.45:
            place = chance.randrange(len(held))
            answer = (await people.refresh(held[place][1])).answer
            held[place] = (answer["access_token"], answer["refresh_token"])
        elif dice < 0.5:
            await people.log_out(held.pop(chance.randrange(len(held)))[0])
        else:
            await people.verify(chance.choice(held)[0])
