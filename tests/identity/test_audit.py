"""One record for each decision: who, what, when, from where, how it ended; and never a secret (J9, ASVS 16.3)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import structlog

import watchword
from tests.identity.scenes import (
    AWAY,
    HOME,
    OTHER_PASSWORD,
    PASSWORD,
    change_password,
    claims_of,
    everything,
    join,
    log_in,
    operator,
    proven,
    recorded,
    refresh,
    unproven,
)
from watchword.clock import FixedClock
from watchword.errors import Conflict, InvalidInput, NotFound, Refused, Unauthenticated
from watchword.features.accounts.service import Accounts
from watchword.features.passwords.service import Passwords
from watchword.identity import audit
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.one_time import Found, Issued
from watchword.identity.sessions.sessions import Tokens
from watchword.identity.showing import Brought
from watchword.identity.users import User
from watchword.storage.database import Tx


class Story:
    """A user with a session, and what has been recorded since one last looked."""

    def __init__(self, kernel: Kernel, clock: FixedClock, user: User, session: LoggedIn) -> None:
        self.kernel = kernel
        self.clock = clock
        self.user = user
        self.session = session

    @property
    def sid(self) -> str | None:
        return self.kernel.verifier.verify_expired(self.session.tokens.access_token).sid

    async def rotate(self) -> Tokens:
        return await refresh(self.kernel, self.session.tokens.refresh_token)


Deed = Callable[[Story], Awaitable[object]]


async def _refused(story: Story) -> None:
    await log_in(story.kernel, prove=unproven, client=AWAY)


async def _unknown(story: Story) -> None:
    await log_in(story.kernel, "nobody", prove=unproven, client=AWAY)


async def _confirm(story: Story) -> None:
    await story.kernel.login.confirm(story.user.id, unproven, client=AWAY)


async def _reuse(story: Story) -> None:
    await story.rotate()
    story.clock.advance(31)
    await refresh(story.kernel, story.session.tokens.refresh_token, client=AWAY)


async def _superseded(story: Story) -> None:
    await refresh(story.kernel, (await story.rotate()).refresh_token)
    await refresh(story.kernel, story.session.tokens.refresh_token, client=AWAY)


async def _grace_elsewhere(story: Story) -> None:
    await story.rotate()
    await refresh(story.kernel, story.session.tokens.refresh_token, client=AWAY)


async def _ended(story: Story) -> None:
    await story.kernel.database.run("UPDATE ww_sessions SET ended_at = 1")
    await refresh(story.kernel, story.session.tokens.refresh_token, client=AWAY)


async def _other_client(story: Story) -> None:
    await refresh(story.kernel, story.session.tokens.refresh_token, client_id="another", client=AWAY)


async def _log_out(story: Story) -> None:
    await story.kernel.sessions.log_out(claims=claims_of(story.kernel, story.session), presented=None, client=AWAY)


async def _log_out_by_cookie(story: Story) -> None:
    await story.kernel.sessions.log_out(claims=None, presented=story.session.tokens.refresh_token, client=AWAY)


async def _end(story: Story) -> None:
    await story.kernel.sessions.end(claims_of(story.kernel, story.session), str(story.sid), client=AWAY)


async def _end_others(story: Story) -> None:
    await log_in(story.kernel)  # one to end, without which nothing is written
    await story.kernel.database.run("DELETE FROM ww_audit WHERE id = (SELECT MAX(id) FROM ww_audit)")
    await story.kernel.sessions.end_others(claims_of(story.kernel, story.session), client=AWAY)


async def _change_password(story: Story) -> None:
    candidate = await story.kernel.login.confirm(story.user.id, proven, client=AWAY)
    caller = claims_of(story.kernel, story.session)
    await change_password(story.kernel, caller, candidate, "$argon2id$x", client=AWAY, client_id=FIRST_PARTY)


async def _change_name(story: Story) -> None:
    caller = claims_of(story.kernel, story.session)
    await Accounts(story.kernel).change(caller, username="alicia", email=None, password=None, client=AWAY)


async def _rollback(story: Story) -> None:
    tokens = await story.rotate()
    await story.kernel.database.run("UPDATE ww_sessions SET generation = 0")
    await refresh(story.kernel, tokens.refresh_token, client=AWAY)


async def _link(story: Story, purpose: str) -> Found:
    async def unit(tx: Tx) -> Issued:
        return await story.kernel.one_time.issue(
            tx, purpose, "alice@example.org", user_id=story.user.id, detail={"email": "alice@example.org"}
        )

    issued = await story.kernel.database.transact(unit)
    derived = await story.kernel.one_time.derive(issued.id, issued.seed)
    assert derived is not None
    return await story.kernel.addresses.found((purpose,), token=derived.token, client=HOME)


async def _verify(story: Story) -> None:
    brought = Brought(session=story.session.tokens.refresh_token)
    await story.kernel.addresses.confirm(await _link(story, "verify"), client=AWAY, brought=brought)


async def _undo(story: Story) -> None:
    await story.kernel.addresses.undo(await _link(story, "undo"), client=AWAY)


async def _reset(story: Story) -> None:
    link = await _link(story, "reset")
    await story.kernel.addresses.reset_password(link, "velvet-anchor-ripple", client=AWAY, field="password")


async def _unverified(story: Story) -> None:
    story.kernel.login._needs_verified = True
    await log_in(story.kernel, client=AWAY)


# deed → event, outcome, whether the user, the session and the actor are known, the detail
DECISIONS: dict[str, tuple[Deed, str, str, str, dict[str, str]]] = {
    "log_in": (lambda s: log_in(s.kernel, client=AWAY), "log_in", "ok", "user new actor", {}),
    "log_in_refused": (_refused, "log_in", "refused", "user", {}),
    "log_in_unknown": (_unknown, "log_in", "refused", "", {}),
    "confirm_refused": (_confirm, "confirm", "refused", "user", {}),
    "reuse": (_reuse, "refresh", "refresh_token_reused", "user session", {"class": "one_behind"}),
    "superseded": (_superseded, "refresh", "refresh_superseded", "user session", {}),
    "grace_elsewhere": (_grace_elsewhere, "refresh", "grace_elsewhere", "user session", {}),
    "refresh_ended": (_ended, "refresh", "session_ended", "user session", {}),
    "refresh_other_client": (_other_client, "refresh", "refresh_token_invalid", "user session", {}),
    "rollback": (_rollback, "storage_rollback", "ok", "user session", {"stored": "0", "presented": "1"}),
    "log_out": (_log_out, "logged_out", "ok", "user session actor", {}),
    "log_out_by_cookie": (_log_out_by_cookie, "logged_out", "ok", "user session actor", {}),
    "end": (_end, "session_ended", "ok", "user session actor", {}),
    "end_others": (_end_others, "other_sessions_ended", "ok", "user session actor", {"count": "1"}),
    "password": (_change_password, "password_changed", "ok", "user new actor", {}),
    "verify": (_verify, "email_verified", "ok", "user actor", {}),
    "undo": (_undo, "email_change_undone", "ok", "user actor", {}),
    "reset": (_reset, "password_reset", "ok", "user actor", {"email": "confirmed"}),
    "unverified": (_unverified, "log_in", "unverified", "user", {}),
    "username": (_change_name, "user_changed", "ok", "user actor", {"fields": "username"}),
    "disable": (lambda s: operator(s.kernel, client=AWAY).disable(s.user.id), "user_disabled", "ok", "user", {}),
    "enable": (lambda s: operator(s.kernel, client=AWAY).enable(s.user.id), "user_enabled", "ok", "user", {}),
    "set_password": (
        lambda s: operator(s.kernel, client=AWAY).set_password(s.user, OTHER_PASSWORD),
        "password_set",
        "ok",
        "user",
        {},
    ),
    "invite": (lambda s: operator(s.kernel, client=AWAY).invite(s.user), "user_invited", "ok", "user", {}),
    "end_sessions": (
        lambda s: operator(s.kernel, client=AWAY).end_sessions(s.user),
        "sessions_ended",
        "ok",
        "user",
        {"count": "1"},
    ),
    "end_session": (
        lambda s: operator(s.kernel, client=AWAY).end_session(str(s.sid)),
        "session_ended",
        "ok",
        "user session",
        {"reason": "operator"},
    ),
    "add_role": (
        lambda s: operator(s.kernel, client=AWAY).change_roles(s.user.id, lambda held: held | {"a"}),
        "roles_changed",
        "ok",
        "user",
        {},
    ),
}


@pytest.mark.parametrize("name", DECISIONS)
async def test_J9_each_decision_leaves_exactly_one_record(kernel: Kernel, clock: FixedClock, name: str) -> None:
    """Who, what, when, from where, with which result: one row more, and every column of it is right."""
    deed, event, outcome, known, detail = DECISIONS[name]
    story = Story(kernel, clock, await join(kernel), await log_in(kernel))
    clock.advance(5)
    before = len(await recorded(kernel, "ww_audit"))
    try:
        await deed(story)
    except Refused:
        assert outcome not in {"ok", "grace_elsewhere"}
    records = (await recorded(kernel, "ww_audit"))[before:]
    assert len(records) == 1
    (record,) = records
    assert (record["event"], record["outcome"], json.loads(record["detail"])) == (event, outcome, detail)
    assert (record["at"], record["address"], record["agent"], record["request_id"]) == (clock.now(), *AWAY[:3])
    assert record["user_id"] == (story.user.id if "user" in known else None)
    assert record["actor_id"] == (story.user.id if "actor" in known else None)
    if "new" in known:
        assert record["session_id"] in {row["id"] for row in await recorded(kernel, "ww_sessions")} - {story.sid}
    else:
        assert record["session_id"] == (story.sid if "session" in known else None)


@pytest.mark.parametrize("name", ["superseded", "refresh_ended", "refresh_other_client"])
async def test_H4_a_refusal_is_recorded_once_an_hour(kernel: Kernel, clock: FixedClock, name: str) -> None:
    """⚑ A dead token, presented for ever, wrote 3,000 rows a second: each kind of refusal of a session has one."""
    deed, _, outcome, _, _ = DECISIONS[name]
    story = Story(kernel, clock, await join(kernel), await log_in(kernel))

    async def records() -> int:
        return [row["outcome"] for row in await recorded(kernel, "ww_audit")].count(outcome)

    async def again() -> None:
        with pytest.raises(Refused):
            await refresh(
                kernel,
                story.session.tokens.refresh_token,
                client_id="another" if name == "refresh_other_client" else FIRST_PARTY,
                client=AWAY,
            )

    with contextlib.suppress(Refused):
        await deed(story)
    before = await everything(kernel)
    await asyncio.gather(*(again() for _ in range(200)))
    assert await everything(kernel) == before
    assert await records() == 1
    if name != "superseded":  # which is reuse by then
        clock.advance(3600)
        await again()
        await again()
        assert await records() == 2


async def test_H4_a_session_that_is_gone_is_written_down_nowhere(kernel: Kernel) -> None:
    """⚑ Also once the row has been swept, its token changes nothing but the count in the log."""
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    await kernel.database.run("DELETE FROM ww_sessions")
    before = await everything(kernel)
    with structlog.testing.capture_logs() as lines:
        for _ in range(100):
            with pytest.raises(Unauthenticated):
                await refresh(kernel, tokens.refresh_token)
    assert await everything(kernel) == before
    told = [line for line in lines if line["event"] == "refresh_refused"]
    assert 1 <= len(told) <= 5
    assert (told[0]["code"], told[0]["count"], told[0]["address"]) == ("session_ended", 1, HOME.address)


@pytest.mark.parametrize("change", [{}, {"username": "alice"}])
async def test_H4_a_change_of_nothing_writes_nothing(kernel: Kernel, change: dict[str, str]) -> None:
    """⚑ No limit bounds how often it is asked for."""
    user = await join(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    before = await everything(kernel)
    given = {"username": None, "email": None, "password": None, **change}
    answer = await Accounts(kernel).change(caller, client=HOME, **given)  # type: ignore[arg-type]
    assert (answer.id, answer.username, answer.updated_at) == (user.id, "alice", user.updated_at)
    assert await everything(kernel) == before


async def test_J9_a_session_that_a_log_in_replaces_has_its_record(kernel: Kernel) -> None:
    """⚑ Of whoever it belonged to: the cookie in a browser may be somebody else's."""
    alice, sam = await join(kernel), await join(kernel, "sam")
    first = await log_in(kernel)
    before = len(await recorded(kernel, "ww_audit"))
    await log_in(kernel, "sam", client=AWAY, replacing=first.tokens.refresh_token)
    ended, logged_in = (await recorded(kernel, "ww_audit"))[before:]
    assert (ended["event"], json.loads(ended["detail"])) == ("session_ended", {"reason": "replaced"})
    assert (ended["user_id"], ended["address"]) == (alice.id, AWAY.address)
    assert ended["session_id"] == kernel.verifier.verify_expired(first.tokens.access_token).sid
    assert (logged_in["event"], logged_in["user_id"]) == ("log_in", sam.id)


