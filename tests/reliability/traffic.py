"""Steady traffic: so many requests a second, however long the answers take, from clients that behave well.

Each client holds one session. When an answer is lost it asks again with the same token at its next turn.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from tests.reliability.journal import Clients, Entry, Journal, clients
from tests.reliability.rows import Row

SESSIONS_OF_ONE = 25  # a user may have a hundred, and a log-in whose answer is lost leaves one behind
MIX = {"refresh": 0.76, "verify": 0.15, "log_out": 0.06, "register": 0.03}


@dataclass(eq=False)
class Held:
    """What one client holds; no token before it has logged in and after it has logged out.

    :ivar leaving: it asked to be logged out, and has no answer yet.
    """

    name: str
    refresh_token: str = ""
    access_token: str = ""
    leaving: bool = False

    def take(self, answer: Entry) -> None:
        """Keep what was answered."""
        self.refresh_token, self.access_token = answer.answer["refresh_token"], answer.answer["access_token"]


@dataclass
class Traffic:
    """Clients of one or more services. Use `flowing`."""

    services: Sequence[Clients]
    rate: float
    mix: dict[str, float]
    free: deque[Held] = field(default_factory=deque)
    ended: list[tuple[str, float]] = field(default_factory=list)
    """Access tokens whose sessions were ended, and when that was answered."""
    forced: list[Entry] = field(default_factory=list)
    """Refreshes that were refused, so that someone has to log in again."""
    skipped: int = 0
    """Turns at which every client was waiting for an answer."""
    asked: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(1)
        self._numbers = itertools.count()
        self._under_way: set[asyncio.Task[None]] = set()
        self._prefix = secrets.token_hex(3)

    async def prepare(self, sessions: int) -> None:
        """Log in so many clients."""
        for first in range(0, sessions, SESSIONS_OF_ONE):
            name = self._fresh_name()
            assert (await self.services[0].register(name)).done
            for _ in range(min(SESSIONS_OF_ONE, sessions - first)):
                held = Held(name)
                held.take(await self.services[0].log_in(name))
                self.free.append(held)

    async def flow(self) -> None:
        """Ask until cancelled."""
        begun = monotonic()
        for turn in itertools.count(1):
            self._take_turn()
            await asyncio.sleep(begun + turn / self.rate - monotonic())

    async def settle(self) -> None:
        """Wait for every answer."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    def _take_turn(self) -> None:
        if not self.free:
            self.skipped += 1
            return
        task = asyncio.create_task(self._one(self.free.popleft()))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _one(self, held: Held) -> None:
        service = self.services[self.asked % len(self.services)]
        self.asked += 1
        if not held.refresh_token:
            answer = await service.log_in(held.name)
            if answer.done:
                held.take(answer)
            self.free.append(held)
            return
        (what,) = ("log_out",) if held.leaving else self._random.choices(list(self.mix), self.mix.values())
        if await {
            "refresh": self._refresh, "verify": self._verify, "log_out": self._log_out, "register": self._register,
        }[what](service, held):  # fmt: skip
            self.free.append(held)

    async def _refresh(self, service: Clients, held: Held) -> bool:
        answer = await service.refresh(held.refresh_token)
        if answer.done:
            held.take(answer)
        elif not answer.unknown:
            self.forced.append(answer)
        return answer.done or answer.unknown

    async def _verify(self, service: Clients, held: Held) -> bool:
        await service.verify(held.access_token)
        return True

    async def _log_out(self, service: Clients, held: Held) -> bool:
        token, answer = held.access_token, await service.log_out(held.access_token)
        held.leaving = answer.unknown
        if not answer.unknown:
            held.refresh_token = ""
        if answer.done:
            self.ended.append((token, monotonic()))
        return True

    async def _register(self, service: Clients, _: Held) -> bool:
        await service.register(self._fresh_name())
        return True

    def _fresh_name(self) -> str:
        return f"person-{self._prefix}-{next(self._numbers)}"


@asynccontextmanager
async def flowing(
    urls: Iterable[str], journal: Journal, *, rate: float, sessions: int = 200, mix: dict[str, float] = MIX
) -> AsyncIterator[Traffic]:
    """Traffic for as long as the body runs; at its end every answer has come."""
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(clients(url, journal, at_once=sessions)) for url in urls]
        traffic = Traffic(people, rate, mix)
        await traffic.prepare(sessions)
        task = asyncio.create_task(traffic.flow())
        try:
            yield traffic
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await traffic.settle()
        assert task.cancelled(), task.exception()


def only_503(row: Row, entries: Iterable[Entry]) -> None:
    """Note that each was done or told to come again, at once or within three seconds."""
    found = list(entries)
    row.tried("asked", len(found))
    refused = [entry for entry in found if entry.status == 503 and entry.retry_after]
    row.tried("503", len(refused))
    row.none("answered otherwise than 2xx or 503 with Retry-After",
             [entry for entry in found if not entry.done and entry not in refused])  # fmt: skip
    row.at_most("slowest 503, s", max((entry.took for entry in refused), default=0.0), 3, time=True)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that so large a share is not above: the nearest rank."""
    found = sorted(values)
    return found[max(0, math.ceil(share * len(found)) - 1)]


async def until(true: Callable[[], bool], patience: float = 60.0) -> float:
    """Wait for it; how many seconds it took."""
    begun = monotonic()
    while not true():
        assert monotonic() < begun + patience
        await asyncio.sleep(0.01)
    return monotonic() - begun
