"""A user's own past holds up nobody (B5): what is done for one user visits as many rows as for a new one.

SQLite's own steps are counted, never time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.identity.scenes import (
    DAY,
    HOME,
    change_password,
    claims_of,
    give_roles,
    join,
    log_in,
    meddle,
    operator,
    proven,
    refresh,
    reset_password,
)
from watchword.clock import FixedClock
from watchword.identity import revocation, sweeping
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.users import User
from watchword.storage.database import Tx
from watchword.storage.migrate import bundled, migrate
from watchword.storage.sqlite import SQLite

PAST = 50_000
A_THOUSAND = 1_000
FEW = 40
"""Thousands of SQLite's steps: one user's hundred sessions take less; reading the past would take hundreds."""

_MANY = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
INSERT INTO ww_sessions SELECT '0' || i, 'h' || i, '{user}', 'watchword', '', 'pwd', {at}, 0, {at}, {at}, NULL, {at},
    {at} + 60, {at}, 0, {ended}, 'logged_out', '', '', NULL, '', 0 FROM n
"""


@contextmanager
def counted(kernel: Kernel) -> Iterator[list[int]]:
    """Thousands of steps that both connections took."""
    steps = [0]

    def tick() -> int:
        steps[0] += 1
        return 0

    connections = (kernel.database._writer._connection, kernel.database._reader)  # type: ignore[attr-defined]
    for connection in connections:
        connection.set_progress_handler(tick, A_THOUSAND)
    try:
        yield steps
    finally:
        for connection in connections:
            connection.set_progress_handler(None, 0)


Do = Callable[[Kernel, User, LoggedIn], Awaitable[object]]


async def _new_address(kernel: Kernel, user: User, held: LoggedIn) -> None:
    async def guard(_: Tx) -> None:
        return None

    await kernel.users.change_identifiers(user, username=None, email="new@example.org", client=HOME, check=guard)


async def _close(kernel: Kernel, user: User, held: LoggedIn) -> None:
    async def guard(_: Tx) -> None:
        return None

    await kernel.users.delete(user, client=HOME, check=guard)


async def _change_password(kernel: Kernel, user: User, held: LoggedIn) -> None:
    candidate = await kernel.login.confirm(user.id, proven, client=HOME)
    caller = claims_of(kernel, held)
    await change_password(kernel, caller, candidate, "$argon2id$x", client=HOME, client_id="watchword")


DEEDS: dict[str, Do] = {
    "log_in": lambda k, u, h: log_in(k),
    "refresh": lambda k, u, h: refresh(k, h.tokens.refresh_token),
    "log_out": lambda k, u, h: k.sessions.log_out(claims=claims_of(k, h), presented=None, client=HOME),
    "list": lambda k, u, h: k.sessions.page(u.id),
    "end_others": lambda k, u, h: k.sessions.end_others(claims_of(k, h), client=HOME),
    "roles": lambda k, u, h: give_roles(k, u.id, ("reader",)),
    "disable": lambda k, u, h: operator(k).disable(u.id),
    "reset": lambda k, u, h: reset_password(k, u.id),
    "address": _new_address,
    "password": _change_password,
    "close": _close,
}


@pytest.mark.sqlite
@pytest.mark.parametrize("deed", DEEDS)
async def test_what_a_user_did_before_is_not_read(kernel: Kernel, clock: FixedClock, deed: str) -> None:
    """With 50,000 sessions that have ended, as in an afternoon of log-ins, everything takes as few steps as ever."""
    user = await join(kernel)
    for _ in range(3):
        held = await log_in(kernel)
    meddle(kernel, _MANY.format(rows=PAST, user=user.id, at=clock.now(), ended=clock.now()))
    with counted(kernel) as steps:
        await DEEDS[deed](kernel, user, held)
    assert steps[0] < FEW


@pytest.mark.sqlite
async def test_a_closed_account_leaves_rows_to_the_sweep(kernel: Kernel, clock: FixedClock) -> None:
    """Dead at once, name and address free at once; the rows go batch by batch, no statement taking more than one."""
    user = await join(kernel)
    await log_in(kernel)
    meddle(kernel, _MANY.format(rows=2_000, user=user.id, at=clock.now(), ended=clock.now()))
    await DEEDS["close"](kernel, user, await log_in(kernel))
    again = await join(kernel)
    assert again.id != user.id
    clock.advance(2 * DAY)
    with counted(kernel) as steps:
        assert await sweeping.sweep(kernel.database, clock.now()) >= 2_002
    assert steps[0] < 10 * FEW  # two thousand rows by key
    rows = await kernel.database.scan("SELECT id FROM ww_sessions WHERE user_id = :user", user=user.id)
    assert rows == []


@pytest.mark.sqlite
async def test_sessions_that_live_are_not_visited_by_the_sweep(kernel: Kernel, clock: FixedClock) -> None:
    """However many there are, a turn reads what it deletes, and a bounded part of the rest."""
    user = await join(kernel)
    meddle(kernel, _MANY.format(rows=PAST, user=user.id, at=clock.now() + 30 * DAY, ended="NULL"))
    scans: list[int] = []
    scan = kernel.database.scan

    async def watched(sql: str, /, **values: int | str | None) -> list[object]:
        rows: list[object] = await scan(sql, **values)  # type: ignore[assignment]
        scans.append(len(rows))
        return rows

    kernel.database.scan = watched  # type: ignore[method-assign, assignment]
    assert await sweeping.sweep(kernel.database, clock.now()) == 0
    assert sum(scans) == 0
    patrol = sweeping.Patrol(kernel.database)
    for turn in range(1, PAST // (sweeping.ROWS * sweeping.BATCHES) + 1):
        await patrol.turn(clock.now())
        assert sum(scans) == turn * sweeping.ROWS * sweeping.BATCHES
    await patrol.turn(clock.now())  # round, and from the beginning again
    await patrol.turn(clock.now())
    assert sum(scans) == PAST + sweeping.ROWS * sweeping.BATCHES


async def test_an_older_database_keeps_its_sessions_and_how_long_its_tokens_live(tmp_path: Path) -> None:
    """The table is made anew without its reference; what was issued before an upgrade is refused for long enough."""
    database = await SQLite.open(tmp_path / "old.db")
    try:
        await migrate(database, now=1, migrations=bundled()[:3])
        await database.run(
            "INSERT INTO ww_users (id, roles, token_version, created_at, updated_at) VALUES ('u','',1,1,1)"
        )
        await database.run(
            "INSERT INTO ww_sessions VALUES ('s', 'h', 'u', 'watchword', '', 'pwd', 1, 7, 1, 1000, 900, 9000, 9900,"
            " 1000 + 43200, 0, NULL, NULL, 'here', 'agent')"
        )
        before = [tuple(row) for row in await database.scan("SELECT * FROM ww_sessions")]  # type: ignore[arg-type]
        await migrate(database, now=2)
        assert [tuple(row) for row in await database.scan("SELECT * FROM ww_sessions")] == [
            (*each, None, "", 0) for each in before
        ]  # type: ignore[arg-type]
        await revocation.note_access_life(database, 900)

        async def unit(tx: Tx) -> list[revocation.Entry]:
            return await revocation.refuse_user(tx, "u", 2, now=5000)

        assert await database.transact(unit) == [revocation.Entry("user", "u", 2, 5000 + 43200 + revocation.SKEW)]
    finally:
        await database.close()