@pytest.mark.parametrize("kind", ["refresh", "grace", "profile", "garbage"])
async def test_what_is_no_decision_leaves_no_record(kernel: Kernel, clock: FixedClock, kind: str) -> None:
    """A successful refresh is counted elsewhere; a lost answer asked for again is the same; garbage costs nothing."""
    story = Story(kernel, clock, await join(kernel), await log_in(kernel))
    await story.rotate()
    before = await recorded(kernel, "ww_audit")
    if kind == "profile":
        await Accounts(kernel).profile(claims_of(kernel, story.session))
    elif kind == "garbage":
        with pytest.raises(Unauthenticated):
            await refresh(kernel, "wwr_garbage")
    elif kind == "grace":
        await story.rotate()
    assert await recorded(kernel, "ww_audit") == before


async def test_what_failed_before_it_was_decided_leaves_no_record(kernel: Kernel) -> None:
    """A name that is taken, a password that may not be set, a session that is not there: nothing happened."""
    user = await join(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    before = await recorded(kernel, "ww_audit")
    with pytest.raises(Conflict):
        await join(kernel)
    with pytest.raises(InvalidInput):
        await kernel.users.hash_new_password(user, "short", field="password", address=None)
    with pytest.raises(NotFound):
        await kernel.sessions.end(caller, "nothing", client=HOME)
    assert await recorded(kernel, "ww_audit") == before


@pytest.mark.parametrize(
    ("event", "outcome", "detail"),
    [
        ("log_inn", "ok", {}),
        ("", "ok", {}),
        ("log_in", "ok", {"password": "x"}),
        ("key_retired", "ok", {"kid": "k", "status": "retired"}),
        ("log_in", "maybe", {}),
        ("refresh", "ok", {}),
    ],
)
async def test_J9_what_the_table_does_not_have_is_not_written(
    kernel: Kernel, event: str, outcome: str, detail: dict[str, str]
) -> None:
    """An event, an outcome or a field that no reader of the trail was told of; nor is what it came with stored."""
    before = await everything(kernel)

    async def unit(tx: Tx) -> None:
        await tx.run("INSERT INTO ww_meta (name, value) VALUES ('with_it', '')")
        await audit.record(tx, event, at=1, client=HOME, outcome=outcome, detail=detail)

    with pytest.raises(ValueError, match=r"watchword\.identity\.audit\.EVENTS"):
        await kernel.database.transact(unit)
    assert await everything(kernel) == before


def test_J9_every_event_of_the_table_is_written_somewhere() -> None:
    """The code has the name of each: the table tells of none that is not there any more."""
    sources = Path(watchword.__file__).parent
    written = "".join(path.read_text("utf-8") for path in sources.rglob("*.py") if path.name != "audit.py")
    assert [event.name for event in audit.EVENTS if f'"{event.name}"' not in written] == []


async def test_J8_no_secret_is_in_any_record(kernel: Kernel, clock: FixedClock) -> None:
    """Passwords, hashes, tokens, handles, names and addresses of mail: a whole life later none is in the trail."""
    accounts, passwords = Accounts(kernel), Passwords(kernel)
    before = len(await recorded(kernel, "ww_audit"))
    await accounts.register(username="alice", email="alice@example.org", password=PASSWORD, client=HOME)
    logged_in = await passwords.log_in("alice", PASSWORD, client=HOME, replacing=None)
    with pytest.raises(Unauthenticated):
        await passwords.log_in("alice@example.org", OTHER_PASSWORD, client=HOME, replacing=None)
    rotated = await refresh(kernel, logged_in.tokens.refresh_token)
    caller = claims_of(kernel, rotated)
    await accounts.change(caller, username=None, email="new@example.org", password=PASSWORD, client=HOME)
    rotated = await refresh(kernel, rotated.refresh_token)
    again = await passwords.change(claims_of(kernel, rotated), current=PASSWORD, new=OTHER_PASSWORD, client=HOME)
    stored = (await recorded(kernel, "ww_users"))[0]["password_hash"]
    hashes = [row["handle_hash"] for row in await recorded(kernel, "ww_sessions")]
    clock.advance(60)
    with pytest.raises(Unauthenticated):
        await refresh(kernel, logged_in.tokens.refresh_token)
    await accounts.close(claims_of(kernel, again), password=OTHER_PASSWORD, client=HOME)
    trail = json.dumps(await recorded(kernel, "ww_audit"))
    secrets = [PASSWORD, OTHER_PASSWORD, stored, *hashes, "alice", "example.org"]
    for tokens in (logged_in.tokens, rotated, again.tokens):
        secrets += [tokens.access_token, tokens.refresh_token, tokens.refresh_token[4:30]]
    assert [secret for secret in secrets if secret in trail] == []
    assert len(json.loads(trail)) == before + 7


@pytest.mark.parametrize("event", audit.EVENTS, ids=lambda event: event.name)
async def test_each_event_of_the_table_is_written_with_its_detail(kernel: Kernel, event: audit.Event) -> None:
    """All fields of its detail are stored."""
    detail, outcome = dict.fromkeys(event.detail, "x"), next(iter(event.outcomes))

    async def unit(tx: Tx) -> None:
        await audit.record(tx, event.name, at=1, client=HOME, outcome=outcome, detail=detail)

    await kernel.database.transact(unit)
    record = (await recorded(kernel, "ww_audit"))[-1]
    assert (record["event"], record["outcome"]) == (event.name, outcome)
    assert json.loads(record["detail"] or "{}") == detail
