"""What an answer to a wrong password takes tells nothing about whom it was for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from time import perf_counter

import bcrypt
import pytest
from werkzeug.security import generate_password_hash

from watchword.errors import Unauthenticated
from watchword.features.passwords.service import Passwords
from watchword.identity.arrivals import Record, arrival_of
from watchword.identity.audit import Client
from watchword.identity.granting import unchecked
from watchword.identity.kernel import Kernel
from watchword.identity.moving_in import MovingIn
from watchword.opening import opened
from watchword.settings import Settings

SAMPLES = 2000
WITHIN = 0.03
BCRYPT_COST = 4  # an imported hash of the least cost: each failure pays for every kind, and cost 12 would take hours
RIGHT, WRONG = "plum-orbit-canvas", "velvet-anchor-ripple"
OFF = {f"{name}_limit": "off" for name in ("login", "login_address", "login_account", "register")}
# Kind → who is tried, and with what.
KINDS = {
    "known": ("known", WRONG),
    "disabled": ("disabled", RIGHT),
    "imported": ("imported", WRONG),
    "from Django": ("from_django", WRONG),
    "empty, known": ("known", ""),
    "empty, unknown": ("unknown", ""),
    "over-long, known": ("known", "x" * 2000),
    "over-long, unknown": ("unknown", "x" * 2000),
}


@asynccontextmanager
async def crowded(kernel: Kernel, *, busy: bool) -> AsyncIterator[None]:
    """Others who log in meanwhile, from networks of their own."""

    async def others(number: int) -> None:
        client = Client(f"203.0.{number}.1", "other", "r")
        while True:
            with suppress(Unauthenticated):
                await Passwords(kernel).log_in("other", WRONG, client=client, replacing=None)

    tasks = [asyncio.create_task(others(number)) for number in range(2 if busy else 0)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def took(kernel: Kernel, name: str, password: str) -> float:
    began = perf_counter()
    with pytest.raises(Unauthenticated):
        await Passwords(kernel).log_in(name, password, client=Client("192.0.2.1", "probe", "r"), replacing=None)
    return perf_counter() - began


def area(ours: list[float], theirs: list[float]) -> float:
    """How often one of ours took longer than one of theirs (AUC): a half, when nothing can be told."""
    ranked = sorted([(one, 1) for one in ours] + [(one, 0) for one in theirs])
    ranks = sum(rank for rank, (_, is_ours) in enumerate(ranked, 1) if is_ours)
    return (ranks - len(ours) * (len(ours) + 1) / 2) / (len(ours) * len(theirs))


async def prepare(kernel: Kernel) -> None:
    for name in ("known", "disabled", "other"):
        client = Client("192.0.2.9", "x", "r")
        await kernel.users.create(username=name, email=None, password=RIGHT, client=client, check=unchecked)
    await kernel.database.run("UPDATE ww_users SET disabled_at = 1 WHERE username = 'disabled'")
    records = [
        Record(username=name, password_hash=made)
        for name, made in (
            ("imported", bcrypt.hashpw(RIGHT.encode(), bcrypt.gensalt(BCRYPT_COST)).decode()),
            ("from_django", generate_password_hash(RIGHT, "pbkdf2:sha256:1000")),
            ("dearer", generate_password_hash(RIGHT, "pbkdf2:sha256:9000")),  # whose difference is worked off
        )
    ]
    run = MovingIn(kernel.database, kernel.clock, source="file")
    await run.begin()
    await run.take([arrival_of(each, now=kernel.clock.now(), keep_ids=False) for each in records])
    await kernel.users.learn_kinds()


@pytest.mark.lengthy
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "under load"])
@pytest.mark.timeout(3600)
async def test_the_time_of_a_refusal_tells_nothing(tmp_path: Path, *, busy: bool) -> None:
    """Each kind against one that does not exist, interleaved in an order of chance: AUC 0.5 ± 0.03."""
    random = Random(7)
    times: dict[str, list[float]] = {kind: [] for kind in ("unknown", *KINDS)}
    order = list(times)
    async with opened(Settings(data_dir=tmp_path, **OFF)) as kernel:  # type: ignore[arg-type]
        await prepare(kernel)
        async with crowded(kernel, busy=busy):
            for _ in range(SAMPLES):
                random.shuffle(order)
                for kind in order:
                    name, password = KINDS.get(kind, ("unknown", WRONG))
                    times[kind].append(await took(kernel, name, password))
    areas = {kind: round(area(times[kind], times["unknown"]), 3) for kind in KINDS}
    print(areas)
    assert all(abs(one - 0.5) <= WITHIN for one in areas.values()), areas
