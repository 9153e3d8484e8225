"""Refreshing: rotation, grace, reuse, restored databases, and the ends of a session's life."""

from __future__ import annotations

import asyncio
import json
import shutil
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from tests.identity.scenes import (
    AWAY,
    DAY,
    HOME,
    MINUTE,
    Opener,
    Recorded,
    claims_of,
    entries,
    everything,
    file_contents,
    join,
    log_in,
    operator,
    recorded,
    refresh,
    session_row,
    statements,
)
from watchword.clock import FixedClock
from watchword.errors import Unauthenticated
from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.revocation import SKEW
from watchword.opaque import REFRESH_PREFIX

LIFE = 15 * MINUTE


async def refusal(kernel: Kernel, token: str, *, client: Client = HOME, client_id: str = FIRST_PARTY) -> str:
    """The code with which a refresh is refused."""
    with pytest.raises(Unauthenticated) as caught:
        await refresh(kernel, token, client=client, client_id=client_id)
    return caught.value.code


async def last_record(kernel: Kernel) -> Recorded:
    record = (await recorded(kernel, "ww_audit"))[-1]
    return {**record, "detail": json.loads(record["detail"])}


async def test_e2_each_refresh_is_one_step_forward(kernel: Kernel, clock: FixedClock) -> None:
    """Every use gives another refresh token and an access token with the times of that use."""
    await join(kernel)
    first = await log_in(kernel)
    clock.advance(100)
    second = await refresh(kernel, first.tokens.refresh_token)
    claims = claims_of(kernel, second)
    assert second.refresh_token != first.tokens.refresh_token
    assert (claims.iat, claims.exp) == (clock.now(), clock.now() + LIFE)
    assert claims.auth_time == clock.now() - 100
    assert (second.expires_in, second.refresh_expires_in) == (LIFE, 7 * DAY)
    row = await session_row(kernel, claims.sid)
    assert (row["generation"], row["rotated_at"], row["prev_rotated_at"]) == (1, clock.now(), clock.now() - 100)
    assert row["access_until"] == claims.exp


@pytest.mark.sqlite
async def test_e2_an_ordinary_refresh_is_one_statement_and_leaves_no_record(kernel: Kernel) -> None:
    """The conditional UPDATE decides; there is nothing to read before it, and nothing to audit after it."""
    await join(kernel)
    token = (await log_in(kernel)).tokens.refresh_token
    records = len(await recorded(kernel, "ww_audit"))
    with statements(kernel) as seen:
        await refresh(kernel, token)
    assert [statement[:18] for statement in seen.of_the_product] == ["UPDATE ww_sessions"]
    assert len(await recorded(kernel, "ww_audit")) == records


@pytest.mark.parametrize("later", [0, 20, 30])
async def test_e4_grace_gives_the_same_successor_and_the_times_of_the_rotation(
    kernel: Kernel, clock: FixedClock, later: int
) -> None:
    """⚑ A token from the grace window has the row's times: it ends before a revocation entry of its session does."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    clock.advance(100)
    rotated_at = clock.now()
    second = await refresh(kernel, first.refresh_token)
    clock.advance(later)
    again = await refresh(kernel, first.refresh_token)
    claims = claims_of(kernel, again)
    assert again.refresh_token == second.refresh_token
    assert (claims.iat, claims.exp) == (rotated_at, rotated_at + LIFE)
    assert again.expires_in == LIFE - later
    assert again.refresh_expires_in == 7 * DAY - later
    row = await session_row(kernel, claims.sid)
    assert (row["generation"], row["rotated_at"], row["access_until"]) == (1, rotated_at, rotated_at + LIFE)


async def test_a_token_that_is_signed_late_has_the_times_of_its_row(kernel: Kernel, clock: FixedClock) -> None:
    """⚑ Whatever delays the signature, `iat` and `exp` are those that the revocation list counts on."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    live = await kernel.sessions.rotate(first.refresh_token, client_id=FIRST_PARTY, client=HOME)
    rotated_at = clock.now()
    clock.advance(5 * MINUTE)
    tokens = kernel.sessions.sign(live)
    claims = claims_of(kernel, tokens)
    assert (claims.iat, claims.exp, tokens.expires_in) == (rotated_at, rotated_at + LIFE, 10 * MINUTE)


