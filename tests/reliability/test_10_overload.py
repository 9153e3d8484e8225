"""A storm of log-ins, far more than can be hashed, leaves the rest of the service as it was."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import time
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.client import PASSWORD
from tests.reliability.conftest import Launch, on
from tests.reliability.journal import Clients, Journal, clients
from tests.reliability.rows import Row
from tests.reliability.service import Service
from tests.reliability.traffic import percentile

pytestmark = pytest.mark.alone

OFFERED, SECONDS = 500, 60  # log-ins a second
USERS, SESSIONS, RATE = 20, 40, 20  # honest requests of each kind a second
ALLOWED = {200, 429, 503}
PATIENCE = 60.0
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Storm:
    """Offers log-ins at a fixed rate, however long the answers take, with the right passwords and from many networks.

    It is written on bare sockets: a client library would need more of the machine than the service.
    """

    def __init__(self, port: int, names: list[str]) -> None:
        self.statuses: Counter[int] = Counter()
        self.unanswered: list[str] = []
        self._port = port
        self._requests = [_log_in(name, port) for name in names]
        self._idle: deque[Connection] = deque()
        self._networks = itertools.cycle([f"127.{n}.{n}.1" for n in range(1, 60)])

    async def rage(self, seconds: float) -> None:
        """Offer log-ins for so long, and wait for the answers."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as asked:
            for n in itertools.count(1):
                if n > OFFERED * seconds:
                    break
                asked.create_task(self._one(self._requests[n % len(self._requests)]))
                await asyncio.sleep(max(0.0, begun + n / OFFERED - time.monotonic()))
        self.took = time.monotonic() - begun
        for _, writer in self._idle:
            writer.close()

    async def _one(self, request: bytes) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                connection = self._idle.pop() if self._idle else await self._connected()
                reader, writer = connection
                writer.write(request)
                status, closes = await _answer(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.unanswered.append(repr(error))
            return
        self.statuses[status] += 1
        if closes:
            writer.close()
        else:
            self._idle.append(connection)

    async def _connected(self) -> Connection:
        here = (next(self._networks), 0)
        return await asyncio.open_connection("127.0.0.1", self._port, local_addr=here)


class Felt(NamedTuple):
    """What a storm was answered."""

    statuses: Counter[int]
    unanswered: list[str]
    took: float


def _rage(port: int, names: list[str], seconds: float) -> Felt:
    """Run a storm, in a process of its own: it must not delay what is measured beside it."""

    async def storm() -> Felt:
        one = Storm(port, names)
        await one.rage(seconds)
        return Felt(one.statuses, one.unanswered, one.took)

    return asyncio.run(storm())


def _log_in(name: str, port: int) -> bytes:
    body = f"grant_type=password&username={name}&password={PASSWORD}".encode()
    head = (
        f"POST /token HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status, and whether the server closes the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    (length,) = (line.partition(b":")[2] for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length))
    return int(head.split(b" ", 2)[1]), b"\r\nconnection: close" in head


@pytest.mark.experiment(10, "500 log-ins/s offered for 60 s")
@pytest.mark.timeout(600)
@on(("sqlite", 1), ("postgres", 1))
async def test_overload(launch: Launch, journal: Journal, row: Row) -> None:
    """Refreshes and the key set are answered as ever, memory is bounded, and who is too much is told so."""
    service = launch()
    async with clients(service.url, journal) as people:
        names = [f"stormed{n}" for n in range(USERS)]
        for name in names:
            assert (await people.register(name)).done
        assert (await people.register("honest")).done
        held = [(await people.log_in("honest")).answer["refresh_token"] for _ in range(SESSIONS)]
        begun = time.monotonic()
        tasks = [asyncio.create_task(_refresh(people, held)), asyncio.create_task(_key_set(service, journal))]
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
            raging = apart.submit(_rage, service.port, names, max(SECONDS * row.scale, 5))
            storm = await asyncio.wrap_future(raging)
        assert not any(task.done() for task in tasks), tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    row.tried("log-ins offered", sum(storm.statuses.values()) + len(storm.unanswered))
    row.tried("seconds", storm.took)
    row.tried("done", storm.statuses[200])
    row.none("answered otherwise than 200, 429 or 503", [each for each in storm.statuses if each not in ALLOWED])
    row.none("not answered", storm.unanswered)
    for what, bound in (("refresh", 300), ("key_set", 50)):
        found = [entry for entry in journal.of(what, after=begun) if entry.status or entry.fault]
        row.tried(f"{what}: asked", len(found))
        row.tried(f"{what}: 503", sum(entry.status == 503 for entry in found))
        row.none(f"{what}: answered otherwise", [entry for entry in found if entry.status not in ALLOWED])
        row.at_most(f"{what}: p99, ms", 1000 * percentile((entry.took for entry in found), 0.99), bound, time=True)
    row.at_most("most memory, MB", _most_memory(service), 300)


async def _refresh(people: Clients, held: list[str]) -> None:
    for n in itertools.count():
        answer = await people.refresh(held[n % SESSIONS])
        held[n % SESSIONS] = answer.answer.get("refresh_token", held[n % SESSIONS])
        await asyncio.sleep(1 / RATE)


async def _key_set(service: Service, journal: Journal) -> None:
    async with clients(service.url, journal) as people:
        while True:
            await people._ask(journal.begin("key_set"), "GET", "/.well-known/jwks.json")
            await asyncio.sleep(1 / RATE)


def _most_memory(service: Service) -> float:
    """The most that all its processes together have had resident, in MB."""
    found = 0
    for pid in service.pids:
        with suppress(FileNotFoundError):
            (line,) = (one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
            found += int(line.split()[1])
    return found / 1024
