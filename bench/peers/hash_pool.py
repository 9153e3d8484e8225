"""Argon2id alone, saturated: nothing but the check of one password, over and over.

Reads a `Spec` as JSON on stdin, writes `{"rate", "cpu_us", "threads"}` on stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

from watchword.identity.hashing import ARGON2ID, Hasher

PASSWORD = "correct horse battery staple"
IN_FLIGHT = 4  # per thread of the service's pool, as in the measure of log-ins


@dataclass(frozen=True)
class Spec:
    """One run. `pool` is `bare`, threads that call the hash in a loop, or `service`, the service's own `Hasher`."""

    pool: str
    seconds: float
    warmup: float
    core: int


class Pool:
    """What is measured: how many checks each worker has finished, and whether to go on."""

    def __init__(self, workers: int) -> None:
        self.done = [0] * workers
        self.stopping = False

    def measure(self, spec: Spec) -> dict[str, float]:
        """Let the pool warm up, then count for so long."""
        time.sleep(spec.warmup)
        done, busy, started = sum(self.done), time.process_time(), time.perf_counter()
        time.sleep(spec.seconds)
        done, busy, elapsed = sum(self.done) - done, time.process_time() - busy, time.perf_counter() - started
        self.stopping = True
        return {"rate": done / elapsed, "cpu_us": 1e6 * busy / max(done, 1), "threads": _threads()}


def bare(spec: Spec) -> dict[str, float]:
    """Check in a loop, in as many threads as this process may use cores."""
    stored, pool = ARGON2ID.hash(PASSWORD), Pool(_threads())

    def work(place: int) -> None:
        while not pool.stopping:
            ARGON2ID.verify(stored, PASSWORD)
            pool.done[place] += 1

    workers = [threading.Thread(target=work, args=(place,)) for place in range(_threads())]
    for worker in workers:
        worker.start()
    measured = pool.measure(spec)
    for worker in workers:
        worker.join()
    return measured


async def service(spec: Spec) -> dict[str, float]:
    """Keep the service's pool busy from an event loop."""
    hasher, pool = Hasher("argon2id"), Pool(IN_FLIGHT * _threads())
    stored = await hasher.hash(PASSWORD, address=None)

    async def call(place: int) -> None:
        while not pool.stopping:
            await hasher.check(password=PASSWORD, password_hash=stored, address=None)
            pool.done[place] += 1

    callers = [asyncio.create_task(call(place)) for place in range(len(pool.done))]
    measured = await asyncio.to_thread(pool.measure, spec)
    await asyncio.gather(*callers)
    hasher.close()
    return measured


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def main() -> None:
    """Read the spec, saturate the pool, write the rate."""
    spec = Spec(**json.load(sys.stdin))
    if spec.core >= 0:
        os.sched_setaffinity(0, {spec.core})
    pools: dict[str, Callable[[], dict[str, float]]] = {
        "bare": lambda: bare(spec),
        "service": lambda: uvloop.run(service(spec)),
    }
    json.dump(pools[spec.pool](), sys.stdout)


if __name__ == "__main__":
    main()