async def test_no_token_outlives_what_its_row_says_even_after_the_life_setting_grew(
    open_kernel: Opener, clock: FixedClock
) -> None:
    """⚑ A grace answer of a process with a longer life setting stays within the row's `access_until`.

    Otherwise the entry of a log-out, computed from the row, would end long before the token.
    """
    async with open_kernel(access_lifetime="15m") as before:
        await join(before)
        first = (await log_in(before)).tokens
        await refresh(before, first.refresh_token)
    clock.advance(10)
    async with open_kernel(access_lifetime="24h") as after:
        again = await refresh(after, first.refresh_token)
        claims = claims_of(after, again)
        assert claims.exp == (await session_row(after, claims.sid))["access_until"]
        assert again.expires_in == claims.exp - clock.now()
        await after.sessions.log_out(claims=claims, presented=None, client=HOME)
        assert (await entries(after))[-1]["expires_at"] >= claims.exp + SKEW


async def test_grace_after_the_access_token_has_expired_says_zero_seconds(
    open_kernel: Opener, clock: FixedClock
) -> None:
    """With a life shorter than the window `expires_in` is 0, never negative."""
    async with open_kernel(access_lifetime="10s") as kernel:
        await join(kernel)
        first = (await log_in(kernel)).tokens
        second = await refresh(kernel, first.refresh_token)
        clock.advance(20)
        again = await refresh(kernel, first.refresh_token)
        assert (again.expires_in, again.refresh_token) == (0, second.refresh_token)


@pytest.mark.parametrize(("steps", "kind"), [(1, "one_behind"), (2, "stale"), (3, "stale")])
async def test_e3_reuse_ends_the_session_and_that_is_stored_although_the_request_fails(
    kernel: Kernel, clock: FixedClock, steps: int, kind: str
) -> None:
    """⚑ After the refusal the end, its entry and its record are stored: raising inside the unit would undo them."""
    await join(kernel)
    newest = stolen = (await log_in(kernel)).tokens
    for _ in range(steps):
        clock.advance(31)
        newest = await refresh(kernel, newest.refresh_token)
    claims = claims_of(kernel, newest)
    clock.advance(31)
    assert await refusal(kernel, stolen.refresh_token, client=AWAY) == "refresh_token_reused"
    row = await session_row(kernel, claims.sid)
    assert (row["ended_at"], row["end_reason"]) == (clock.now(), "refresh_reuse")
    (entry,) = await entries(kernel)
    assert (entry["kind"], entry["subject"], entry["expires_at"]) == ("session", claims.sid, claims.exp + SKEW)
    record = await last_record(kernel)
    assert (record["event"], record["outcome"], record["detail"]) == (
        "refresh", "refresh_token_reused", {"class": kind},
    )  # fmt: skip
    assert (record["user_id"], record["session_id"], record["address"]) == (claims.sub, claims.sid, AWAY.address)
    assert kernel.revocations.refused.refuses(claims)
    assert await refusal(kernel, newest.refresh_token) == "session_ended"


@pytest.mark.parametrize("end", ["logged_out", "disabled", "absolute", "idle"])
@pytest.mark.parametrize("generation", ["parent_in_grace", "stale", "newest"])
async def test_e4_e6_what_has_ended_is_said_first(kernel: Kernel, clock: FixedClock, end: str, generation: str) -> None:
    """⚑ A session that is over has no grace, and nobody is accused of reuse in it: `session_ended`, nothing else."""
    user = await join(kernel)
    tokens = [(await log_in(kernel)).tokens]
    for _ in range(2):
        clock.advance(31)
        tokens.append(await refresh(kernel, tokens[-1].refresh_token))
    claims = claims_of(kernel, tokens[-1])
    if end == "logged_out":
        await kernel.sessions.log_out(claims=claims, presented=None, client=HOME)
    elif end == "disabled":
        await operator(kernel).disable(user.id)
    else:
        column = "expires_at" if end == "absolute" else "idle_expires_at"
        await kernel.database.run(f"UPDATE ww_sessions SET {column} = :now", now=clock.now())
    published = await entries(kernel)
    presented = {"newest": 2, "parent_in_grace": 1, "stale": 0}[generation]
    assert await refusal(kernel, tokens[presented].refresh_token) == "session_ended"
    assert await entries(kernel) == published
    assert (await last_record(kernel))["outcome"] == "session_ended"


