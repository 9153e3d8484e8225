"""No statement takes longer because a table has grown (B5): each is asked, and its plan read.

A plan is a fact about the schema, not about this machine: no time is measured here.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.features.api import Api, served
from tests.identity import sql_texts
from tests.identity.scenes import (
    AWAY,
    DAY,
    HOME,
    HOUR,
    change_password,
    claims_of,
    join,
    log_in,
    meddle,
    proven,
    refresh,
    reset_password,
)
from watchword.clock import SystemClock
from watchword.errors import Conflict, NotFound, Unauthenticated
from watchword.features.accounts.service import Accounts
from watchword.features.health.service import Health
from watchword.features.oauth.inspection import TokenInspection
from watchword.identity import restoring, sweeping
from watchword.identity.audit import LOCAL
from watchword.identity.kernel import Kernel
from watchword.identity.keys import resealing
from watchword.identity.keys.master import Master
from watchword.identity.login import Candidate, Factor, LogIn, Proof, SecondFactor, SecondFactorNeeded
from watchword.identity.password_factor import keep_better
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.storage.migrate import bundled

pytestmark = pytest.mark.sqlite

GROWS = ("ww_users", "ww_sessions", "ww_revocations", "ww_audit", "ww_ephemeral")
# What only an operator asks, in a process of its own: about all users or all sessions there are.
WHOLE = (
    "UPDATE ww_users SET token_version = token_version + :far",
    "UPDATE ww_sessions SET ended_at = :now, end_reason = 'restored'",
    "SELECT COUNT(*) AS users FROM ww_users",
    "INSERT INTO ww_revocations (seq, kind, subject, min_version, expires_at) SELECT",
    "SELECT COUNT(*) AS sessions, MAX(idle_expires_at) AS until FROM ww_sessions",
)
SEEKS = (
    # One row to a key.
    *("sqlite_autoindex_", "ww_users_username", "ww_users_email", "ww_sessions_handle"),
    # A user's sessions that have not ended, of which there are a hundred.
    "ww_sessions_live",
    # What the sweep deletes, as many as a batch has.
    *("ww_sessions_ended", "ww_sessions_expiry", "ww_revocations_expiry", "ww_ephemeral_expiry"),
)


OLD, NEW = (sha256(name).digest() for name in (b"old", b"new"))


async def _accounts(kernel: Kernel) -> None:
    user = await join(kernel, password="plum-orbit-canvas")
    with pytest.raises(Conflict):
        await join(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    accounts = Accounts(kernel)
    await accounts.change(caller, username="alicia", email="a@example.net", password="plum-orbit-canvas", client=HOME)
    await kernel.users.set_roles(user.id, ("reader",), client=HOME)
    await kernel.users.disable(user.id, client=HOME)
    await kernel.users.enable(user.id, client=HOME)
    await kernel.users.page(search="a")
    await kernel.users.find(user.id)
    await reset_password(kernel, user.id)

    async def upgraded(candidate: Candidate | None) -> Proof | None:
        return Proof("pwd", keep_better(user.id, "$argon2id$weaker", "$argon2id$stronger"))

    held = claims_of(kernel, await log_in(kernel, "alicia", prove=upgraded))
    candidate = await kernel.login.confirm(user.id, proven, client=HOME)
    again = await change_password(kernel, held, candidate, "$argon2id$x", client=HOME, client_id="watchword")
    guard = _nothing
    await kernel.users.delete(again.user, client=HOME, check=guard)


async def _second_factor(kernel: Kernel) -> None:
    async def needed(_: object) -> bool:
        return True

    async def prove(_: Candidate | None) -> Proof | None:
        return Proof("otp")

    await join(kernel, "carol")
    parts = (kernel.database, kernel.sessions, kernel.throttle, kernel.revocations, kernel.ephemeral, kernel.clock)
    login = LogIn(*parts, second_factors=(SecondFactor("otp", needed),))
    with pytest.raises(SecondFactorNeeded) as waiting:
        await login.attempt("carol", proven, client=HOME, client_id="watchword")
    await login.complete(waiting.value.handle, Factor(prove), client=HOME, client_id="watchword")


async def _nothing(_: object) -> None:
    return None


async def _sessions(kernel: Kernel) -> None:
    await join(kernel, "bob")
    first = await log_in(kernel, "bob")
    caller = claims_of(kernel, first)
    assert await kernel.sessions.end_others(caller, client=HOME) == 0
    other = claims_of(kernel, await log_in(kernel, "bob"))
    await kernel.sessions.page(other.sub)
    assert other.sid is not None
    await kernel.sessions.end(caller, other.sid, client=HOME)
    await log_in(kernel, "bob")
    await kernel.sessions.end_others(caller, client=HOME)
    key = (await kernel.guard_keys.create("orders", client=HOME))[1]
    inspection = TokenInspection(kernel)
    await kernel.guard_keys.find(key)
    await inspection.introspect(first.tokens.access_token)
    await inspection.introspect(first.tokens.refresh_token)
    await kernel.guard_keys.all()
    await kernel.guard_keys.revoke("orders", client=HOME)
    token = first.tokens.refresh_token
    second = (await refresh(kernel, token)).refresh_token
    await refresh(kernel, token, client=AWAY)  # in the grace window, from elsewhere
    meddle(kernel, "UPDATE ww_sessions SET generation = 0 WHERE ended_at IS NULL")
    third = (await refresh(kernel, second)).refresh_token  # after a restored backup
    kernel.clock.advance(HOUR)  # type: ignore[attr-defined]
    await refresh(kernel, third)
    with pytest.raises(Unauthenticated):
        await refresh(kernel, token)
    last = await log_in(kernel, "bob", replacing=third)
    await kernel.sessions.log_out(claims=claims_of(kernel, last), presented=last.tokens.refresh_token, client=HOME)


async def _the_rest(kernel: Kernel) -> None:
    assert all((await Health(kernel).checks()).values())
    kernel.database._writer.failed = True  # type: ignore[attr-defined]  # as after a full disk
    assert await kernel.database.writable()
    await kernel.feed.page(None, wait=False)
    store = SQLEphemeral(kernel.database)
    await store.put("a", "b", 60, kernel.clock.now())
    await store.get("a", kernel.clock.now())
    await store.take("a", kernel.clock.now())
    for _ in range(3):
        await kernel.keys.follow_schedule()
        kernel.clock.advance(31 * DAY)  # type: ignore[attr-defined]
    await kernel.keys.follow_schedule()
    await kernel.keys.store.all()
    published = await kernel.keys.store.published()
    await kernel.keys.store.revoke((published[0].kid,), client=LOCAL)
    with pytest.raises(NotFound):
        await kernel.keys.store.revoke(("none",), client=LOCAL)
    now = kernel.clock.now()
    rows = "x', 'h' || random(), 'u', '', '', '', 1, 1, 1, 1, NULL, 1, 1, 1, 0, {}, NULL, '', ''"
    for ended in ("1", "NULL"):
        meddle(kernel, f"INSERT INTO ww_sessions VALUES ('{ended}{rows.format(ended)})")
    await sweeping.sweep(kernel.database, now, audit_retention=kernel.settings.audit_retention)
    meddle(kernel, f"INSERT INTO ww_sessions VALUES ('idle{rows.format('NULL')})")
    assert await sweeping.Patrol(kernel.database).turn(now) == 1
    meddle(kernel, "INSERT INTO ww_audit VALUES ('0', 1, '', '', NULL, NULL, NULL, '', '', '', '')")
    await sweeping.sweep(kernel.database, now, audit_retention=kernel.settings.audit_retention)
    await store.sweep(now)
    await resealing.rotate(Master((NEW, OLD)), kernel.database, kernel.clock)
    await resealing.rotate(Master((OLD, NEW)), kernel.database, kernel.clock, go_back=True)
    await resealing.start(kernel.master, kernel.database, SystemClock())
    await restoring.note_restored(kernel.revocations, kernel.keys.store, kernel.clock, shared_secret=True)


async def test_no_statement_walks_a_table_that_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything the product does is done once; of each statement the plan is read, and every text was seen."""
    asked = sql_texts.Asked()
    monkeypatch.setattr(sqlite3, "connect", asked.connect)
    limits = {
        f"{name}_limit": "100/15m" for name in ("login", "login_address", "login_account", "register", "conflict")
    }
    limits |= {f"{name}_limit": "100/15m" for name in ("session", "session_address", "change", "change_address")}
    async with served(tmp_path, workers=2, secret=(OLD,), **limits) as api:
        await _over_http(api)
        for part in PARTS:
            await part(api.kernel)
        with sqlite3.Connection(str(api.kernel.settings.database_path)) as connection:
            faults = [fault for sql, values in asked.statements.items() for fault in _faults(connection, sql, values)]
    unseen = [
        f"{place}: {pieces[0][:70]}"
        for place, pieces in sql_texts.written()
        if not any(sql_texts.holds(sql, pieces) for sql in asked.statements)
    ]
    assert unseen == []
    assert faults == []


