"""Whatever becomes of Valkey, hardly anyone notices: the database counts, and the poll hears what hints would tell."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.e2e.server import UNLIMITED, free_port
from tests.observing.reading import samples, scrape
from tests.reliability.conftest import Launch, on
from tests.reliability.journal import Clients, Entry, Journal, clients
from tests.reliability.proxy import Proxy, in_a_thread
from tests.reliability.rows import Row
from tests.reliability.traffic import Traffic, flowing, percentile, until
from tests.storage.valkey_server import Server as Valkey
from tests.storage.valkey_server import url
from watchword.meters import LOOP_LAG

pytestmark = pytest.mark.alone

RATE, PHASE = 100, 12  # requests a second, seconds
HEARD = 2.0
REFUSED = 401
MIX = {"refresh": 0.75, "verify": 0.17, "log_out": 0.06, "register": 0.02}
LIMITED = dict.fromkeys(UNLIMITED, "1000000/1h")
"""Everything is counted, and no one is refused."""
Lags = Counter[float]
"""How often an event loop was no later than so many seconds, as the services themselves count it."""
Harm = Callable[[Valkey, Proxy], object]
HARMS: dict[str, tuple[Harm, Harm]] = {
    "stopped": (lambda valkey, _: valkey.shut_down(), lambda valkey, _: valkey.start()),
    "killed": (lambda valkey, _: valkey.stop(), lambda valkey, _: valkey.start()),
    "restarted empty": (lambda valkey, _: (valkey.stop(), valkey.start()), lambda *_: None),
    "500 ms slow": (lambda _, proxy: proxy.delay(0.5), lambda _, proxy: proxy.mend()),
    "a black hole": (lambda _, proxy: proxy.swallow(), lambda _, proxy: proxy.mend()),
    "1 % resets": (lambda _, proxy: proxy.reset(0.01), lambda _, proxy: proxy.mend()),
}


@dataclass
class Watch:
    """What was looked at beside the traffic."""

    accepted: list[str] = field(default_factory=list)
    """Services that took a token two seconds after its session had ended."""
    looked: int = 0


@pytest.mark.experiment(6, "Valkey stopped, killed, restarted empty, slow, silent, resetting, under 100 requests/s")
@pytest.mark.timeout(900)
@on(("valkey", 2))
async def test_valkey(launch: Launch, own_valkey: Valkey, journal: Journal, row: Row) -> None:
    """Two services of one process each share a Valkey behind a proxy."""
    with in_a_thread(own_valkey.port) as proxy:
        issuer = f"http://127.0.0.1:{free_port()}"
        settings = {**LIMITED, "WATCHWORD_PUBLIC_URL": issuer, "WATCHWORD_REDIS_URL": url(proxy.port)}
        ports = [free_port(), free_port()]
        urls = [launch(workers=1, WATCHWORD_METRICS_PORT=str(port), **settings).url for port in ports]
        seconds = max(PHASE * row.scale, 3)
        phases: dict[str, tuple[float, float]] = {}
        lags = Lags()
        async with flowing(urls, journal, rate=RATE, mix=MIX) as traffic, _watching(urls, traffic) as watch:
            await asyncio.sleep(2)  # the first requests open connections
            for name, (harm, repair) in HARMS.items():
                phases[f"before {name}"] = await _phase(seconds)
                before, begun = await _lags(ports), time.monotonic()
                await asyncio.to_thread(harm, own_valkey, proxy)
                await asyncio.sleep(seconds)
                phases[name] = begun, time.monotonic()
                lags += await _lags(ports) - before
                await asyncio.to_thread(repair, own_valkey, proxy)
                await asyncio.sleep(1)
            await asyncio.sleep(HEARD + 1)
        _note(row, journal, watch, traffic, phases)
        row.tried("loop lags measured under a fault", lags[math.inf])
        late = min(bound for bound, count in lags.items() if count >= 0.99 * lags[math.inf])
        row.at_most("p99 of them at most, ms", 1000 * late, 50, time=True)


async def _lags(ports: list[int]) -> Lags:
    found = Lags()
    for port in ports:
        for (name, labels), count in samples(await asyncio.to_thread(scrape, port)).items():
            if name == f"{LOOP_LAG.name}_bucket":
                found[float(dict(labels)["le"])] += int(count)
    return found


async def _phase(seconds: float) -> tuple[float, float]:
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    return begun, time.monotonic()


def _note(row: Row, journal: Journal, watch: Watch, traffic: Traffic, phases: dict[str, tuple[float, float]]) -> None:
    def of(name: str) -> list[Entry]:
        begun, ended = phases[name]
        return [entry for entry in journal.entries if begun <= entry.sent < ended]

    def slow(name: str) -> float:
        return 1000 * percentile((entry.took for entry in of(name)), 0.99)

    harmed = [entry for name in HARMS for entry in of(name)]
    row.tried("asked", len(harmed))
    row.at_least("done, %", 100 * sum(entry.done for entry in harmed) / len(harmed), 99.9)
    well = max(slow(name) for name in phases if name not in HARMS)
    row.tried("p99 in the worst phase before a fault, ms", well)
    row.at_most("p99 in the worst phase of a fault more by, ms", max(map(slow, HARMS)) - well, 60, time=True)
    row.tried("looked at after a log-out", watch.looked)
    row.none("accepted 2 s after a log-out", watch.accepted)
    row.none("forced to log in again", traffic.forced)
    row.tried("turns without a free client", traffic.skipped)


@asynccontextmanager
async def _watching(urls: list[str], traffic: Traffic) -> AsyncIterator[Watch]:
    watch = Watch()
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(clients(url, Journal(), at_once=64)) for url in urls]
        looking = asyncio.create_task(_look(traffic, people, watch))
        yield watch
        assert not looking.done(), looking
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _look(traffic: Traffic, people: list[Clients], watch: Watch) -> None:
    """Ask every service for each token whose session ended two seconds ago."""
    while True:
        await until(lambda: watch.looked < len(traffic.ended), patience=float("inf"))
        token, at = traffic.ended[watch.looked]
        watch.looked += 1
        await asyncio.sleep(at + HEARD - time.monotonic())
        watch.accepted += [token for one in people if (await one.verify(token)).status != REFUSED]