async def test_e6_a_disabled_user_whose_session_row_was_left_alone_gets_nothing(kernel: Kernel) -> None:
    """The UPDATE itself asks whether the user is active, whatever the session's row says."""
    user = await join(kernel)
    tokens = (await log_in(kernel)).tokens
    await kernel.database.run("UPDATE ww_users SET disabled_at = 1 WHERE id = :id", id=user.id)
    assert await refusal(kernel, tokens.refresh_token) == "session_ended"


async def test_the_token_of_a_deleted_user_is_of_an_ended_session(kernel: Kernel) -> None:
    """Genuine, but nothing is left of it."""
    user = await join(kernel)
    tokens = (await log_in(kernel)).tokens
    await kernel.database.run("DELETE FROM ww_users WHERE id = :id", id=user.id)
    assert await refusal(kernel, tokens.refresh_token) == "session_ended"


async def test_a_slow_tab_is_told_so_and_ends_nothing(kernel: Kernel, clock: FixedClock) -> None:
    """Two behind within the window: refused, nothing issued, and the newest token goes on working."""
    await join(kernel)
    tokens = [(await log_in(kernel)).tokens]
    for _ in range(2):
        clock.advance(5)
        tokens.append(await refresh(kernel, tokens[-1].refresh_token))
    before = await recorded(kernel, "ww_sessions")
    assert await refusal(kernel, tokens[0].refresh_token) == "refresh_superseded"
    assert await recorded(kernel, "ww_sessions") == before
    assert await entries(kernel) == []
    assert (await last_record(kernel))["outcome"] == "refresh_superseded"
    await refresh(kernel, tokens[-1].refresh_token)


async def test_e4_the_third_grace_elsewhere_is_reuse(kernel: Kernel, clock: FixedClock) -> None:
    """Two answers go to another network and agent, each with a record; the third asker is the thief in the window."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token)
    for _ in range(2):
        assert (await refresh(kernel, first.refresh_token, client=AWAY)).refresh_token == second.refresh_token
        assert (await last_record(kernel))["outcome"] == "grace_elsewhere"
    assert await refusal(kernel, first.refresh_token, client=AWAY) == "refresh_token_reused"
    assert (await last_record(kernel))["detail"] == {"class": "one_behind"}
    assert await refusal(kernel, second.refresh_token) == "session_ended"


async def test_e4_an_ordinary_rotation_begins_the_count_of_graces_elsewhere_anew(kernel: Kernel) -> None:
    """Two here and two there are not three in a row."""
    await join(kernel)
    current = (await log_in(kernel)).tokens
    for _ in range(3):
        parent, current = current, await refresh(kernel, current.refresh_token)
        for _ in range(2):
            assert (await refresh(kernel, parent.refresh_token, client=AWAY)).refresh_token == current.refresh_token
    assert (await session_row(kernel, claims_of(kernel, current).sid))["ended_at"] is None


@pytest.mark.parametrize(
    "client",
    [
        HOME._replace(agent="Chrome"),
        HOME._replace(address="198.51.100.7"),
        HOME._replace(address="192.0.2.99", agent="Chrome"),
        HOME._replace(address="::ffff:192.0.2.77", agent="Chrome"),
    ],
    ids=["same_network", "same_agent", "same_prefix", "same_prefix_mapped"],
)
async def test_a_grace_counts_as_elsewhere_only_by_network_and_agent_together(kernel: Kernel, client: Client) -> None:
    """A telephone that changes networks and a browser that updates itself are not elsewhere."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token)
    for _ in range(4):
        assert (await refresh(kernel, first.refresh_token, client=client)).refresh_token == second.refresh_token


