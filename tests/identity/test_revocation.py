"""The feed: one number after the other, in the order of the commits, and followers that miss none."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TypeVar

import pytest

from tests.identity.scenes import (
    HOME,
    Opener,
    claims_of,
    entries,
    join,
    log_in,
    meddle,
    operator,
    proven,
    recorded,
    refresh,
    statements,
)
from watchword.clock import FixedClock
from watchword.errors import StorageUnavailable, TokenError, Unauthenticated
from watchword.identity import revocation
from watchword.identity.kernel import Kernel
from watchword.identity.revocation import Entry, Published, Revocations
from watchword.storage.database import Database, Row, Tx, Unit, Value

T = TypeVar("T")


async def publish(kernel: Kernel, *published: Entry, fail: bool = False) -> None:
    """A unit that does nothing but publish; or one that fails after its number was drawn, as a full disk would."""

    async def unit(tx: Tx) -> tuple[None, Published]:
        if fail:
            await revocation._publish(tx, published, alone=True)
            raise LookupError("the unit fails after it drew its number")
        return None, published

    await kernel.revocations.commit(unit)


@pytest.mark.sqlite
async def test_numbers_have_no_gap_and_follow_the_commits(open_kernel: Opener, clock: FixedClock) -> None:
    """⚑ Two processes publish at once and some units fail: at every moment a reader sees 1 … n and nothing else.

    Were a number drawn anywhere but in the transaction's last statement, a reader could see n + 1 before n.
    """
    async with open_kernel(workers=2) as one, open_kernel(workers=2) as other:
        watched = asyncio.Event()

        async def watch() -> int:
            reader = sqlite3.connect(one.settings.database_path)
            looks = 0
            with contextlib.closing(reader):
                while not watched.is_set():
                    seen = [row[0] for row in reader.execute("SELECT seq FROM ww_revocations ORDER BY seq")]
                    assert seen == list(range(1, len(seen) + 1))
                    looks += 1
                    await asyncio.sleep(0.001)
            return looks

        watching = asyncio.create_task(watch())

        async def work(kernel: Kernel, turn: int) -> None:
            with contextlib.suppress(LookupError):
                await publish(kernel, Entry("session", f"{turn}", None, 2**40), fail=turn % 5 == 0)
            await publish(kernel, Entry("session", f"{turn}a", None, 2**40), Entry("user", f"{turn}", 2, 2**40))

        for wave in range(0, 60, 6):
            await asyncio.gather(*(work(kernel, turn) for turn in range(wave, wave + 6) for kernel in (one, other)))
        watched.set()
        assert await watching > 2
        published = await entries(one)
        assert [entry["seq"] for entry in published] == list(range(1, 2 * (60 * 3 - 12) + 1))
        (feed,) = await recorded(one, "ww_feed")
        assert feed["head"] == len(published)


@pytest.mark.sqlite
async def test_nothing_to_publish_takes_no_lock(kernel: Kernel) -> None:
    """A unit that ends nothing does not touch the row that all units share."""
    with statements(kernel) as seen:
        await publish(kernel)
    assert seen.of_the_product == []


async def test_the_feed_is_founded_once(open_kernel: Opener) -> None:
    """Its id and its head survive a restart; another process founds no second one."""
    async with open_kernel() as kernel:
        await publish(kernel, Entry("session", "s", None, 2**40))
        before = await recorded(kernel, "ww_feed")
    async with open_kernel() as kernel:
        (after,) = await recorded(kernel, "ww_feed")
        assert (after["feed_id"], after["head"]) == (before[0]["feed_id"], 1)


async def test_e7_another_process_sees_a_revocation_at_its_next_poll(open_kernel: Opener) -> None:
    """Logged out here, refused there, without anything but the file between the two."""
    async with open_kernel() as here, open_kernel() as there:
        await join(here)
        tokens = (await log_in(here)).tokens
        claims = claims_of(there, tokens)
        await there.revocations.poll()
        await here.sessions.log_out(claims=claims, presented=None, client=HOME)
        await there.revocations.poll()
        with pytest.raises(TokenError) as caught:
            claims_of(there, tokens)
        assert caught.value.code == "token_revoked"


async def test_e7_a_follower_misses_none(open_kernel: Opener, clock: FixedClock) -> None:
    """Polling while others publish, in pages of three, it ends with every entry that there is."""
    async with open_kernel() as here, open_kernel() as there:
        await join(here)
        sessions = [claims_of(here, await log_in(here)) for _ in range(40)]
        done = asyncio.Event()

        async def poll() -> None:
            while not done.is_set():
                await there.revocations.poll()
                await asyncio.sleep(0)

        polling = asyncio.create_task(poll())
        for claims in sessions:
            await here.sessions.log_out(claims=claims, presented=None, client=HOME)
        done.set()
        await polling
        await there.revocations.poll()
        assert [there.revocations.refused.refuses(claims) for claims in sessions] == [True] * 40


async def test_a_follower_that_starts_late_reads_the_whole_list_in_pages(
    open_kernel: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is full is followed by another one."""
    monkeypatch.setattr(revocation, "_PAGE", 3)
    async with open_kernel() as kernel:
        await publish(kernel, *(Entry("session", f"s{number}", None, 2**40) for number in range(10)))
    async with open_kernel() as kernel:
        assert len(kernel.revocations.refused) == 10


