"""An older backup is restored: nothing that was issued before is accepted, neither by the service nor by a guard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.postgres import Databases
from tests.reliability.conftest import Launch, on
from tests.reliability.journal import Clients, Journal, clients
from tests.reliability.rows import Row
from tests.reliability.service import Service
from watchword.errors import WatchwordError
from watchword.guard import Guard

pytestmark = pytest.mark.alone

SESSIONS, REFUSED = 40, 401
HEARD = 5.0


@pytest.mark.experiment(
    15, "an older backup restored: log-outs, refreshes, log-ins and a rotated key since are forgotten"
)
@pytest.mark.timeout(600)
@on(("sqlite", 1), ("postgres", 1))
async def test_an_older_backup(
    launch: Launch, engine: str, postgres: Callable[[int], Databases], journal: Journal, row: Row, tmp_path: Path
) -> None:
    """The users of the backup log in again."""
    service = launch()
    guard = Guard(service.url)
    try:
        assert await asyncio.to_thread(guard.wait_until_ready, 30)
        async with clients(service.url, journal) as people:
            await _before(people, row)
            put_back = await asyncio.to_thread(_back_up, service, engine, postgres, tmp_path)
            await _since(people, service)
            service.stop()
            await asyncio.to_thread(put_back)
            await asyncio.to_thread(service.start)
            await _compare(people, guard, journal, row)
    finally:
        await asyncio.to_thread(guard.stop)


async def _before(people: Clients, row: Row) -> None:
    assert (await people.register("kept")).done
    for _ in range(row.times(SESSIONS, least=8)):
        assert (await people.log_in("kept")).done


async def _since(people: Clients, service: Service) -> None:
    """What the backup does not know."""
    held = list(people.journal.of("log_in"))
    for n, entry in enumerate(held):
        if n % 2:
            assert (await people.log_out(entry.answer["access_token"])).done
        else:
            assert (await people.refresh(entry.answer["refresh_token"])).done
    done = await asyncio.to_thread(service.command, "keys", "rotate", "--yes")
    assert done.returncode == 0, done.stderr
    assert (await people.register("forgotten")).done
    for name in ("kept", "forgotten"):
        assert (await people.log_in(name)).done


def _back_up(service: Service, engine: str, postgres: Callable[[int], Databases], folder: Path) -> Callable[[], None]:
    """As the guides say; what puts it back."""

    def command(*given: str) -> None:
        done = service.command(*given)
        assert done.returncode == 0, done.stderr

    if engine == "sqlite":
        file = folder / "backup.db"
        command("backup", str(file))
        return lambda: command("restore", str(file), "--yes")
    server = postgres(18).server
    dump, url = str(server.data / f"{time.monotonic_ns()}.dump"), service.database_url
    server._call("pg_dump", "--format=custom", "--file", dump, url)

    def put_back() -> None:
        server._call("pg_restore", "--clean", "--if-exists", "--dbname", url, dump)
        command("db", "restored", "--yes")

    return put_back


async def _compare(people: Clients, guard: Guard, journal: Journal, row: Row) -> None:
    answers = [entry.answer for entry in journal.entries if entry.done and "access_token" in entry.answer]
    access = {answer["access_token"] for answer in answers}
    fresh = await people.log_in("kept")
    row.exactly("log-ins of the backup's user", fresh.done, True)
    row.none("log-ins of a user who came later", [entry for entry in [await people.log_in("forgotten")] if entry.done])
    row.tried("access tokens", len(access))
    row.none("access tokens accepted by the service",
             [token for token in access if (await people.verify(token)).status != REFUSED])  # fmt: skip
    row.none("refresh tokens accepted",
             [one for one in answers if (await people.refresh(one["refresh_token"])).done])  # fmt: skip
    begun, accepted = time.monotonic(), list(access)
    while accepted and time.monotonic() < begun + 30:
        accepted = [token for token in accepted if await _accepts(guard, token)]
    row.at_most("accepted by the guard for, s", time.monotonic() - begun, HEARD, time=True)
    row.none("accepted by the guard after 30 s", accepted)
    row.exactly("the guard accepts a new token", await _accepts(guard, fresh.answer["access_token"]), True)


async def _accepts(guard: Guard, token: str) -> bool:
    try:
        await asyncio.to_thread(guard.verify, token)
    except WatchwordError:
        return False
    return True