async def test_e6_another_clients_token_is_refused_and_ends_nothing(kernel: Kernel, clock: FixedClock) -> None:
    """A client that got hold of another's token, new or old, can neither use it nor end the session with it."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token)
    clock.advance(MINUTE)
    before = await recorded(kernel, "ww_sessions")
    for token in (first.refresh_token, second.refresh_token):
        assert await refusal(kernel, token, client_id="another") == "refresh_token_invalid"
    assert await recorded(kernel, "ww_sessions") == before
    assert await entries(kernel) == []
    await refresh(kernel, second.refresh_token)


def restore(copy: Path, database: Path) -> None:
    """What an operator does: the copy takes the file's place, and its log goes."""
    for left in database.parent.glob(f"{database.name}-*"):
        left.unlink()
    shutil.copy(copy, database)


@pytest.mark.sqlite
async def test_a_restored_database_serves_the_newest_holder_and_recognises_the_older(
    open_kernel: Opener, clock: FixedClock, tmp_path: Path
) -> None:
    """Copy the file, rotate three times, put the copy back: the newest token goes on, an older one is reuse."""
    async with open_kernel() as kernel:
        await join(kernel)
        tokens = [(await log_in(kernel)).tokens]
    shutil.copy(tmp_path / "watchword.db", tmp_path / "copy")
    async with open_kernel() as kernel:
        for _ in range(3):
            clock.advance(MINUTE)
            tokens.append(await refresh(kernel, tokens[-1].refresh_token))
    restore(tmp_path / "copy", tmp_path / "watchword.db")
    async with open_kernel() as kernel:
        clock.advance(MINUTE)
        served = await refresh(kernel, tokens[3].refresh_token)
        claims = claims_of(kernel, served)
        row = await session_row(kernel, claims.sid)
        assert (row["generation"], row["rotated_at"], row["access_until"]) == (4, clock.now(), claims.exp)
        assert claims.iat == clock.now()
        record = await last_record(kernel)
        assert (record["event"], record["detail"]) == ("storage_rollback", {"stored": "0", "presented": "3"})
        clock.advance(1)
        # A lost answer is asked for again, as after any other rotation.
        assert (await refresh(kernel, tokens[3].refresh_token)).refresh_token == served.refresh_token
        assert await refusal(kernel, tokens[2].refresh_token, client=AWAY) == "refresh_token_reused"
        assert await refusal(kernel, served.refresh_token) == "session_ended"