class Failing:
    """The real database, whose `all` fails as often as it is told to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.one_writer = database.one_writer
        self.failures = 0

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("injected")
        return await self._database.all(sql, **values)

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        return await self._database.one(sql, **values)

    async def changed(self) -> bool:
        return await self._database.changed()

    async def transact(self, unit: Unit[T], *, ends: bool = False) -> T:
        return await self._database.transact(unit, ends=ends)


@pytest.mark.sqlite
async def test_a_commit_publishes_and_refuses_at_once(kernel: Kernel) -> None:
    """The last statements of the unit write the entries. What is committed is refused here without a read; readers
    that wait, and the next poll, are told to look."""
    told: list[str] = []
    failing = Failing(kernel.database)
    revocations = Revocations(
        failing,  # type: ignore[arg-type]
        kernel.clock,
        announce=lambda: told.append("readers"),
        hint=lambda: told.append("polls"),
    )
    await revocations.poll()
    told.clear()

    async def unit(tx: Tx) -> tuple[str, Published]:
        await tx.run("UPDATE ww_users SET updated_at = 1")
        return "done", [Entry("session", "gone", None, 2**40)]

    with statements(kernel) as seen:
        assert await revocations.commit(unit) == "done"
    (unit_seen,) = seen.units
    assert [statement.split(" SET ")[0].split(" (")[0] for statement in unit_seen] == [
        "UPDATE ww_users",
        "UPDATE ww_feed",
        "INSERT INTO ww_revocations",
    ]
    assert len(revocations.refused) == 1
    assert told == ["readers", "polls"]
    failing.failures = 1
    with pytest.raises(StorageUnavailable):
        await revocations.poll()
    assert await revocations.poll() is True
    assert await revocations.poll() is False


async def test_a_unit_that_raises_publishes_nothing(kernel: Kernel) -> None:
    """Neither the list nor this process's memory holds what was undone."""

    async def unit(tx: Tx) -> tuple[None, Published]:
        await tx.run("UPDATE ww_meta SET value = value")
        raise LookupError("found out inside the unit")

    before = await entries(kernel)
    with pytest.raises(LookupError):
        await kernel.revocations.commit(unit)
    assert await entries(kernel) == before
    assert len(kernel.revocations.refused) == 0


async def test_e7_a_poll_that_failed_is_made_up_for_by_the_next(open_kernel: Opener) -> None:
    """The database gives its hint once; if reading then fails, the entry is still read at the next turn."""
    async with open_kernel() as here, open_kernel() as there:
        failing = Failing(there.database)
        follower = Revocations(failing, there.clock, lambda: None)  # type: ignore[arg-type]
        await follower.poll()
        await publish(here, Entry("session", "gone", None, 2**40))
        failing.failures = 1
        with pytest.raises(StorageUnavailable):
            await follower.poll()
        await follower.poll()
        assert len(follower.refused) == 1


