"""Sweeping deletes what can no longer matter, all of it in the end, and never anything that still does (E-12)."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.identity.scenes import (
    DAY,
    HOME,
    HOUR,
    MINUTE,
    Opener,
    Recorded,
    claims_of,
    entries,
    everything,
    join,
    log_in,
    operator,
    recorded,
    refresh,
    session_row,
    statements,
)
from watchword.clock import FixedClock
from watchword.errors import TokenError, Unauthenticated
from watchword.identity import revocation, sweeping
from watchword.identity.kernel import Kernel
from watchword.identity.revocation import SKEW
from watchword.storage.database import Tx

_INSERT = """
INSERT INTO ww_sessions (id, handle_hash, user_id, client_id, scope, amr, auth_time, generation, created_at, rotated_at,
    idle_expires_at, expires_at, access_until, grace_elsewhere, ended_at, address, agent)
VALUES (:id, :id, :user, 'watchword', '', 'pwd', 0, 0, :created, :rotated, :idle, :expires, :until, 0,
    CAST(:ended AS BIGINT), '', '')
"""


def needed(row: Recorded, now: int) -> bool:
    """Whether anybody could still refresh the session, hold a token of it that is good, or need its times for an
    entry that must outlive such a token."""
    refreshable = row["ended_at"] is None and row["expires_at"] > now and row["idle_expires_at"] > now
    return refreshable or row["access_until"] + SKEW > now


@pytest.mark.parametrize("seed", range(3))
async def test_e12_nothing_that_matters_is_deleted_and_everything_dead_goes(
    kernel: Kernel, clock: FixedClock, seed: int
) -> None:
    """Random sessions and entries, random moments: what a sweep took, nobody needed; after the end nothing is left."""
    random = Random(seed)
    user = await join(kernel)
    start = clock.now()
    for number in range(120):
        created = start - random.randrange(0, 30 * DAY)
        rotated = created + random.randrange(0, start - created + 1)
        expires = created + random.choice([HOUR, DAY, 30 * DAY])
        await kernel.database.run(
            _INSERT,
            id=f"s{number}",
            user=user.id,
            created=created,
            rotated=rotated,
            expires=expires,
            idle=min(expires, rotated + random.choice([MINUTE, DAY, 7 * DAY])),
            until=rotated + random.choice([MINUTE, 15 * MINUTE, DAY]),
            ended=random.choice([None, rotated + random.randrange(0, DAY)]),
        )
        await kernel.database.run(
            "INSERT INTO ww_revocations VALUES (:id, :seq, 'session', :id, NULL, CAST(:until AS BIGINT))",
            seq=number + 1,
            id=f"s{number}",
            until=random.choice([None, start + random.randrange(-DAY, DAY)]),
        )
    eternal = sum(entry["expires_at"] is None for entry in await entries(kernel))
    while clock.now() < start + 40 * DAY:
        before = await recorded(kernel, "ww_sessions"), await entries(kernel)
        deleted = await sweeping.sweep(kernel.database, clock.now())
        after = await recorded(kernel, "ww_sessions"), await entries(kernel)
        gone = [row for row in before[0] if row not in after[0]]
        assert not any(needed(row, clock.now()) for row in gone)
        assert all(entry["expires_at"] <= clock.now() for entry in before[1] if entry not in after[1])
        assert all(row in before[0] for row in after[0])
        assert deleted == sum(len(old) - len(new) for old, new in zip(before, after, strict=True))
        clock.advance(random.choice([1, MINUTE, HOUR, DAY]))
    assert await recorded(kernel, "ww_sessions") == []
    # What a key emergency refused has no end, and no sweep touches it.
    assert [entry["expires_at"] for entry in await entries(kernel)] == [None] * eternal


async def test_e12_j15_an_entry_stays_to_its_last_second(kernel: Kernel, clock: FixedClock) -> None:
    """One second before its end it is there, on it it may go."""
    await kernel.database.run(
        "INSERT INTO ww_revocations VALUES ('1', 1, 'session', 's', NULL, :until)", until=clock.now() + 1
    )
    for left in (1, 0):
        await sweeping.sweep(kernel.database, clock.now())
        assert len(await entries(kernel)) == left
        clock.advance(1)


async def test_e12_a_sweep_never_shortens_an_entry(kernel: Kernel, clock: FixedClock) -> None:
    """A user is disabled just after a sweep: the entry still covers the longest token of an ended session."""
    user = await join(kernel)
    await log_in(kernel)
    held = claims_of(kernel, await log_in(kernel))
    await kernel.sessions.log_out(claims=held, presented=None, client=HOME)
    # An administrator had given tokens a day of life for a while, as the service noted when it started.
    until = clock.now() + DAY
    await revocation.note_access_life(kernel.database, DAY)
    await kernel.database.run("UPDATE ww_sessions SET access_until = :until WHERE id = :id", until=until, id=held.sid)
    clock.advance(DAY - 1)
    await sweeping.sweep(kernel.database, clock.now())
    await operator(kernel).disable(user.id)
    assert (await entries(kernel))[-1]["expires_at"] >= until + SKEW


@pytest.mark.parametrize(("age", "wrong"), [(15 * MINUTE - 5, 5 * MINUTE), (HOUR + 10 * MINUTE, -HOUR)])
async def test_what_was_revoked_stays_so_while_the_clock_is_wrong(
    open_kernel: Opener, clock: FixedClock, age: int, wrong: int
) -> None:
    """⚑ Five minutes ahead and put right again; an hour back, where a token that had expired is young once more."""
    async with open_kernel() as kernel:
        await join(kernel)
        held = await log_in(kernel)
        await kernel.sessions.log_out(claims=claims_of(kernel, held), presented=None, client=HOME)
        clock.advance(age)
        for jump in (wrong, -wrong) if wrong > 0 else (0, wrong):
            clock.advance(jump)
            await sweeping.sweep(kernel.database, clock.now())
            kernel.revocations.sweep()
        with pytest.raises(TokenError, match=r"revoked|ended"):
            claims_of(kernel, held)
    async with open_kernel() as again:
        with pytest.raises(TokenError, match=r"revoked|ended"):
            claims_of(again, held)


async def test_e12_a_live_session_survives_every_sweep(kernel: Kernel, clock: FixedClock) -> None:
    """Refreshed every six days, swept every day, to its last second."""
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    for day in range(29):
        clock.advance(DAY)
        await sweeping.sweep(kernel.database, clock.now())
        if day % 6 == 5:
            tokens = await refresh(kernel, tokens.refresh_token)
    clock.advance(DAY - 1)
    await sweeping.sweep(kernel.database, clock.now())
    await refresh(kernel, tokens.refresh_token)


async def test_a_reuse_is_recognised_a_day_after_the_end(kernel: Kernel, clock: FixedClock) -> None:
    """An ended session stays a day for its owner's questions; then its token means the same without the row."""
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    claims = claims_of(kernel, tokens)
    await kernel.sessions.log_out(claims=claims, presented=None, client=HOME)
    for later, there in ((0, True), (DAY + 15 * MINUTE - 1, True), (1, False)):
        clock.advance(later)
        await sweeping.sweep(kernel.database, clock.now())
        assert bool(await recorded(kernel, "ww_sessions")) is there
        with pytest.raises(Unauthenticated) as caught:
            await refresh(kernel, tokens.refresh_token)
        assert caught.value.code == "session_ended"


