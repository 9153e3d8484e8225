"""A file system that is really full: log-in is refused, log-out and disabling work, and room is all that it takes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reliability.conftest import Launch
from tests.reliability.journal import LOG_IN, Clients, Entry, Journal, clients
from tests.reliability.model import Model
from tests.reliability.rows import Row

pytestmark = pytest.mark.alone

_SIZE = 64 << 20
SESSIONS = 90


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder whose `data` is a file system of 64 MB."""
    place = tmp_path / "data"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.experiment(13, "another program takes the last byte of a file system of 64 MB")
@pytest.mark.timeout(600)
async def test_a_disk_that_is_full(small: Path, launch: Launch, journal: Journal, row: Row) -> None:
    """Rights are taken away all the same; all else is 503 or 507, and goes on without a restart when there is room."""
    service, other = launch(folder=small), small / "data" / "other"
    async with clients(service.url, journal) as people:
        for name in ("ada", "bob"):
            await people.register(name)
        held = [(await people.log_in("ada")).answer["access_token"] for _ in range(SESSIONS)]
        kept = (await people.log_in("bob")).answer
        full_at = time.monotonic()
        refused = await _filled(people, other)
        ended = [await people.log_out(token) for token in held[:-1]]
        checked = [await people.verify(token) for token in held[:-1]]
        disabled = await asyncio.to_thread(service.command, "users", "disable", "ada")
        await asyncio.sleep(1)
        last, good = await people.verify(held[-1]), await people.verify(kept["access_token"])
        refused.append(await people.log_in("bob"))
        other.unlink()
        free_at = time.monotonic()
        again = await people.sooner_or_later(people.log_in, "bob")
    during = [entry for entry in journal.of(LOG_IN, after=full_at) if entry.sent < free_at and not entry.done]
    row.tried("log-outs", len(ended))
    row.none("log-outs refused", [entry for entry in ended if entry.status != 204])
    row.none("tokens accepted after their log-out", [entry for entry in checked if entry.status != 401])
    row.exactly("exit code of disabling", disabled.returncode, 0)
    row.exactly("answer to the disabled user's token", last.status, 401)
    row.exactly("answer to a good token", good.status, 200)
    row.at_least("log-ins refused", len(refused), 2)
    row.none("refused otherwise than by 503 or 507", [entry for entry in during if entry.status not in (503, 507)])
    row.none("503 without Retry-After", [e for e in during if e.status == 503 and not e.retry_after])
    row.at_most("log-in again after room was made, s", again.answered - free_at, 5, time=True)
    row.none("different from the model, integrity_check ok", _differences(journal, service.stored()))


async def _filled(people: Clients, other: Path) -> list[Entry]:
    """Take every byte, and log in until that is refused; again, since the service then has none left of its own."""
    refused = []
    with other.open("wb", buffering=0) as file:
        for _ in range(2):
            with suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(4096))
            for _ in range(500):
                entry = await people.log_in("bob")
                if not entry.done:
                    refused.append(entry)
                    break
    return refused


def _differences(journal: Journal, stored: object) -> list[str]:
    """But for ada's last session, which the disabling ended, and surplus ones of bob."""
    found = Model(journal).differences(stored)  # type: ignore[arg-type]
    return [each for each in found if "should have ended: False" not in each]
