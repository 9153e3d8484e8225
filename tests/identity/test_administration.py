"""What an operator does to accounts and sessions, on both engines."""

from __future__ import annotations

import asyncio

import pytest

from tests.identity.scenes import (
    OTHER_PASSWORD,
    claims_of,
    everything,
    join,
    log_in,
    recorded,
    refresh,
    session_row,
)
from watchword.errors import Conflict, InvalidInput, NotFound, TokenError, Unauthenticated
from watchword.identity.administration import Administration, unchecked
from watchword.identity.audit import LOCAL
from watchword.identity.kernel import Kernel


async def test_no_role_is_lost_when_two_change_them_at_once(kernel: Kernel) -> None:
    """Twenty operators add a role each: the user has twenty."""
    user, operator = await join(kernel), Administration(kernel, client=LOCAL, check=unchecked)
    names = [f"role-{number}" for number in range(20)]
    await asyncio.gather(*(operator.change_roles(user.id, lambda held, n=n: held | {n}) for n in names))
    found = await kernel.users.find(user.id)
    assert found is not None
    assert found.roles == tuple(sorted(names))


async def test_a_change_of_nothing_writes_nothing(kernel: Kernel) -> None:
    """A role that is there already, sessions of someone who has none, the name that is there."""
    user, operator = await join(kernel), Administration(kernel, client=LOCAL, check=unchecked)
    before = await everything(kernel)
    assert (await operator.change_roles(user.id, lambda held: held - {"admin"})).token_version == user.token_version
    assert await operator.end_sessions(user) == 0
    await operator.rename(user, username=user.username, email=None)
    assert await everything(kernel) == before


async def test_what_an_operator_ends_is_refused_at_once(kernel: Kernel) -> None:
    """The access token as well as the refresh token; other sessions stay; ended ones are ended once."""
    user, operator = await join(kernel), Administration(kernel, client=LOCAL, check=unchecked)
    first, second = await log_in(kernel), await log_in(kernel)
    session = claims_of(kernel, first).sid
    assert await operator.end_session(str(session)) == user.id
    with pytest.raises(TokenError):
        kernel.verifier.verify(first.tokens.access_token)
    kernel.verifier.verify(second.tokens.access_token)
    with pytest.raises(NotFound):
        await operator.end_session(str(session))
    assert [row["id"] for row in await operator.live_sessions(limit=9)] == [claims_of(kernel, second).sid]
    assert await operator.end_sessions(user) == 1
    with pytest.raises(Unauthenticated):
        await refresh(kernel, second.tokens.refresh_token)
    assert await operator.live_sessions(limit=9) == []


async def test_a_set_password_ends_sessions_and_counts_for_enabled_users_only(kernel: Kernel) -> None:
    """Its policy is that of users."""
    user, operator = await join(kernel), Administration(kernel, client=LOCAL, check=unchecked)
    session = await log_in(kernel)
    with pytest.raises(InvalidInput):
        await operator.set_password(user, "short")
    await operator.set_password(user, OTHER_PASSWORD)
    with pytest.raises(TokenError):
        kernel.verifier.verify(session.tokens.access_token)
    disabled = await operator.disable(user.id)
    before = await everything(kernel)
    for deed in (operator.set_password(disabled, OTHER_PASSWORD), operator.invite(disabled)):
        with pytest.raises(Conflict):
            await deed
    assert await everything(kernel) == before


async def test_a_new_invitation_replaces_the_one_before(kernel: Kernel) -> None:
    """⚑ Of several the oldest would set the password as well."""
    operator = Administration(kernel, client=LOCAL, check=unchecked)
    bea = await kernel.users.create(
        username=None, email="bea@example.org", password=None, client=LOCAL, check=unchecked
    )
    for _ in range(3):
        assert await operator.invite(bea) == (3 * 86_400, False)
    links = await recorded(kernel, "ww_one_time")
    assert [each["purpose"] for each in links] == ["invite"]


async def test_an_invitation_needs_an_address(kernel: Kernel) -> None:
    """Nothing is written without one; with one, a mail with a link waits, and no session ends."""
    operator = Administration(kernel, client=LOCAL, check=unchecked)
    named = await kernel.users.create(username="bea", email=None, password=None, client=LOCAL, check=unchecked)
    before = await everything(kernel)
    with pytest.raises(InvalidInput):
        await operator.invite(named)
    assert await everything(kernel) == before
    user = await join(kernel)
    session = claims_of(kernel, await log_in(kernel))
    waiting = len(await recorded(kernel, "ww_outbox"))
    await operator.invite(user)
    mails = await recorded(kernel, "ww_outbox")
    assert (len(mails), mails[-1]["template"]) == (waiting + 1, "invitation")
    assert (await session_row(kernel, str(session.sid)))["ended_at"] is None