@pytest.mark.sqlite
async def test_a_quiet_poll_reads_no_table(kernel: Kernel) -> None:
    """Nobody has written since: only the file's version is asked for."""
    await kernel.revocations.poll()
    with statements(kernel) as seen:
        await kernel.revocations.poll()
    assert seen.of_the_product == []


@pytest.mark.sqlite
async def test_an_unknown_kind_is_not_swallowed(kernel: Kernel) -> None:
    """An entry that this version does not understand must not look as if nothing had been revoked."""
    meddle(
        kernel,
        "UPDATE ww_feed SET head = 1; INSERT INTO ww_revocations VALUES ('1', 1, 'planet', 'x', NULL, NULL)",
    )
    with pytest.raises(ValueError, match="planet"):
        await kernel.revocations.catch_up()


async def test_a_key_entry_never_ends(kernel: Kernel, clock: FixedClock) -> None:
    """⚑ What an emergency refused stays refused after every sweep, for tokens remembered before it, too."""
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    claims = claims_of(kernel, tokens)
    await publish(kernel, Entry("key", claims.kid, None, None))
    await kernel.revocations.catch_up()
    clock.advance(10)
    kernel.revocations.refused.sweep(2**60)
    with pytest.raises(TokenError) as caught:
        claims_of(kernel, tokens)
    assert caught.value.code == "token_revoked"


async def test_an_entry_outlives_its_tokens_by_an_hour_and_two_minutes(kernel: Kernel) -> None:
    """⚑ A guard whose clock is behind, or set back, still accepts the token when ours says that it has expired."""
    user = await join(kernel)
    claims = claims_of(kernel, await log_in(kernel))
    await kernel.sessions.log_out(claims=claims, presented=None, client=HOME)
    await operator(kernel).disable(user.id)
    assert [entry["expires_at"] - claims.exp for entry in await entries(kernel)] == [3720, 3720]


async def test_the_list_forgets_what_no_token_can_need(kernel: Kernel, clock: FixedClock) -> None:
    """The in-memory list shrinks when its entries are over."""
    await join(kernel)
    claims = claims_of(kernel, await log_in(kernel))
    await kernel.sessions.log_out(claims=claims, presented=None, client=HOME)
    clock.advance(3600 + 3720)
    kernel.revocations.sweep()
    assert len(kernel.revocations.refused) == 0


async def test_e7_log_out_against_refresh(kernel: Kernel, clock: FixedClock) -> None:
    """Whichever of the two comes first: after both, no token of the session is accepted."""
    await join(kernel)
    for _ in range(30):
        clock.advance(1)
        tokens = (await log_in(kernel, prove=proven)).tokens
        claims = claims_of(kernel, tokens)
        answers = await asyncio.gather(
            refresh(kernel, tokens.refresh_token),
            kernel.sessions.log_out(claims=claims, presented=None, client=HOME),
            refresh(kernel, tokens.refresh_token),
            return_exceptions=True,
        )
        for answer in answers:
            if answer is None or isinstance(answer, Unauthenticated):
                continue
            assert not isinstance(answer, BaseException), answer
            with pytest.raises(TokenError):
                claims_of(kernel, answer)


@pytest.mark.sqlite
@pytest.mark.parametrize("script", ["UPDATE ww_feed SET feed_id = 'other', head = 1", "UPDATE ww_feed SET head = 1"])
async def test_a_follower_begins_again_when_the_database_was_restored(open_kernel: Opener, script: str) -> None:
    """The list has another name, or is shorter than what was read: entries come with numbers that were passed."""
    async with open_kernel() as here, open_kernel() as there:
        await publish(here, *(Entry("session", f"s{number}", None, 2**40) for number in range(5)))
        await there.revocations.poll()
        told: list[int] = []
        there.revocations._announce = lambda: told.append(1)
        meddle(
            here,
            f"DELETE FROM ww_revocations; {script};"
            "INSERT INTO ww_revocations VALUES ('1', 1, 'session', 'after the restore', NULL, 1099511627776)",
        )
        await there.revocations.poll()
        assert len(there.revocations.refused) == 6, "the new one, and none of those before is forgotten"
        assert told, "those who wait for the feed hear of it at once"
        await there.revocations.catch_up()
        assert there.revocations._cursor == 1
