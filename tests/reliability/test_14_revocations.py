"""From the end of a session to the refusal of its tokens in three applications; and what outages do to it.

On SQLite the applications follow one service of two processes; on PostgreSQL two services, which share a database.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import pytest

from tests.e2e.client import Client, bearer
from tests.e2e.server import free_port
from tests.identity.scenes import operator
from tests.reliability.applications import FRAMEWORKS, Guarded, three
from tests.reliability.conftest import Launch, on
from tests.reliability.model import claims_of
from tests.reliability.proxy import Proxy, in_a_thread
from tests.reliability.rows import Row
from tests.reliability.service import SECRET, Service
from watchword.identity.revocation import Entry, Published
from watchword.opening import opened
from watchword.settings import Settings
from watchword.storage.database import Tx
from watchword.storage.postgres import Postgres

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]
TIMES, CUT, BEHIND, HELD = 300, 60, 10_000, 24
APART = 0.1  # seconds between two ends, on average
STEP, EACH = 2.4, 3  # seconds by which each entry of a unit that is held open is late, and how many it has
End = tuple[str, Callable[[], object]]
"""An access token, and what ends its session."""


@pytest.fixture
def issuer() -> str:
    """The public URL of all services: no one asks there."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def services(engine: str, launch: Launch, workers: int, issuer: str) -> list[Service]:
    """One on SQLite, two on PostgreSQL."""
    settings = {"WATCHWORD_PUBLIC_URL": issuer, "WATCHWORD_REFRESH_GRACE": "1s"}
    each = workers if engine == "sqlite" else 1
    return [launch(workers=each, **settings) for _ in range(1 if engine == "sqlite" else workers)]


@pytest.fixture
def site(services: list[Service], issuer: str) -> Iterator[Site]:
    """Their clients."""
    with contextlib.ExitStack() as stack:
        yield Site(issuer, [stack.enter_context(service.client(inspected=False)) for service in services])


class Site:
    """Clients of the services, one of each."""

    def __init__(self, issuer: str, people: list[Client]) -> None:
        self.issuer = issuer
        self.people = people

    def sessions(self, number: int) -> list[dict[str, Any]]:
        """The tokens of so many sessions, fifty to a user, who may have a hundred."""
        granted: list[dict[str, Any]] = []
        while len(granted) < number:
            name = self.people[0].register()["username"]
            granted += [self.people[0].grant(name) for _ in range(min(50, number - len(granted)))]
        return granted

    def log_outs(self, number: int, *, first: int = 0) -> list[End]:
        """So many, at one service after the other, from the first on."""
        ends = []
        for n, granted in enumerate(self.sessions(number)):
            ends.append((granted["access_token"], _log_out(self.people[first:][n % len(self.people[first:])], granted)))
        return ends


def _log_out(client: Client, granted: dict[str, Any]) -> Callable[[], object]:
    def end() -> None:
        """Ask until it is done: the services may be without their database for a while."""
        while (status := client.post("/logout", headers=bearer(granted["access_token"])).status_code) == 503:
            time.sleep(0.05)
        assert status == 204, status

    return end


def _reuse(client: Client, form: dict[str, str]) -> Callable[[], object]:
    def end() -> None:
        assert client.post("/token", data=form).status_code == 400

    return end


