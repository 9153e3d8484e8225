"""What ends when, event by event, and what each writes in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from tests.identity.scenes import (
    AWAY,
    DAY,
    HOME,
    HOUR,
    MINUTE,
    Opener,
    change_password,
    claims_of,
    entries,
    everything,
    give_roles,
    join,
    log_in,
    operator,
    proven,
    recorded,
    refresh,
    refuse_inserts,
    reset_password,
    session_row,
    statements,
    written_table,
)
from watchword.clock import FixedClock
from watchword.errors import NotFound, TokenError, Unauthenticated
from watchword.identity import sweeping
from watchword.identity.factors import Confirmed
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.revocation import SKEW
from watchword.identity.sessions.sessions import require_live
from watchword.identity.users import User
from watchword.storage.database import Tx
from watchword.tokens.claims import AccessClaims


class Scene(NamedTuple):
    """A user with two sessions, `here` (who acts) and `there`, and a stranger with one."""

    kernel: Kernel
    clock: FixedClock
    user: User
    here: LoggedIn
    there: LoggedIn
    stranger: LoggedIn

    @property
    def caller(self) -> AccessClaims:
        return self.kernel.verifier.verify_expired(self.here.tokens.access_token)


@pytest.fixture
async def scene(kernel: Kernel, clock: FixedClock) -> Scene:
    return await _scene(kernel, clock)


async def _scene(kernel: Kernel, clock: FixedClock) -> Scene:
    user = await join(kernel, roles=("reader",))
    await join(kernel, "sam")
    return Scene(
        kernel, clock, user, await log_in(kernel), await log_in(kernel, client=AWAY), await log_in(kernel, "sam")
    )


async def _log_out(scene: Scene) -> None:
    await scene.kernel.sessions.log_out(claims=scene.caller, presented=None, client=HOME)


async def _log_out_by_cookie(scene: Scene) -> None:
    await scene.kernel.sessions.log_out(claims=None, presented=scene.here.tokens.refresh_token, client=HOME)


async def _log_out_both(scene: Scene) -> None:
    await scene.kernel.sessions.log_out(claims=scene.caller, presented=scene.there.tokens.refresh_token, client=HOME)


async def _end_here(scene: Scene) -> None:
    sid = claims_of(scene.kernel, scene.here).sid
    assert sid is not None
    await scene.kernel.sessions.end(claims_of(scene.kernel, scene.there), sid, client=HOME)


async def _end_others(scene: Scene) -> None:
    assert await scene.kernel.sessions.end_others(claims_of(scene.kernel, scene.there), client=HOME) == 1


async def _reuse(scene: Scene) -> None:
    first = scene.here.tokens.refresh_token
    await refresh(scene.kernel, first)
    scene.clock.advance(31)
    with pytest.raises(Unauthenticated):
        await refresh(scene.kernel, first)


async def _change_password(scene: Scene) -> None:
    candidate = await scene.kernel.login.confirm(scene.user.id, proven, client=HOME)
    again = await change_password(
        scene.kernel, scene.caller, candidate, "$argon2id$new", client=HOME, client_id=FIRST_PARTY
    )
    fresh = claims_of(scene.kernel, again)
    assert fresh.sid not in {scene.caller.sid, claims_sid(scene, scene.there)}
    await refresh(scene.kernel, again.tokens.refresh_token)


async def _reset(scene: Scene) -> None:
    await reset_password(scene.kernel, scene.user.id)


async def _disable(scene: Scene) -> None:
    await operator(scene.kernel).disable(scene.user.id)


async def _delete(scene: Scene) -> None:
    await scene.kernel.users.delete(scene.user, client=HOME, check=_guard(scene))


async def _change_roles(scene: Scene) -> None:
    await give_roles(scene.kernel, scene.user.id, ("admin", "editor"))


async def _change_email(scene: Scene) -> None:
    await scene.kernel.users.change_identifiers(
        scene.user, username=None, email="alice@example.com", client=HOME, check=_guard(scene)
    )


async def _change_username(scene: Scene) -> None:
    await scene.kernel.users.change_identifiers(
        scene.user, username="alicia", email=None, client=HOME, check=_guard(scene)
    )


async def _log_in_over(scene: Scene) -> None:
    await log_in(scene.kernel, replacing=scene.here.tokens.refresh_token)


def _guard(scene: Scene) -> Callable[[Tx], Awaitable[None]]:
    async def guard(tx: Tx) -> None:
        await require_live(tx, scene.caller, scene.clock.now())

    return guard


def claims_sid(scene: Scene, of: LoggedIn) -> str | None:
    return scene.kernel.verifier.verify_expired(of.tokens.access_token).sid


class Event(NamedTuple):
    """One line of the table: what is done, which sessions end, whether the version rises, which entries appear."""

    do: Callable[[Scene], Awaitable[None]]
    ended: str  # of "here" and "there", those that end
    refused: str  # those whose access token is refused at once
    version: int
    kinds: tuple[str, ...]


EVENTS = {
    "log_out": Event(_log_out, "here", "here", 1, ("session",)),
    "log_out_by_cookie": Event(_log_out_by_cookie, "here", "here", 1, ("session",)),
    "log_out_of_both": Event(_log_out_both, "here there", "here there", 1, ("session", "session")),
    "end_one": Event(_end_here, "here", "here", 1, ("session",)),
    "end_others": Event(_end_others, "here", "here", 1, ("session",)),
    "replaced_by_log_in": Event(_log_in_over, "here", "here", 1, ("session",)),
    "reuse": Event(_reuse, "here", "here", 1, ("session",)),
    "password_change": Event(_change_password, "here there", "here there", 2, ("user",)),
    "reset": Event(_reset, "here there", "here there", 2, ("user",)),
    "disable": Event(_disable, "here there", "here there", 2, ("user",)),
    "delete": Event(_delete, "here there", "here there", 0, ("user",)),
    "roles": Event(_change_roles, "", "here there", 2, ("user",)),
    "email": Event(_change_email, "", "here there", 2, ("user",)),
    "username": Event(_change_username, "", "", 1, ()),
}
ENDING = [name for name, event in EVENTS.items() if event.kinds]


def _accepted(scene: Scene, of: LoggedIn) -> bool:
    try:
        claims_of(scene.kernel, of)
    except TokenError as error:
        if error.code != "token_revoked":
            raise
        return False
    return True


@pytest.mark.parametrize("name", EVENTS)
async def test_e7_e8_the_table_of_what_ends(scene: Scene, name: str) -> None:
    """Sessions, version, entries, access tokens and refresh tokens after each event are those of the table."""
    event, kernel = EVENTS[name], scene.kernel
    held = {"here": scene.here, "there": scene.there}
    await event.do(scene)
    assert tuple(entry["kind"] for entry in await entries(kernel)) == event.kinds
    user = await kernel.users.find(scene.user.id)
    assert (0 if user is None else user.token_version) == event.version
    for which, logged_in in held.items():
        assert _accepted(scene, logged_in) is (which not in event.refused.split())
        if which in event.ended.split():
            with pytest.raises(Unauthenticated) as caught:
                await refresh(kernel, logged_in.tokens.refresh_token)
            assert caught.value.code == "session_ended"
        elif name != "reuse":
            assert claims_of(kernel, await refresh(kernel, logged_in.tokens.refresh_token)).ver == event.version
    assert _accepted(scene, scene.stranger)


@pytest.mark.parametrize("name", ["roles", "email"])
async def test_e8_the_next_refresh_carries_the_change(scene: Scene, name: str) -> None:
    """Kept sessions go on with the new roles and the new version; the order of roles does not matter."""
    await EVENTS[name].do(scene)
    claims = claims_of(scene.kernel, await refresh(scene.kernel, scene.here.tokens.refresh_token))
    assert set(claims.roles) == ({"admin", "editor"} if name == "roles" else {"reader"})
    assert claims.ver == 2


async def test_e8_a_grace_answer_carries_the_change_too(scene: Scene) -> None:
    """Roles taken away within the window do not come back with the answer that was lost."""
    first = scene.here.tokens.refresh_token
    await refresh(scene.kernel, first)
    await give_roles(scene.kernel, scene.user.id, ())
    claims = claims_of(scene.kernel, await refresh(scene.kernel, first))
    assert (claims.roles, claims.ver) == (frozenset(), 2)


async def test_enabling_again_brings_no_session_back(scene: Scene) -> None:
    """What ended with disabling stays ended, and tokens of before stay refused."""
    await _disable(scene)
    await operator(scene.kernel).enable(scene.user.id)
    assert not _accepted(scene, scene.here)
    with pytest.raises(Unauthenticated):
        await refresh(scene.kernel, scene.here.tokens.refresh_token)
    assert claims_of(scene.kernel, await log_in(scene.kernel)).ver == 3


async def test_e7_logging_out_twice_is_logging_out_once(scene: Scene) -> None:
    """Idempotent: the second time finds nothing to end, publishes nothing, and says nothing."""
    await _log_out(scene)
    before = await everything(scene.kernel)
    await _log_out(scene)
    await _log_out_by_cookie(scene)
    assert await everything(scene.kernel) == before


@pytest.mark.parametrize("presented", [None, "garbage"])
async def test_e7_nothing_to_log_out_of_is_no_fault(scene: Scene, presented: str | None) -> None:
    """Neither bearer nor a genuine cookie: nothing happens."""
    before = await everything(scene.kernel)
    await scene.kernel.sessions.log_out(claims=None, presented=presented, client=HOME)
    assert await everything(scene.kernel) == before


# --- How long an entry lives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENDING)
async def test_an_entry_outlives_the_latest_token_whatever_the_life_setting_is_now(
    open_kernel: Opener, clock: FixedClock, name: str
) -> None:
    """⚑ Tokens were issued for an hour, then the setting became five minutes: entries still cover the hour."""
    async with open_kernel(access_lifetime="1h") as before:
        scene = await _scene(before, clock)
        long_lived = claims_of(before, scene.here)
    clock.advance(MINUTE)
    async with open_kernel(access_lifetime="5m") as kernel:
        tokens = await refresh(kernel, scene.here.tokens.refresh_token)
        clock.advance(31)
        now = Scene(
            kernel, clock, scene.user, scene.here._replace(tokens=tokens), scene.there, scene.stranger
        )  # fmt: skip
        await EVENTS[name].do(now)
        (entry, *_) = [e for e in await entries(kernel) if e["subject"] in {long_lived.sid, long_lived.sub}]
        assert entry["expires_at"] >= long_lived.exp + SKEW
    # The last second of the long token, after every sweep, in a process that knows the table only.
    clock.advance(long_lived.exp - 1 - clock.now())
    async with open_kernel(access_lifetime="5m") as kernel:
        await sweeping.sweep(kernel.database, clock.now())
        kernel.revocations.sweep()
        with pytest.raises(TokenError) as caught:
            claims_of(kernel, scene.here)
        assert caught.value.code == "token_revoked"
        clock.advance(HOUR + 1 + SKEW)
        await sweeping.sweep(kernel.database, clock.now())
        assert [e for e in await entries(kernel) if e["subject"] in {long_lived.sid, long_lived.sub}] == []


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["disable", "roles", "reset", "delete", "email"])
async def test_a_user_entry_covers_tokens_of_a_longer_life_and_of_sessions_that_are_over(
    open_kernel: Opener, clock: FixedClock, name: str
) -> None:
    """The latest token may belong to a session that has ended, or come from a process with a longer life setting.

    Neither is looked for among the user's sessions, of which there may be any number: the longest life counts.
    """
    async with open_kernel(access_lifetime="6h"):
        pass
    async with open_kernel() as kernel:
        scene = await _scene(kernel, clock)
        await kernel.sessions.log_out(claims=claims_of(kernel, scene.there), presented=None, client=HOME)
        with statements(kernel) as listened:
            await EVENTS[name].do(scene)
        of_user = [entry for entry in await entries(kernel) if entry["kind"] == "user"]
        assert [entry["expires_at"] for entry in of_user] == [clock.now() + 6 * HOUR + SKEW]
        assert not [sql for sql in listened.of_the_product if "MAX(" in sql.upper() and "ww_sessions" in sql]


@pytest.mark.parametrize("logged_in", [True, False])
async def test_a_change_of_rights_always_leaves_an_entry(kernel: Kernel, clock: FixedClock, logged_in: bool) -> None:
    """Whether there is a token to refuse is not asked, since that question has no bound: an entry is published."""
    user = await join(kernel)
    if logged_in:
        await log_in(kernel)
        clock.advance(DAY)
    await operator(kernel).disable(user.id)
    of_user = [entry for entry in await entries(kernel) if entry["kind"] == "user"]
    assert [entry["expires_at"] for entry in of_user] == [clock.now() + 15 * MINUTE + SKEW]


# --- One transaction, in one order -----------------------------------------------------------------------------------


# A reset's record is written by the feature that offers one, which does not exist yet.
FAULTS = [(name, table) for name in ENDING for table in ("ww_revocations", "ww_audit")]
FAULTS.remove(("reset", "ww_audit"))


@pytest.mark.sqlite
@pytest.mark.parametrize(("name", "table"), FAULTS)
async def test_j9_entries_records_and_rows_are_stored_together_or_not_at_all(
    kernel: Kernel, clock: FixedClock, name: str, table: str
) -> None:
    """⚑ When the entry or the record cannot be written, nothing of the event is: no half-ended session."""
    scene = await _scene(kernel, clock)
    if name == "reuse":
        await refresh(kernel, scene.here.tokens.refresh_token)
        clock.advance(31)
    before = await everything(kernel)
    refuse_inserts(kernel, table)
    doing = refresh(kernel, scene.here.tokens.refresh_token) if name == "reuse" else EVENTS[name].do(scene)
    with pytest.raises(sqlite3.IntegrityError, match="injected"):
        await doing
    assert await everything(kernel) == before
    assert _accepted(scene, scene.here)


@pytest.mark.sqlite
@pytest.mark.parametrize("name", EVENTS)
async def test_locks_are_taken_in_one_order_and_the_feed_comes_last(scene: Scene, name: str) -> None:
    """⚑ users → sessions → feed in every unit, and after the feed's row nothing but its entries: no deadlock, and
    commit order equals sequence order because its lock is held from the number to the commit."""
    with statements(scene.kernel) as seen:
        await EVENTS[name].do(scene)
    order = ["ww_users", "ww_sessions", "ww_feed"]
    for unit in seen.units:
        tables = [table for statement in unit if (table := written_table(statement)) is not None]
        firsts = [table for table in dict.fromkeys(tables) if table in order]
        assert firsts == sorted(firsts, key=order.index), unit
        if "ww_feed" in tables:
            published = unit[next(i for i, s in enumerate(unit) if written_table(s) == "ww_feed") :]
            assert {written_table(statement) for statement in published} == {"ww_feed", "ww_revocations"}
            assert published[0].startswith("UPDATE ww_feed")


# --- A list in memory that is behind -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end", ["logged_out", "disabled", "deleted", "reset", "roles", "expired", "idle", "another_users"]
)
@pytest.mark.parametrize("act", ["end", "end_others", "password", "email", "username", "delete"])
async def test_a_caller_whose_session_is_over_changes_nothing_though_the_list_does_not_know(
    open_kernel: Opener, clock: FixedClock, end: str, act: str
) -> None:
    """Another process ended it a moment ago: the token still verifies here, and the unit itself refuses."""
    async with open_kernel() as kernel, open_kernel() as other:
        scene = await _scene(kernel, clock)
        candidate = await kernel.login.confirm(scene.user.id, proven, client=HOME)
        caller = claims_of(kernel, scene.here)
        await _end_elsewhere(other, scene, caller, end)
        assert claims_of(kernel, scene.here).sid == caller.sid
        before = await everything(kernel)
        with pytest.raises(Unauthenticated) as caught:
            await _act(scene, caller, candidate, act)
        assert caught.value.code == "token_revoked"
        assert await everything(kernel) == before


async def _act(scene: Scene, caller: AccessClaims, candidate: Confirmed, act: str) -> None:
    kernel = scene.kernel
    if act == "password":
        await change_password(kernel, caller, candidate, "$argon2id$x", client=HOME, client_id=FIRST_PARTY)
    elif act == "end":
        await kernel.sessions.end(caller, str(claims_sid(scene, scene.there)), client=HOME)
    elif act == "end_others":
        await kernel.sessions.end_others(caller, client=HOME)
    else:
        await {"email": _change_email, "username": _change_username, "delete": _delete}[act](scene)


async def _end_elsewhere(other: Kernel, scene: Scene, caller: AccessClaims, end: str) -> None:
    if end == "logged_out":
        await other.sessions.log_out(claims=caller, presented=None, client=HOME)
    elif end == "disabled":
        await operator(other).disable(caller.sub)
    elif end == "reset":
        await reset_password(other, caller.sub)
    elif end == "roles":
        await give_roles(other, caller.sub, ("admin",))
    elif end == "deleted":
        await other.database.run("DELETE FROM ww_users WHERE id = :id", id=caller.sub)
    elif end == "another_users":
        sam = other.verifier.verify(scene.stranger.tokens.access_token).sub
        await other.database.run("UPDATE ww_sessions SET user_id = :sam WHERE id = :id", sam=sam, id=caller.sid)
    else:
        column = "expires_at" if end == "expired" else "idle_expires_at"
        now = other.clock.now()
        await other.database.run(f"UPDATE ww_sessions SET {column} = :now WHERE id = :id", now=now, id=caller.sid)


# --- Whose session it is -------------------------------------------------------------------------------------------


async def test_e10_j13_nobody_ends_anothers_session(scene: Scene) -> None:
    """Another user's session, one that has ended and one that never was: not found alike, and nothing changes."""
    kernel = scene.kernel
    stranger = claims_of(kernel, scene.stranger)
    await kernel.sessions.end(scene.caller, str(claims_sid(scene, scene.there)), client=HOME)
    before = await everything(kernel)
    for session_id in (str(stranger.sid), str(claims_sid(scene, scene.there)), "nonsense", ""):
        with pytest.raises(NotFound):
            await kernel.sessions.end(scene.caller, session_id, client=HOME)
    assert await everything(kernel) == before
    assert _accepted(scene, scene.stranger)