async def test_a_restored_database_revives_no_ended_session(kernel: Kernel) -> None:
    """A token from the future of a row that says it has ended gets nothing."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token)
    await kernel.sessions.log_out(claims=claims_of(kernel, second), presented=None, client=HOME)
    await kernel.database.run("UPDATE ww_sessions SET generation = 0")
    assert await refusal(kernel, second.refresh_token) == "session_ended"


async def test_e2_64_at_once_make_one_step_and_get_one_successor(kernel: Kernel, clock: FixedClock) -> None:
    """Fifty rounds of 64 tabs that refresh one token in the same moment: one rotation each, one descendant."""
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    sid = claims_of(kernel, tokens).sid
    for generation in range(1, 51):
        clock.advance(1)
        answers = await asyncio.gather(*(refresh(kernel, tokens.refresh_token) for _ in range(64)))
        assert len({answer.refresh_token for answer in answers}) == 1
        assert (await session_row(kernel, sid))["generation"] == generation
        assert {claims_of(kernel, answer).iat for answer in answers[:4]} == {clock.now()}
        tokens = answers[0]
    assert await entries(kernel) == []


async def test_e2_two_processes_that_refresh_at_once_agree(open_kernel: Opener, clock: FixedClock) -> None:
    """Two kernels on one file, each with its own connections: still one step and one successor."""
    async with open_kernel() as one, open_kernel() as other:
        await join(one)
        tokens = (await log_in(one)).tokens
        for generation in range(1, 6):
            clock.advance(1)
            answers = await asyncio.gather(
                *(refresh(kernel, tokens.refresh_token) for _ in range(8) for kernel in (one, other))
            )
            assert len({answer.refresh_token for answer in answers}) == 1
            tokens = answers[0]
            assert (await session_row(one, claims_of(one, tokens).sid))["generation"] == generation


async def test_e5_the_absolute_life_is_never_extended(kernel: Kernel, clock: FixedClock) -> None:
    """Refreshed every day the session still ends thirty days after log-in, to the second."""
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    sid = claims_of(kernel, tokens).sid
    started, expires_at = clock.now(), (await session_row(kernel, sid))["expires_at"]
    assert expires_at == started + 30 * DAY
    for day in range(1, 30):
        clock.advance(DAY)
        tokens = await refresh(kernel, tokens.refresh_token)
        assert tokens.refresh_expires_in == min(7 * DAY, (30 - day) * DAY)
        assert (await session_row(kernel, sid))["expires_at"] == expires_at
    clock.advance(DAY - 1)
    tokens = await refresh(kernel, tokens.refresh_token)
    assert tokens.refresh_expires_in == 1
    clock.advance(1)
    assert clock.now() == expires_at
    assert await refusal(kernel, tokens.refresh_token) == "session_ended"


@pytest.mark.parametrize(("waited", "lives"), [(7 * DAY - 1, True), (7 * DAY, False)])
async def test_e5_j15_the_idle_life_ends_on_its_second(
    kernel: Kernel, clock: FixedClock, waited: int, lives: bool
) -> None:
    """One second before the week is over it can be refreshed, on the second it cannot; no sweep has run."""
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    clock.advance(waited)
    if lives:
        await refresh(kernel, tokens.refresh_token)
    else:
        assert await refusal(kernel, tokens.refresh_token) == "session_ended"


async def test_master_secrets_rotate_without_logging_anybody_out(open_kernel: Opener, clock: FixedClock) -> None:
    """A token made under an earlier secret works while that one is listed, and its successor is made under the new."""
    old, new = (sha256(name).digest() for name in (b"old", b"new"))
    async with open_kernel(secret=(old,)) as kernel:
        await join(kernel)
        tokens = (await log_in(kernel)).tokens
        idle = (await log_in(kernel)).tokens
    async with open_kernel(secret=(new, old)) as kernel:
        clock.advance(1)
        successor = await refresh(kernel, tokens.refresh_token)
        assert (await refresh(kernel, tokens.refresh_token)).refresh_token == successor.refresh_token
    async with open_kernel(secret=(new,)) as kernel:
        await refresh(kernel, successor.refresh_token)
        assert await refusal(kernel, idle.refresh_token) == "refresh_token_invalid"


@pytest.mark.sqlite
@pytest.mark.parametrize("make", ["empty", "words", "other_prefix", "short", "long", "flipped", "padded", "non_ascii"])
async def test_garbage_is_refused_without_asking_the_database(kernel: Kernel, make: str) -> None:
    """Whoever guesses costs no statement, leaves no record, and can end nobody's session."""
    await join(kernel)
    genuine = (await log_in(kernel)).tokens.refresh_token
    raw = bytearray(urlsafe_b64decode(genuine[4:] + "=" * (-len(genuine[4:]) % 4)))
    raw[20] ^= 1  # the last byte of the generation
    flipped = REFRESH_PREFIX + urlsafe_b64encode(raw).decode().rstrip("=")
    garbage = {
        "empty": "",
        "words": "let me in",
        "other_prefix": "wwx_" + genuine[4:],
        "short": genuine[:-1],
        "long": genuine + "A",
        "flipped": flipped,
        "padded": genuine + "=",
        "non_ascii": genuine[:-1] + "é",
    }[make]
    before = await everything(kernel)
    with statements(kernel) as seen:
        assert await refusal(kernel, garbage) == "refresh_token_invalid"
    assert seen.seen == []
    assert await everything(kernel) == before


