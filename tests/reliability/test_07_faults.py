"""An error, or the client's going away, at every step of refresh, log-in and password change: the next try succeeds.

Steps are before and after each call of the database, and before and after each statement of a unit. An error after a
call is an answer that is lost: the work was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.identity.scenes import HOME, change_password, claims_of, join, log_in, proven
from tests.reliability.conftest import on
from tests.reliability.kernels import Stepping, kernel_on, settled
from tests.reliability.rows import Row
from watchword.clock import FixedClock
from watchword.errors import StorageUnavailable, TokenError, Unauthenticated
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.users import User

ROUNDS = 1_000
OLD, NEW = "$argon2id$old", "$argon2id$new"
KINDS = ("unavailable", "bug", "cancelled")


class Fault:
    """Comes at one step of one task."""

    def __init__(self, at: int, kind: str) -> None:
        self.at = at
        self.kind = kind
        self.steps = 0
        self.task: asyncio.Task[Any] | None = None

    async def step(self) -> None:
        """Count the step; at the chosen one raise, or cancel the task that it belongs to."""
        self.steps += 1
        if self.steps - 1 != self.at:
            return
        if self.kind == "cancelled":
            assert self.task is not None
            self.task.cancel()
        elif self.kind == "bug":
            raise RuntimeError("injected")
        else:
            raise StorageUnavailable("injected")

    async def during(self, steps: Stepping, work: Awaitable[Any]) -> object:
        """Do the work with this fault in it; what came of it, or None."""
        with steps.at(self.step, self.step):
            self.task = asyncio.ensure_future(work)
            (result,) = await asyncio.gather(self.task, return_exceptions=True)
        if isinstance(result, BaseException):
            assert isinstance(result, RuntimeError | StorageUnavailable | asyncio.CancelledError), result
            return None
        return result


async def _refresh(kernel: Kernel, user: User, held: LoggedIn) -> Any:
    return await kernel.sessions.refresh(held.tokens.refresh_token, client_id=FIRST_PARTY, client=HOME)


async def _refresh_twice(kernel: Kernel, user: User, held: LoggedIn) -> Any:
    """Rotate, and send the same token again, as a client does that has lost the answer."""
    await _refresh(kernel, user, held)
    return await _refresh(kernel, user, held)


async def _after_refresh(kernel: Kernel, user: User, held: LoggedIn) -> list[str]:
    """The token is as good as before: it yields its one successor, and that one yields the next."""
    session = claims_of(kernel, held).sid
    found = []
    again = await _refresh(kernel, user, held)
    if (generation := await _number(kernel, "SELECT generation FROM ww_sessions WHERE id = :id", session)) != 1:
        found.append(f"rotated {generation} times")
    await kernel.sessions.refresh(again.refresh_token, client_id=FIRST_PARTY, client=HOME)
    return found


async def _log_in(kernel: Kernel, user: User, held: LoggedIn) -> Any:
    return await log_in(kernel, user.username or "")


async def _after_log_in(kernel: Kernel, user: User, held: LoggedIn) -> list[str]:
    """One try has opened one session at most, with its record; the next try opens one."""
    opened = await _number(kernel, _SESSIONS, user.id) - 1
    claims_of(kernel, await _log_in(kernel, user, held))
    after, recorded = await _number(kernel, _SESSIONS, user.id), await _number(kernel, _LOG_INS, user.id)
    found = [f"one try has opened {opened} sessions"] if opened > 1 else []
    return found + ([] if after == recorded == opened + 2 else [f"{after} sessions, {recorded} records"])


async def _change(kernel: Kernel, user: User, held: LoggedIn) -> Any:
    confirmed = await kernel.login.confirm(user.id, proven, client=HOME)
    caller = claims_of(kernel, held)
    return await change_password(kernel, caller, confirmed, NEW, client=HOME, client_id=FIRST_PARTY)


async def _after_change(kernel: Kernel, user: User, held: LoggedIn) -> list[str]:
    """All of it was done, or nothing; if nothing, the next try does it."""
    found = []
    stored = await kernel.users.password_hash(user.id)
    changes = await _number(kernel, _CHANGES, user.id)
    await kernel.revocations.poll()
    if changes != (stored == NEW):
        found.append(f"{changes} changes on record, and the hash is {stored}")
    if stored == OLD:
        await _change(kernel, user, held)
    elif not await _is_over(kernel, held):
        found.append("the old session lives on")
    version = await _number(kernel, "SELECT token_version FROM ww_users WHERE id = :id", user.id)
    alive = await _number(kernel, f"{_SESSIONS} AND ended_at IS NULL", user.id)
    if (version, alive) != (user.token_version + 1, 1):
        found.append(f"version {version} after {user.token_version}, {alive} sessions alive")
    claims_of(kernel, await log_in(kernel, user.username or ""))
    return found


async def _is_over(kernel: Kernel, held: LoggedIn) -> bool:
    try:
        claims_of(kernel, held)
    except TokenError:
        pass
    else:
        return False
    try:
        await kernel.sessions.refresh(held.tokens.refresh_token, client_id=FIRST_PARTY, client=HOME)
    except Unauthenticated:
        return True
    return False


_SESSIONS = "SELECT COUNT(*) AS number FROM ww_sessions WHERE user_id = :id"
_LOG_INS = "SELECT COUNT(*) AS number FROM ww_audit WHERE user_id = :id AND event = 'log_in' AND outcome = 'ok'"
_CHANGES = "SELECT COUNT(*) AS number FROM ww_audit WHERE user_id = :id AND event = 'password_changed'"


async def _number(kernel: Kernel, sql: str, of: str | None) -> int:
    row = await kernel.database.one(sql, id=of)
    assert row is not None
    return int(row[0])


Deed = Callable[[Kernel, User, LoggedIn], Awaitable[Any]]
After = Callable[[Kernel, User, LoggedIn], Awaitable[list[str]]]


def _case(name: str, deed: Deed, after: After) -> Any:
    what = f"error or cancellation at every step of {name}, 1,000 times"
    return pytest.param(deed, after, id=name, marks=pytest.mark.experiment(7, what))


@pytest.mark.parametrize(
    ("deed", "after"),
    [
        _case("refresh", _refresh_twice, _after_refresh),
        _case("log-in", _log_in, _after_log_in),
        _case("password change", _change, _after_change),
    ],
)
@pytest.mark.timeout(900)
@on(("sqlite", 2), ("postgres", 2), quick=("sqlite", 2))
async def test_the_next_try_succeeds(tmp_path: Path, database_url: str, row: Row, deed: Deed, after: After) -> None:
    """No token is burnt, nothing is done twice or by half."""
    steps, found = Stepping(), list[str]()
    async with kernel_on(tmp_path, database_url, FixedClock(), steps) as kernel:
        length = await _length(kernel, steps, deed)
        rounds, answered = row.times(ROUNDS, least=len(KINDS) * length), 0
        for number in range(rounds):
            fault = Fault(number % length, KINDS[number // length % len(KINDS)])
            user, held = await _someone(kernel, f"ada{number}")
            answered += await fault.during(steps, deed(kernel, user, held)) is not None
            await settled(kernel)
            found += [f"{fault.kind} at step {fault.at}: {each}" for each in await after(kernel, user, held)]
    row.tried("steps", length)
    row.tried("faults", rounds)
    row.tried("of them answered all the same", answered)
    row.none("tokens burnt, things done twice or by half", found)


async def _length(kernel: Kernel, steps: Stepping, deed: Deed) -> int:
    """How many steps it has when nothing happens."""
    counting = Fault(-1, "none")
    assert await counting.during(steps, deed(kernel, *await _someone(kernel, "first"))) is not None
    assert counting.steps > 5
    return counting.steps


async def _someone(kernel: Kernel, name: str) -> tuple[User, LoggedIn]:
    user = await join(kernel, name)
    await kernel.database.run("UPDATE ww_users SET password_hash = :old WHERE id = :id", old=OLD, id=user.id)
    return user, await log_in(kernel, name)
