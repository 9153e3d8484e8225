"""The composition root: what the settings name arrives where it is used, and what goes on beside requests goes on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from jinja2 import Environment

from tests.e2e.client import PASSWORD
from tests.features.api import Api, served
from watchword import background, sandbox
from watchword.clock import FixedClock
from watchword.errors import StorageUnavailable
from watchword.identity.audit import LOCAL
from watchword.identity.kernel import Kernel
from watchword.mail.templates import SAMPLES, Templates
from watchword.opening import opened
from watchword.settings import Settings
from watchword.storage.leases import LIFE, Leases


@asynccontextmanager
async def running(folder: Path, **given: Any) -> AsyncIterator[Kernel]:
    """A kernel with what goes on beside requests."""
    settings = Settings(data_dir=folder, **given)
    async with opened(settings, clock=FixedClock()) as kernel, background.in_background(kernel):
        yield kernel


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so, ten seconds at most."""
    for _ in range(1000):
        if await done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


class Failing:
    """Stands in for a coroutine function: every second call fails."""

    def __init__(self, real: Callable[..., Any], error: Exception) -> None:
        self.real = real
        self.error = error
        self.calls = 0

    async def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls % 2:
            raise self.error
        return await self.real(*arguments)


ERRORS = [StorageUnavailable("gone"), sqlite3.OperationalError("out of memory"), ValueError("a kind that is unknown")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_M2_following_goes_on_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """⚑ One error that was no `StorageError` ended it for good, unseen: no log-out elsewhere was heard of again."""
    monkeypatch.setattr(background, "FOLLOW_SECONDS", 0.01)
    with structlog.testing.capture_logs() as lines:
        async with running(tmp_path, workers=2) as kernel:
            failing = Failing(kernel.database.changed, error)
            monkeypatch.setattr(kernel.database, "changed", failing)

            async def often() -> bool:
                return failing.calls > 20

            await until(often)
            assert kernel.revocations.silence < 5
    told = [line for line in lines if line["event"] == "following_failed"]
    assert [line["exc_info"] for line in told] == [error], "once a minute, with its traceback"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_M2_sweeping_goes_on_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What fails is tried again at the next turn, and holds up none of the other sweeps."""
    monkeypatch.setattr(background, "SWEEP_SECONDS", 0.01)
    failing = Failing(background.sweeping.sweep, error)
    monkeypatch.setattr(background.sweeping, "sweep", lambda *arguments, **_: failing(*arguments))
    async with running(tmp_path) as kernel:
        await kernel.ephemeral.count("a", lifetime=1, now=0)

        async def often() -> bool:
            return failing.calls > 5 and len(kernel.ephemeral) == 0  # type: ignore[arg-type]

        await until(often)


async def test_no_request_waits_while_templates_of_mails_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """⚑ All are translated at the start, in a thread; it took 98 ms of the event loop at the first mail."""
    translated: list[str] = []
    real = Environment.compile

    def noted(*given: Any, **named: Any) -> Any:
        translated.append("loop" if threading.current_thread() is threading.main_thread() else "thread")
        return real(*given, **named)

    monkeypatch.setattr(sandbox, "_COMPILED", {escapes: type(kept)() for escapes, kept in sandbox._COMPILED.items()})
    monkeypatch.setattr(Environment, "compile", noted)
    monkeypatch.setattr(background, "POST_SECONDS", 0.01)
    async with running(tmp_path) as kernel:
        await kernel.asks.ask("register", kernel.asks.address("ada@example.org"), client=LOCAL)

        async def sent() -> bool:
            return "mail (no WATCHWORD_SMTP_URL" in capsys.readouterr().err

        await until(sent)
    assert set(translated) == {"thread"}, translated
    assert len(translated) >= len(SAMPLES)


async def test_a_template_that_cannot_be_read_at_the_start_stops_no_other_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, and the turns begin all the same."""

    def fails(_: Templates) -> None:
        raise OSError("gone")

    monkeypatch.setattr(Templates, "check", fails)
    monkeypatch.setattr(background, "POST_SECONDS", 0.01)
    with structlog.testing.capture_logs() as lines:
        async with running(tmp_path) as kernel:
            await kernel.asks.ask("register", kernel.asks.address("ada@example.org"), client=LOCAL)

            async def sent() -> bool:
                return "mail (no WATCHWORD_SMTP_URL" in capsys.readouterr().err

            await until(sent)
    assert [line["event"] for line in lines if "failed" in line["event"]] == ["posting_failed"]


@pytest.mark.rare
async def test_everything_is_swept_within_a_minute_or_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, short-lived state and the list in memory; old audit records as the settings say. More than one batch."""
    assert background.SWEEP_SECONDS <= 60
    monkeypatch.setattr(background, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(background, "FOLLOW_SECONDS", 60)
    async with running(tmp_path, workers=2, audit_retention="1d") as kernel:
        for number in range(1, 4):
            await kernel.database.run(
                "INSERT INTO ww_revocations VALUES (:id, :seq, 'session', 's', NULL, 1)", id=str(number), seq=number
            )
        kernel.revocations.refused.add("session", "old", 0, 1)
        for number in range(1100):
            await kernel.ephemeral.count(str(number), lifetime=1, now=0)
        await kernel.database.run("UPDATE ww_audit SET at = 1")
        tables = ("ww_revocations", "ww_ephemeral", "ww_audit")

        async def swept() -> bool:
            rows = [await kernel.database.one(f"SELECT COUNT(*) AS n FROM {table}") for table in tables]
            return sum(row["n"] for row in rows if row is not None) + len(kernel.revocations.refused) == 0

        await until(swept)


async def test_one_process_sweeps_and_rotates_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others do it as soon as that one has stopped, and each sweeps its own memory."""
    monkeypatch.setattr(background, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(background, "ROTATE_SECONDS", 0.01)
    sweepers: list[object] = []
    real = background.sweeping.sweep

    async def noted(database: Any, now: int, **given: Any) -> int:
        sweepers.append(database)
        return await real(database, now, **given)

    monkeypatch.setattr(background.sweeping, "sweep", noted)
    async with running(tmp_path, workers=2) as second:
        async with running(tmp_path, workers=2) as first:
            for kernel in (first, second):
                kernel.revocations.refused.add("session", "old", 0, 1)

            async def swept() -> bool:
                return len(sweepers) > 5 and not len(first.revocations.refused) + len(second.revocations.refused)

            await until(swept)
            assert len(set(map(id, sweepers))) == 1
            jobs = await second.database.all("SELECT job FROM ww_leases ORDER BY job")
            assert [row["job"] for row in jobs] == ["keys", "sweep"]
        sweepers.clear()

        async def taken_over() -> bool:
            return second.database in sweepers

        await until(taken_over)
        assert first.database not in sweepers
    async with opened(second.settings, clock=FixedClock()) as kernel:
        assert await kernel.database.all("SELECT job FROM ww_leases") == [], "given up at the stop"


async def test_a_killed_process_is_succeeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gave nothing back: when its lease has run out, and no sooner, another process follows the schedule."""
    monkeypatch.setattr(background, "ROTATE_SECONDS", 0.01)
    async with opened(Settings(data_dir=tmp_path, workers=2), clock=FixedClock()) as killed:
        assert await killed.leases.take(background.KEYS, killed.clock.now())
    async with running(tmp_path, workers=2) as kernel:
        assert isinstance(kernel.clock, FixedClock)

        async def next_made() -> bool:
            return len(await kernel.keys.store.published()) == 2

        kernel.clock.advance(LIFE - 1)
        await asyncio.sleep(0.3)
        assert not await next_made()
        kernel.clock.advance(1)
        await until(next_made)


async def test_a_process_without_the_master_secret_leaves_the_keys_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ It follows no schedule, so with the lease it would stop the rotation for all."""
    monkeypatch.setattr(background, "ROTATE_SECONDS", 0.01)
    async with running(tmp_path, workers=2) as kernel:
        monkeypatch.setattr(type(kernel.keys), "usable", property(lambda _: False))
        other = Leases(kernel.database)

        async def free() -> bool:
            return await other.take(background.KEYS, kernel.clock.now())

        await until(free)


def test_one_worker_of_several_hashes_on_its_share_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ Four workers that each took all cores would hash four times as much at once, memory included."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    async def width(workers: int) -> int:
        async with opened(Settings(data_dir=tmp_path, workers=workers)) as kernel:
            return kernel.hasher._width

    assert [asyncio.run(width(workers)) for workers in (1, 4)] == [8, 2]


@pytest.mark.parametrize(("proxies", "expected"), [(0, "127.0.0.1"), (1, "203.0.113.7"), (2, "198.51.100.9")])
async def test_the_trusted_proxies_of_the_settings_decide_whose_address_counts(
    tmp_path: Path, proxies: int, expected: str
) -> None:
    """⚑ From the setting to what is stored of a session: were it lost, all the world would be one proxy."""
    async with served(tmp_path, trusted_proxies=proxies) as api:
        name = (await api.register())["username"]
        through = {"X-Forwarded-For": "192.0.2.66, 198.51.100.9, 203.0.113.7"}
        answer = await api.post("/login", json={"username": name, "password": PASSWORD}, headers=through)
        assert answer.status_code == 200
        sessions = await api.as_bearer("GET", "/sessions", answer.json()["access_token"])
        assert [session["address"] for session in sessions.json()["items"]] == [expected]


async def test_the_limit_follows_the_address_behind_the_proxy(tmp_path: Path) -> None:
    """Who is used up behind a proxy does not use up the others behind it."""
    async with served(tmp_path, trusted_proxies=1, login_address_limit="2/15m") as api:
        assert [await tried(api, "203.0.113.7") for _ in range(3)] == [401, 401, 429]
        assert await tried(api, "203.0.113.8") == 401


async def tried(api: Api, address: str) -> int:
    """Fail to log in from there."""
    body = {"username": "nobody", "password": PASSWORD}
    return (await api.post("/login", json=body, headers={"X-Forwarded-For": address})).status_code


async def test_every_heading_of_the_documentation_says_what_is_under_it(tmp_path: Path) -> None:
    """The document and each of its tags are described in a sentence or more."""
    async with served(tmp_path, docs="on") as api:
        document = (await api.get("/openapi.json")).json()
    used = {tag for methods in document["paths"].values() for one in methods.values() for tag in one["tags"]}
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert set(described) == used
    for text in (document["info"]["description"], *described.values()):
        assert text.endswith(".")
