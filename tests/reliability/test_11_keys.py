"""Signing keys change under load, and no one is refused for it; an emergency refuses at once, and logs no one out."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import pytest

from tests.e2e.server import free_port
from tests.reliability.conftest import Launch, on
from tests.reliability.journal import Clients, Journal, clients
from tests.reliability.rows import Row
from tests.reliability.service import Service
from watchword.errors import WatchwordError
from watchword.guard import Guard

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]
STARTS, ROTATIONS, APART = 5, 10, 2.0
GUARDS, RATE = 2, 250  # verifications a second of each guard
SESSIONS, REFUSED_WITHIN = 20, 2.0
REFUSED = 401


@pytest.mark.experiment(11, "eight processes start on an empty database, five times")
@on(("sqlite", 8), ("postgres", 8))
def test_starts(launch: Launch, engine: str, workers: int, row: Row, fresh_url: Callable[[], str]) -> None:
    """They agree on one key. On SQLite eight workers of one service, on PostgreSQL eight services."""
    active, fewest = list[int](), workers
    for _ in range(row.times(STARTS)):
        if engine == "sqlite":
            started = [launch()]
            fewest = min(fewest, len(started[0].pids) - 1)
        else:
            with ThreadPoolExecutor(workers) as threads:
                url = fresh_url()
                started = list(threads.map(lambda _: launch(workers=1, database_url=url), range(workers)))  # noqa: B023
        active.append(sum(key["status"] == "active" for key in _keys(started[0])))
        for service in started:
            service.stop()
    row.tried("starts", len(active))
    row.at_least("fewest processes", fewest, workers)
    row.none("numbers of active keys other than one", [number for number in active if number != 1])


@pytest.fixture
def fresh_url(engine: str, postgres: Callable) -> Iterator[Callable[[], str]]:  # type: ignore[type-arg]
    """Makes databases."""
    made: list[str] = []

    def make() -> str:
        made.append(asyncio.run(postgres(18).make()))
        return made[-1]

    yield make
    for url in made:
        asyncio.run(postgres(18).drop(url))


def _keys(service: Service) -> list[dict[str, str]]:
    done = service.command("keys", "list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)["items"]
    return found


class Tokens:
    """Access tokens as they are issued: each session's last, and the newest of all."""

    def __init__(self) -> None:
        self.last: dict[int, str] = {}
        self.newest: deque[str] = deque(maxlen=200)
        self.refresh: dict[int, str] = {}

    def take(self, session: int, answer: dict[str, str]) -> None:
        """Keep what a session was given."""
        self.last[session], self.refresh[session] = answer["access_token"], answer["refresh_token"]
        self.newest.append(answer["access_token"])


class Verifying(threading.Thread):
    """One guard that is asked about the newest tokens, so many times a second."""

    def __init__(self, guard: Guard, tokens: Tokens) -> None:
        super().__init__(daemon=True)
        self.guard = guard
        self.verified = 0
        self.errors: list[str] = []
        self._tokens = tokens
        self._over = threading.Event()

    def run(self) -> None:
        """Ask in an even rhythm: the newest token of all, or one of the last two hundred."""
        begun, random_ = time.monotonic(), random.Random(1)
        while not self._over.is_set():
            token = self._tokens.newest[-1 if self.verified % 2 else random_.randrange(len(self._tokens.newest))]
            try:
                self.guard.verify(token)
            except WatchwordError as error:
                self.errors.append(repr(error))
            self.verified += 1
            self._over.wait(begun + self.verified / RATE - time.monotonic())

    def end(self) -> None:
        """Ask no more."""
        self._over.set()
        self.join(30)


