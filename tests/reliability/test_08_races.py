"""What takes rights away beside what gives them, in two processes, with pauses at every step: no old right is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.identity.interleaving import Change, change_email, change_roles, race
from tests.identity.scenes import HOME, change_password, claims_of, join, log_in, operator, proven
from tests.reliability.conftest import on
from tests.reliability.kernels import Stepping, kernel_on
from tests.reliability.rows import Row
from watchword.clock import FixedClock
from watchword.errors import TokenError, Unauthenticated
from watchword.identity.factors import Candidate, Factor, Proof
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.sessions.sessions import Tokens
from watchword.identity.users import User

ROUNDS, AT_ONCE = 1_000, 5
OLD, NEW = "$argon2id$old", "$argon2id$new"
LONGEST_PAUSE = 0.002
HEAD_START = 0.03
"""Seconds that what gives may be ahead: a log-in takes more steps than a disabling."""
ENGINES = on(("sqlite", 2), ("postgres", 2), quick=("sqlite", 2))

Deed = Callable[[Kernel, User, LoggedIn], Awaitable[Any]]


def _old_password(kernel: Kernel) -> Factor:
    """The password from before: it is right as long as the stored hash is the old one."""

    async def prove(candidate: Candidate | None) -> Proof | None:
        assert candidate is not None
        right = await kernel.users.password_hash(candidate.user.id) == OLD
        return Proof("pwd") if right and candidate.allowed else None

    return Factor(prove)


async def _log_in(kernel: Kernel, user: User, held: LoggedIn) -> Tokens:
    return (await log_in(kernel, user.username or "", prove=_old_password(kernel))).tokens


async def _refresh(kernel: Kernel, user: User, held: LoggedIn) -> Tokens:
    return await kernel.sessions.refresh(held.tokens.refresh_token, client_id=FIRST_PARTY, client=HOME)


async def _change_password(kernel: Kernel, user: User, held: LoggedIn) -> LoggedIn:
    confirmed = await kernel.login.confirm(user.id, proven, client=HOME)
    caller = claims_of(kernel, held)
    return await change_password(kernel, caller, confirmed, NEW, client=HOME, client_id=FIRST_PARTY)


async def _log_out(kernel: Kernel, user: User, held: LoggedIn) -> None:
    await kernel.sessions.log_out(claims=claims_of(kernel, held), presented=None, client=HOME)


async def _disable(kernel: Kernel, user: User, held: LoggedIn) -> None:
    await operator(kernel).disable(user.id)


@pytest.mark.parametrize(
    ("gives", "takes"),
    [
        pytest.param(
            _log_in,
            _change_password,
            id="password",
            marks=pytest.mark.experiment(8, "log-in ∥ password change, 1,000 times"),
        ),
        pytest.param(
            _refresh, _log_out, id="log-out", marks=pytest.mark.experiment(8, "refresh ∥ log-out, 1,000 times")
        ),
        pytest.param(_log_in, _disable, id="disable", marks=pytest.mark.experiment(8, "log-in ∥ disable, 1,000 times")),
    ],
)
@pytest.mark.timeout(900)
@ENGINES
async def test_no_session_outlives_what_ended_it(
    tmp_path: Path, database_url: str, engine: str, row: Row, gives: Deed, takes: Deed
) -> None:
    """However the two meet, all that was there before, or came of the old right, is refused by both processes."""
    rounds, chance, clock, found, given = row.times(ROUNDS, least=20), Random(8), FixedClock(), list[str](), 0
    steps = Stepping()
    async with (
        kernel_on(tmp_path, database_url, clock, steps) as here,
        kernel_on(tmp_path, database_url, clock, steps) as there,
    ):
        for start in range(0, rounds, AT_ONCE):
            everyone = [await _someone(here, f"ada{number}") for number in range(start, start + AT_ONCE)]
            await there.revocations.poll()
            with steps.pausing(chance, LONGEST_PAUSE, inside=engine == "postgres"):
                races = [_race(gives(here, *one), takes(there, *one), chance) for one in everyone]
                outcomes = await asyncio.gather(*races)
            for (user, held), (gave, spared) in zip(everyone, outcomes, strict=True):
                given += gave is not None
                found += await _still_good((here, there), [held.tokens, *([gave] if gave else [])], spared)
                found += await _still_alive(here, user, spared)
    row.tried("rounds", rounds)
    row.at_least("of them given before it was taken", given, 1)
    row.none("sessions or tokens that should be dead", found)


async def _race(giving: Awaitable[Tokens], taking: Awaitable[Any], chance: Random) -> tuple[Tokens | None, Any]:
    """Let both go; the tokens that the one gave, if it did, and those of the session that the other opened, if any."""
    given = asyncio.create_task(_unless_refused(giving))
    await asyncio.sleep(chance.uniform(0, HEAD_START))
    took = await taking
    return await given, took.tokens if isinstance(took, LoggedIn) else None


async def _someone(kernel: Kernel, name: str) -> tuple[User, LoggedIn]:
    user = await join(kernel, name)
    await kernel.database.run("UPDATE ww_users SET password_hash = :old WHERE id = :id", old=OLD, id=user.id)
    return user, await log_in(kernel, name)


async def _unless_refused(work: Awaitable[Tokens]) -> Tokens | None:
    try:
        return await work
    except Unauthenticated:
        return None


async def _still_good(kernels: tuple[Kernel, ...], old: list[Tokens], spared: Tokens | None) -> list[str]:
    """What of the old tokens either process accepts; and whether the new session's is refused."""
    found = []
    for kernel in kernels:
        await kernel.revocations.poll()
        for tokens in old:
            if _accepts(kernel, tokens):
                found.append(f"an access token of {tokens}")
            if await _unless_refused(kernel.sessions.refresh(tokens.refresh_token, client_id=FIRST_PARTY, client=HOME)):
                found.append(f"a refresh token of {tokens}")
        if spared is not None and not _accepts(kernel, spared):
            found.append("the new session is refused")
    return found