async def test_e10_ending_the_others_keeps_the_one_that_asks(scene: Scene, clock: FixedClock) -> None:
    """All other sessions of the caller end, each with its entry; the caller's own and other people's go on."""
    kernel = scene.kernel
    more = [await log_in(kernel) for _ in range(3)]
    assert await kernel.sessions.end_others(scene.caller, client=HOME) == 4
    assert [_accepted(scene, one) for one in (scene.here, scene.stranger)] == [True, True]
    assert [_accepted(scene, one) for one in (scene.there, *more)] == [False] * 4
    assert (await session_row(kernel, scene.caller.sid))["ended_at"] is None
    assert len(await entries(kernel)) == 4


async def test_ending_sessions_whose_tokens_are_gone_publishes_nothing(scene: Scene, clock: FixedClock) -> None:
    """A session that was last refreshed yesterday ends and is counted, but there is no token to refuse."""
    clock.advance(DAY)
    here = claims_of(scene.kernel, await refresh(scene.kernel, scene.here.tokens.refresh_token))
    assert await scene.kernel.sessions.end_others(here, client=HOME) == 1
    assert await entries(scene.kernel) == []
    with pytest.raises(Unauthenticated):
        await refresh(scene.kernel, scene.there.tokens.refresh_token)


async def test_the_record_of_a_log_out_names_the_owner_of_each_session(scene: Scene) -> None:
    """A bearer of one user and a cookie of another on one machine: each record says whose session ended."""
    await scene.kernel.sessions.log_out(
        claims=scene.caller, presented=scene.stranger.tokens.refresh_token, client=HOME
    )  # fmt: skip
    sam = scene.kernel.verifier.verify_expired(scene.stranger.tokens.access_token)
    records = [record for record in await recorded(scene.kernel, "ww_audit") if record["event"] == "logged_out"]
    assert [(record["user_id"], record["session_id"]) for record in records] == [
        (scene.user.id, scene.caller.sid), (sam.sub, sam.sid),
    ]  # fmt: skip


async def test_b4_a_deleted_users_id_is_never_used_again(kernel: Kernel, clock: FixedClock) -> None:
    """The same name registered again is somebody else, and the old token refuses to be theirs."""
    scene = await _scene(kernel, clock)
    await _delete(scene)
    again = await join(kernel)
    assert again.id != scene.user.id
    assert not _accepted(scene, scene.here)
    clock.advance(HOUR)
    assert claims_of(kernel, await log_in(kernel)).sub == again.id