@pytest.mark.experiment(11, "10 key rotations in 60 s under 500 verifications/s; an emergency")
@on(("sqlite", 2), ("postgres", 2))
async def test_rotations(launch: Launch, engine: str, workers: int, journal: Journal, row: Row) -> None:
    """Two guards, and the service or services themselves, verify what was just signed."""
    issuer = f"http://127.0.0.1:{free_port()}"
    each = workers if engine == "sqlite" else 1
    services = [launch(workers=each, WATCHWORD_PUBLIC_URL=issuer) for _ in range(1 if engine == "sqlite" else workers)]
    tokens = Tokens()
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(clients(service.url, journal)) for service in services]
        await _log_in(people[0], tokens)
        guards = stack.enter_context(_guards(issuer, services))
        begun = time.monotonic()
        verifying = [Verifying(guard, tokens) for guard in guards]
        async with _refreshing(people, tokens) as refused:
            for one in verifying:
                one.start()
            for _ in range(row.times(ROTATIONS, least=2)):
                await asyncio.sleep(APART)
                done = await asyncio.to_thread(services[0].command, "keys", "rotate", "--yes")
                assert done.returncode == 0, done.stderr
            for one in verifying:
                await asyncio.to_thread(one.end)
        row.tried("rotations", row.times(ROTATIONS, least=2))
        row.at_most("seconds", time.monotonic() - begun, 60, time=True)
        row.tried("verified by guards", sum(one.verified for one in verifying))
        row.none("errors of guards", [error for one in verifying for error in one.errors])
        row.none("refused by a service", refused)
        row.exactly("active keys", sum(key["status"] == "active" for key in _keys(services[-1])), 1)
        await _emergency(services, people, guards, tokens, row)


async def _emergency(
    services: list[Service], people: list[Clients], guards: list[Guard], tokens: Tokens, row: Row
) -> None:
    done = await asyncio.to_thread(services[0].command, "keys", "revoke", "--all", "--yes")
    assert done.returncode == 0, done.stderr
    begun, accepted = time.monotonic(), list(tokens.last.values())
    while accepted and time.monotonic() < begun + 30:
        accepted = [token for token in accepted if await _accepted(token, people, guards)]
    row.at_most("an old token was accepted for, s", time.monotonic() - begun, REFUSED_WITHIN, time=True)
    row.none("old tokens accepted after 30 s", accepted)
    old = list(tokens.last.values())
    renewed = [await people[n % len(people)].refresh(token) for n, token in tokens.refresh.items()]
    row.none("forced to log in again", [entry for entry in renewed if not entry.done])
    fresh = [entry.answer["access_token"] for entry in renewed if entry.done]
    begun, refused = time.monotonic(), fresh
    while refused and time.monotonic() < begun + 30:
        refused = [token for token in refused if not await _accepted(token, people, guards, by=all)]
    row.at_most("a new token was refused for, s", time.monotonic() - begun, REFUSED_WITHIN, time=True)
    row.none("new tokens refused after 30 s", refused)
    row.none("old tokens accepted later", [token for token in old if await _accepted(token, people, guards)])
    row.exactly("active keys afterwards", sum(key["status"] == "active" for key in _keys(services[-1])), 1)


async def _accepted(
    token: str, people: list[Clients], guards: list[Guard], *, by: Callable[[list[bool]], bool] = any
) -> bool:
    """Whether anyone of all, or everyone, accepts it."""
    found = [(await one.verify(token)).status != REFUSED for one in people]
    for guard in guards:
        try:
            await asyncio.to_thread(guard.verify, token)
        except WatchwordError:
            found.append(False)
        else:
            found.append(True)
    return by(found)


async def _log_in(people: Clients, tokens: Tokens) -> None:
    assert (await people.register("signed")).done
    for n in range(SESSIONS):
        tokens.take(n, (await people.log_in("signed")).answer)


@contextmanager
def _guards(issuer: str, services: list[Service]) -> Iterator[list[Guard]]:
    guards = [Guard(issuer, url=services[n % len(services)].url) for n in range(GUARDS)]
    try:
        for guard in guards:
            assert guard.wait_until_ready(30)
        yield guards
    finally:
        for guard in guards:
            guard.stop()


@asynccontextmanager
async def _refreshing(people: list[Clients], tokens: Tokens) -> AsyncIterator[list[str]]:
    """Refresh each session in turn, twenty a second; what one service signed, another one verifies at once."""
    refused: list[str] = []

    async def go_on() -> None:
        n = 0
        while True:
            here, there = people[n % len(people)], people[(n + 1) % len(people)]
            answer = await here.refresh(tokens.refresh[n % SESSIONS])
            if answer.done:
                tokens.take(n % SESSIONS, answer.answer)
                answer = await there.verify(answer.answer["access_token"])
            if not answer.done:
                refused.append(f"{answer.what}: {answer.status} {answer.answer}")
            n += 1
            await asyncio.sleep(1 / SESSIONS)

    task = asyncio.create_task(go_on())
    yield refused
    assert not task.done(), task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