def _accepts(kernel: Kernel, tokens: Tokens) -> bool:
    try:
        kernel.verifier.verify(tokens.access_token)
    except TokenError:
        return False
    return True


async def _still_alive(kernel: Kernel, user: User, spared: Tokens | None) -> list[str]:
    """Sessions of the user that the database calls alive, but for the new one."""
    sql = "SELECT id FROM ww_sessions WHERE user_id = :user AND ended_at IS NULL"
    alive = {str(found["id"]) for found in await kernel.database.scan(sql, user=user.id)}
    kept = set() if spared is None else {kernel.verifier.verify(spared.access_token).sid}
    return [f"session {each}" for each in alive ^ kept]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change_roles, id="roles", marks=pytest.mark.experiment(8, "refresh ∥ role change, 1,000 times")),
        pytest.param(
            change_email, id="e-mail", marks=pytest.mark.experiment(8, "refresh ∥ e-mail change, 1,000 times")
        ),
    ],
)
@pytest.mark.timeout(900)
@on(("sqlite", 2), ("postgres", 2))
async def test_no_token_keeps_old_rights(tmp_path: Path, database_url: str, row: Row, change: Change) -> None:
    """No token with an older version is accepted at any later time; `tests/identity/test_races.py` is the quick one."""
    clock, rounds = FixedClock(), row.times(ROUNDS)

    def open_kernel(**given: object) -> AbstractAsyncContextManager[Kernel]:
        return kernel_on(tmp_path, database_url, clock, **given)

    older, found = 0, []
    try:
        older = await race(open_kernel, clock, change, rounds=rounds, seed=2)
    except AssertionError as accepted:  # it ends at the first token that is accepted
        found.append(accepted)
    row.tried("rounds", rounds)
    row.at_least("of them with a token that came out older", older, 1)
    row.none("tokens with old rights", found)