@pytest.mark.sqlite
async def test_a_sweep_goes_on_until_nothing_is_left(kernel: Kernel, clock: FixedClock) -> None:
    """⚑ In batches of five hundred, each a unit of its own, with others in between: it has no ceiling to outgrow."""
    user = await join(kernel)

    async def fill(tx: Tx) -> None:
        for number in range(1210):
            await tx.run(
                _INSERT, id=f"s{number:04}", user=user.id, created=0, rotated=0, idle=1, expires=1, until=1, ended=None
            )
            await tx.run(
                "INSERT INTO ww_revocations VALUES (:id, :seq, 'session', 's', NULL, 1)", id=str(number), seq=-number
            )

    await kernel.database.transact(fill)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await kernel.database.run("UPDATE ww_users SET username = username")
            turns += 1

    beside = asyncio.create_task(others())
    with statements(kernel) as seen:
        assert await sweeping.sweep(kernel.database, clock.now()) == 2420
    beside.cancel()
    for table in ("ww_sessions", "ww_revocations"):
        sizes = [sum(f"FROM {table}" in statement for statement in unit) for unit in seen.units]
        assert max(sizes) == sweeping.ROWS
        assert sum(sizes) == 1210
    assert turns > 3
    assert (await recorded(kernel, "ww_sessions"), await entries(kernel)) == ([], [])


@pytest.mark.sqlite
async def test_looking_for_dead_sessions_is_not_the_writers_work(kernel: Kernel, clock: FixedClock) -> None:
    """Going through all sessions happens in a scan; the writer, which runs on the event loop, only deletes by key."""
    await join(kernel)
    await log_in(kernel)
    with statements(kernel) as seen:
        await sweeping.sweep(kernel.database, clock.now())
    assert not any("ww_sessions" in statement for statement in seen.seen)


async def test_nothing_is_decided_by_the_sweep(kernel: Kernel, clock: FixedClock) -> None:
    """J15: what is over is over on its second, swept or not, and a sweep changes no row that stays."""
    await join(kernel)
    first = await log_in(kernel)
    row = await session_row(kernel, claims_of(kernel, first).sid)
    before = await everything(kernel)
    await sweeping.sweep(kernel.database, clock.now())
    assert await everything(kernel) == before
    clock.advance(row["idle_expires_at"] - clock.now())
    with pytest.raises(Unauthenticated):
        await refresh(kernel, first.tokens.refresh_token)