PARTS: tuple[Callable[[Kernel], Awaitable[None]], ...] = (_accounts, _sessions, _second_factor, _the_rest)


async def _over_http(api: Api) -> None:
    token = await api.newcomer()
    assert (await api.as_bearer("GET", "/sessions", token)).status_code == 200
    assert (await api.post("/login", json={"username": "nobody", "password": "x"})).status_code == 401


def _faults(connection: sqlite3.Connection, sql: str, values: object) -> list[str]:
    migrating = {sql_texts.plain(statement) for each in bundled() for statement in each.statements}
    if not re.match(r"SELECT|INSERT|UPDATE|DELETE|WITH", sql) or sql.startswith(WHOLE) or sql in migrating:
        return []
    steps = sql_texts.plan(connection, sql, values)
    grows = any(name in sql for name in GROWS)
    walks = [step for step in steps if _walks(step)]
    sorts = [step for step in steps if "TEMP B-TREE" in step and grows]
    return [f"{step}: {sql}" for step in walks + sorts]


def _walks(step: str) -> bool:
    """Whether a step looks at rows of a growing table without a key, or by a key that many rows have."""
    match = re.match(rf"(SCAN|SEARCH) ({'|'.join(GROWS)})\b(?: USING (?:COVERING )?INDEX (\w+))?", step)
    return match is not None and (match[1] == "SCAN" or match[3] is None or not match[3].startswith(SEEKS))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT MAX(access_until) FROM ww_sessions WHERE user_id = :user",
        "SELECT id FROM ww_audit WHERE user_id = :user",
        "SELECT id FROM ww_sessions WHERE user_id = :user AND ended_at IS NULL ORDER BY created_at DESC",
        "SELECT seq FROM ww_revocations WHERE expires_at <= :now ORDER BY seq",
    ],
)
async def test_the_plans_are_read_rightly(kernel: Kernel, sql: str) -> None:
    """What stood here before is found."""
    with sqlite3.connect(kernel.settings.database_path) as connection:
        assert _faults(connection, sql, {"user": "u", "now": 1}) != []