class Beside:
    """A further process's view of the database, with an event loop of its own."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._opened = opened(settings)

    def __enter__(self) -> Self:
        self.kernel = self._loop.run_until_complete(self._opened.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._opened.__aexit__(None, None, None))
        self._loop.close()

    def disabling(self, user_id: str) -> Callable[[], object]:
        """As the command does."""
        return lambda: self._loop.run_until_complete(operator(self.kernel).disable(user_id))

    def publish(self, names: list[str]) -> None:
        """Entries as log-outs make them, in one unit."""
        self._loop.run_until_complete(self._unit(names))

    async def _unit(self, names: list[str]) -> None:
        until = int(time.time()) + 3_600

        async def unit(_: Tx) -> tuple[None, Published]:
            return None, [Entry("session", name, None, until) for name in names]

        await self.kernel.revocations.commit(unit)

    def connect(self, times: int) -> None:
        """Open so many connections, which are kept: on a slow line none can be opened."""

        async def all_of_them() -> None:
            await asyncio.gather(*[self.kernel.database.one("SELECT pg_sleep(0.5)") for _ in range(times)])

        self._loop.run_until_complete(all_of_them())

    def publish_each(self, units: list[list[str]], done: Callable[[list[str]], None]) -> None:
        """All at once, each in a unit of its own; tell of each when it is done."""

        async def one(names: list[str]) -> None:
            await self._unit(names)
            done(names)

        async def all_of_them() -> None:
            await asyncio.gather(*map(one, units))

        self._loop.run_until_complete(all_of_them())


def end_all(running: list[Guarded], ends: list[End]) -> None:
    """End one after the other at random moments, and let every application be asked."""
    for token, end in ends:
        end()
        at = time.monotonic()
        for one in running:
            one.ended(token, at)
        time.sleep(random.random() * 2 * APART)


def note(row: Row, running: list[Guarded], expected: int) -> None:
    """Wait for the refusals, and note them."""
    row.tried("sessions ended", expected)
    for one in running:
        delays = one.finish()
        row.exactly(f"{one.framework}: refused or missed", len(delays), expected)
        row.exactly(f"{one.framework}: missed", one.missed, 0)
        row.at_most(f"{one.framework}: p99, s", delays[len(delays) * 99 // 100 - 1], 1, time=True)


@contextlib.contextmanager
def asked(site: Site, urls: list[str]) -> Iterator[list[Guarded]]:
    """The applications, each with its thread, which begins to ask at once."""
    with three(site.issuer, urls, site.people[0].newcomer()) as running:
        for one in running:
            one.begin()
        yield running


@pytest.mark.experiment(14, "300 sessions ended: log-outs, reuse of a refresh token, users disabled by a command")
@on(("sqlite", 2), ("postgres", 2))
def test_ends(services: list[Service], site: Site, row: Row) -> None:
    """Each is refused in each application within a second."""
    number = row.times(TIMES, least=9) // 3
    with Beside(services[0].settings) as beside:
        ends = site.log_outs(number)
        for _ in range(number):
            user = site.people[0].register()
            ends.append((site.people[0].grant(user["username"])["access_token"], beside.disabling(user["id"])))
        for n, granted in enumerate(site.sessions(number)):
            stolen = form = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
            for _ in range(2):
                renewed = site.people[0].post("/token", data=form).json()
                form = form | {"refresh_token": renewed["refresh_token"]}
            ends.append((renewed["access_token"], _reuse(site.people[n % len(site.people)], stolen)))
        time.sleep(2.5)  # two generations and a grace later
        random.shuffle(ends)
        with asked(site, [service.url for service in services]) as running:
            end_all(running, ends)
            note(row, running, len(ends))


@pytest.mark.experiment(14, "the feed cut for 60 s, 10,000 entries behind")
@on(("sqlite", 2), ("postgres", 2))
def test_60_seconds_without_the_feed(services: list[Service], site: Site, row: Row) -> None:
    """Caught up within two seconds of its being back: 40 sessions ended meanwhile, spread over the 10,000."""
    with contextlib.ExitStack() as stack:
        beside = stack.enter_context(Beside(services[0].settings))
        wires = [stack.enter_context(in_a_thread(service.port)) for service in services]
        (good, _), *ends = site.log_outs(41)
        running = stack.enter_context(three(site.issuer, [f"http://127.0.0.1:{wire.port}" for wire in wires], good))
        for wire in wires:
            wire.refuse()
            wire.cut()
        cut_at = time.monotonic()
        for number, (_, end) in enumerate(ends):
            end()
            beside.publish([f"behind-{number}-{n}" for n in range(row.times(BEHIND) // 40 - 1)])
        time.sleep(max(0.0, cut_at + row.times(CUT) - time.monotonic()))
        connections = [stack.enter_context(one.connect()) for one in running]
        for one, connection in zip(running, connections, strict=True):
            assert all(one.accepts(connection, token) for token, _ in ends), "cut off, so it cannot know yet"
        for wire in wires:
            wire.mend()
        back_at, caught_up, missed = time.monotonic(), dict[str, float](), list[str]()
        while len(caught_up) < len(running) and time.monotonic() < back_at + 10:
            for one, connection in zip(running, connections, strict=True):
                # The last one first: when that is refused, all before it are.
                if one.framework not in caught_up and not one.accepts(connection, ends[-1][0]):
                    caught_up[one.framework] = time.monotonic() - back_at
                    missed += [token for token, _ in ends if one.accepts(connection, token)]
                    assert one.accepts(connection, good)
            time.sleep(0.01)
        row.tried("seconds", row.times(CUT))
        row.none("missed", missed)
        row.exactly("applications that caught up", len(caught_up), len(FRAMEWORKS))
        row.at_most("the slowest caught up after, s", max(caught_up.values()), 2, time=True)


@pytest.mark.experiment(14, "one of two services killed while sessions end")
@on(("postgres", 2))
def test_a_service_killed(services: list[Service], site: Site, row: Row) -> None:
    """Its followers are led to the other one, as by a load balancer, and no entry is missed on the way."""
    with in_a_thread(services[0].port) as front:
        ends = site.log_outs(row.times(TIMES, least=20), first=1)
        with asked(site, [f"http://127.0.0.1:{front.port}"]) as running:
            half = len(ends) // 2
            end_all(running, ends[:half])
            _switch(front, services)
            end_all(running, ends[half:])
            note(row, running, len(ends))


def _switch(front: Proxy, services: list[Service]) -> None:
    front.to = services[1].port
    services[0].kill()


@pytest.mark.experiment(14, "units of revocations held open for 5 s and more while others commit")
@on(("postgres", 2))
def test_commits_out_of_order(services: list[Service], site: Site, row: Row) -> None:
    """They began before those that are seen first, and are not missed for it."""
    held = row.times(HELD, least=3)
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(in_a_thread(_port_of(services[0].database_url)))
        slow = services[0].database_url.replace(f":{wire.to}/", f":{wire.port}/")
        settings = Settings(database_url=slow, public_url=site.issuer, secret=SECRET, data_dir=services[0].data)
        beside = stack.enter_context(Beside(settings))
        assert isinstance(beside.kernel.database, Postgres)
        beside.kernel.database._deadline = 120.0
        sids = {claims_of(granted["access_token"])["sid"]: granted["access_token"] for granted in site.sessions(held)}
        ends = site.log_outs(row.times(TIMES, least=20))
        running = stack.enter_context(asked(site, [service.url for service in services]))

        def done(names: list[str]) -> None:
            for one in running:
                for name in names:
                    one.ended(sids[name], time.monotonic())

        names = list(sids)
        units = [names[n : n + EACH] for n in range(0, len(names), EACH)]
        beside.connect(len(units))
        wire.asked.delay = STEP
        with ThreadPoolExecutor(1) as thread:
            holding: Future[None] = thread.submit(beside.publish_each, units, done)
            time.sleep(2 * STEP)  # the first of their entries is stored by now
            end_all(running, ends)
            begun = time.monotonic()
            holding.result(300)
        wire.mend()
        row.tried("units held open", len(units))
        row.tried("held longer than the others took, s", max(0.0, time.monotonic() - begun))
        note(row, running, len(ends) + len(sids))


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])