@pytest.mark.sqlite
async def test_e1_the_database_holds_the_hash_of_the_handle_and_nothing_else_of_a_token(kernel: Kernel) -> None:
    """Search the files, log included: no token, no handle in any spelling, only its SHA-256."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token)
    dump = file_contents(kernel)
    decoded = urlsafe_b64decode(first.refresh_token[4:] + "==")
    handle = decoded[1:17]
    for tokens in (first, second):
        assert tokens.refresh_token.encode() not in dump
        assert tokens.refresh_token[4:30].encode() not in dump
        assert tokens.access_token.rpartition(".")[2].encode() not in dump
    for spelling in (handle, handle.hex().encode(), urlsafe_b64encode(handle).rstrip(b"=")):
        assert spelling not in dump
    row = await session_row(kernel, claims_of(kernel, second).sid)
    assert row["handle_hash"].encode() in dump


async def test_e9_each_log_in_makes_a_new_session_and_ends_the_one_that_came_with_it(
    kernel: Kernel, clock: FixedClock
) -> None:
    """Session fixation: what the browser brought along is never promoted, and is refused at once."""
    await join(kernel)
    planted = await log_in(kernel)
    old = claims_of(kernel, planted)
    clock.advance(MINUTE)
    fresh = await log_in(kernel, replacing=planted.tokens.refresh_token)
    new = claims_of(kernel, fresh)
    assert new.sid != old.sid
    assert fresh.tokens.refresh_token != planted.tokens.refresh_token
    row = await session_row(kernel, old.sid)
    assert (row["ended_at"], row["end_reason"]) == (clock.now(), "replaced")
    (entry,) = await entries(kernel)
    assert (entry["kind"], entry["subject"], entry["expires_at"]) == ("session", old.sid, old.exp + SKEW)
    assert kernel.revocations.refused.refuses(old)
    assert await refusal(kernel, planted.tokens.refresh_token) == "session_ended"
    await refresh(kernel, fresh.tokens.refresh_token)


async def test_e9_a_failed_log_in_ends_nothing(kernel: Kernel) -> None:
    """The session that came along ends with success only; otherwise a form on another site could end it."""
    await join(kernel)
    held = (await log_in(kernel)).tokens.refresh_token

    async def refused(_: object) -> None:
        return None

    with pytest.raises(Unauthenticated):
        await log_in(kernel, prove=refused, replacing=held)
    await refresh(kernel, held)


@pytest.mark.parametrize("replacing", ["", "garbage", "wwr_" + "A" * 50])
async def test_e9_a_cookie_that_is_not_ours_does_not_stop_a_log_in(kernel: Kernel, replacing: str) -> None:
    """Whatever the browser still carried: the log-in works and ends nothing."""
    await join(kernel)
    await log_in(kernel, replacing=replacing)
    assert await entries(kernel) == []


async def test_e10_the_list_shows_live_sessions_and_no_credential(kernel: Kernel, clock: FixedClock) -> None:
    """Device, time and address of what can still be refreshed; an id opens nothing."""
    user = await join(kernel)
    ended, idle = await log_in(kernel), await log_in(kernel)
    await kernel.sessions.log_out(claims=claims_of(kernel, ended), presented=None, client=HOME)
    clock.advance(7 * DAY)
    kept = await log_in(kernel, client=AWAY)
    (view,) = await kernel.sessions.page(user.id)
    assert (view.id, view.address, view.agent) == (claims_of(kernel, kept).sid, AWAY.address, AWAY.agent)
    assert (view.created_at, view.last_used_at, view.expires_at) == (clock.now(), clock.now(), clock.now() + 7 * DAY)
    assert await refusal(kernel, view.id) == "refresh_token_invalid"
    assert await refusal(kernel, idle.tokens.refresh_token) == "session_ended"


async def test_e10_the_list_has_pages(kernel: Kernel) -> None:
    """Each page begins after the last id of the one before, and nothing is left out or repeated."""
    user = await join(kernel)
    opened = [claims_of(kernel, await log_in(kernel)).sid for _ in range(5)]
    found: list[str] = []
    while page := await kernel.sessions.page(user.id, after=found[-1] if found else "", limit=2):
        found += [view.id for view in page]
    assert found == sorted(str(sid) for sid in opened)


async def test_e5_the_idle_life_is_cut_at_the_absolute_end(open_kernel: Opener, clock: FixedClock) -> None:
    """What a client is told about its refresh token never reaches beyond the session."""
    async with open_kernel(refresh_idle="50m", session_lifetime="1h") as kernel:
        await join(kernel)
        tokens = (await log_in(kernel)).tokens
        assert tokens.refresh_expires_in == 50 * MINUTE
        clock.advance(40 * MINUTE)
        assert (await refresh(kernel, tokens.refresh_token)).refresh_expires_in == 20 * MINUTE
