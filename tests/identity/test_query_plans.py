"""No statement takes longer because a table has grown (B5): each is asked, and its plan read.

A plan is a fact about the schema, not about this machine: no time is measured here.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import jwt
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
    give_roles,
    join,
    log_in,
    meddle,
    operator,
    proven,
    refresh,
    reset_password,
)
from watchword.clock import SystemClock
from watchword.errors import Conflict, NotFound, SchemaMismatch, Unauthenticated
from watchword.features.accounts.service import Accounts
from watchword.features.codes.service import Codes
from watchword.features.health.service import Health
from watchword.features.mail.service import MailedAddresses
from watchword.features.oauth.inspection import TokenInspection
from watchword.identity import administrators, one_time, restoring, rights, roles, sweeping
from watchword.identity.administration import Administration, unchecked
from watchword.identity.api_keys import NewKey
from watchword.identity.arrivals import Record, arrival_of
from watchword.identity.audit import LOCAL
from watchword.identity.explaining import explain_token
from watchword.identity.factors import Candidate, Factor, Proof, SecondFactor
from watchword.identity.first_administrator import FirstAdministrator
from watchword.identity.granting import Operation
from watchword.identity.identifiers import typed
from watchword.identity.kernel import Kernel
from watchword.identity.keys import resealing
from watchword.identity.keys.master import Master
from watchword.identity.legacy_factor import LegacyFactor
from watchword.identity.login import LogIn, SecondFactorNeeded
from watchword.identity.moving_in import MovingIn
from watchword.identity.moving_out import MovingOut
from watchword.identity.one_time import Issued
from watchword.identity.own_claims import note_paths
from watchword.identity.password_factor import keep_better
from watchword.identity.revocation import note_legacy_until
from watchword.identity.service_accounts.account import Shown
from watchword.identity.service_accounts.accounts import NewAccount
from watchword.identity.showing import Brought
from watchword.identity.takes import Take
from watchword.identity.trail import reading
from watchword.identity.trail.chain import Chain
from watchword.identity.trail.verifying import Verification
from watchword.identity.user_list import Wanted, page
from watchword.storage.database import Tx
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.storage.migrate import bundled, status
from watchword.tokens.legacy import Legacy

pytestmark = pytest.mark.sqlite

GROWS = (
    "ww_api_keys",
    "ww_audit_checkpoints",
    "ww_audit_erasures",
    "ww_users",
    "ww_sessions",
    "ww_revocations",
    "ww_audit",
    "ww_ephemeral",
    "ww_outbox",
    "ww_one_time",
    "ww_devices",
    "ww_deliveries",
)
# What only an operator asks, in a process of its own or by a new setting: about all users or all sessions there are.
WHOLE = (
    "UPDATE ww_users SET token_version = token_version + :far",
    "UPDATE ww_sessions SET ended_at = :now, end_reason = 'restored'",
    "DELETE FROM ww_outbox",
    "DELETE FROM ww_one_time",
    "SELECT COUNT(*) AS users FROM ww_users",
    "SELECT COUNT(*) AS users, COUNT(CASE",
    "INSERT INTO ww_revocations (id, seq, kind, subject, min_version, expires_at) SELECT",
    "SELECT id, token_version FROM ww_users WHERE imported_at IS NOT NULL",
    "SELECT COUNT(*) AS sessions, MAX(idle_expires_at) AS until FROM ww_sessions",
    "SELECT ww_sessions.id AS id, user_id, username",
    "SELECT COUNT(*) AS records FROM ww_audit WHERE position IS NULL",
    "SELECT position, hash, at, newest_at, signer, mac, cut_at, cut_mac FROM ww_audit_checkpoints ORDER BY position",
    "SELECT ww_audit.id AS id, at, event, outcome",
    "SELECT id, position, at, event, outcome, user_id, session_id, detail FROM ww_audit WHERE id > :place",
)
SEEKS = (
    # One row to a key.
    *("sqlite_autoindex_", "ww_users_username", "ww_users_email", "ww_users_external"),
    "ww_users_admin",  # administrators, until one is found who is not disabled
    "ww_sessions_handle",
    # A user's sessions that have not ended, of which there are a hundred.
    "ww_sessions_live",
    # What the sweep deletes, as many as a batch has.
    *(
        "ww_sessions_ended",
        "ww_sessions_expiry",
        "ww_revocations_expiry",
        "ww_revocations_seq",
        "ww_revocations_unnumbered",
        "ww_ephemeral_expiry",
    ),
    # A user's API keys; those that expired.
    *("ww_api_keys_user", "ww_api_keys_expires"),
    # Deleted users whose month is over; checkpoints of a master secret that is replaced.
    *("ww_audit_erasures_due", "ww_audit_checkpoints_signer"),
    # A user's links and codes, of which a mailbox gets ten a day; those that expired.
    *("ww_one_time_", "ww_devices_seen"),
    # A batch of records: at the end of the chain, past their retention, of one user.
    *("ww_audit_position", "ww_audit_unchained", "ww_audit_activity", "ww_audit_actor"),
    # What is due, as many as a claim has; what was given up.
    *("ww_outbox_due", "ww_outbox_failed", "ww_outbox_user", "ww_deliveries_due", "ww_deliveries_failed"),
    # What waits of one user at one endpoint, of which there are two hundred.
    "ww_deliveries_user",
)


OLD, NEW = (sha256(name).digest() for name in (b"old", b"new"))


async def _accounts(kernel: Kernel) -> None:
    user = await join(kernel, password="plum-orbit-canvas")
    with pytest.raises(Conflict):
        await join(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    accounts = Accounts(kernel)
    await accounts.change(caller, username="alicia", email="a@example.net", password="plum-orbit-canvas", client=HOME)
    await give_roles(kernel, user.id, ("reader",))
    await operator(kernel).disable(user.id)
    await operator(kernel).enable(user.id)
    await page(kernel.database, Wanted("a"), limit=2)
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
    login = LogIn(*parts, kernel.notices, kernel.known_devices, second_factors=(SecondFactor("otp", needed),))
    with pytest.raises(SecondFactorNeeded) as waiting:
        await login.attempt("carol", proven, client=HOME, client_id="watchword")
    await login.complete(waiting.value.handle, Factor(prove), client=HOME, client_id="watchword")


async def _nothing(_: object) -> None:
    return None


async def _api_keys(kernel: Kernel) -> None:
    await join(kernel, "dora")
    caller = claims_of(kernel, await log_in(kernel, "dora"))
    wanted = NewKey("nightly", kernel.rights.asked(None, None), 60)
    made, key = await kernel.api_keys.create(caller, wanted, client=HOME)
    await kernel.api_keys.of(caller.sub)
    await kernel.api_keys.page(limit=1)
    await kernel.api_keys.exchange(key, kernel.rights.asked(None, None), client=HOME)
    _, fresh, _ = await kernel.api_keys.rotate(caller, made.id, overlap=0, client=HOME)
    await kernel.api_keys.revoke(caller, fresh.id, client=HOME)
    await kernel.api_keys.create(caller, wanted, client=HOME)
    await sweeping.sweep(kernel.database, kernel.clock.now() + 40 * 86_400)


async def _service_accounts(kernel: Kernel) -> None:
    accounts, wanted = kernel.service_accounts, NewAccount("nightly", ("read",))
    account, secret = await accounts.create(wanted, client=HOME)
    shown = Shown(account.id, secret)
    issued = await kernel.account_tokens.issue(await kernel.proving.prove(shown, client=HOME), None, None, client=HOME)
    assert await kernel.account_tokens.is_live(kernel.verifier.verify(issued.access_token))
    assert len(await accounts.all()) == 1
    await _exchange(kernel)
    await accounts.rotate_secret("nightly", overlap=60, client=HOME)
    await accounts.disable("nightly", client=HOME)
    await accounts.enable("nightly", client=HOME)
    await accounts.delete("nightly", client=HOME)


async def _exchange(kernel: Kernel) -> None:
    by = Operation(LOCAL, None, unchecked)
    for name in ("first", "other"):
        await kernel.granting.create_api(name, f"https://{name}.example", frozenset(), by)
    account = (await kernel.service_accounts.create(NewAccount("first", ("x",), exchanges=("other",)), client=HOME))[0]
    await join(kernel, "erin")
    token = (await log_in(kernel, "erin")).tokens.access_token
    await kernel.exchanging.exchange(account, token, None, "https://other.example", client=HOME)
    for name in ("first", "other"):
        await kernel.granting.delete_api(name, by)


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


async def _mail(kernel: Kernel) -> None:
    sent, home = Codes(kernel), kernel.one_time
    ada = await join(kernel, "ada", password="plum-orbit-canvas")
    mailed = MailedAddresses(kernel)
    await mailed.ask_again("ada@example.org", client=HOME)
    assert kernel.post is not None
    await kernel.post.turn()
    with pytest.raises(Unauthenticated):
        await sent.log_in((await sent.ask("ada@example.org", client=HOME)).handle, "x", client=HOME, replacing=None)
    for purpose in ("verify", "login", "change", "reset", "register", "undo"):
        detail = {"email": f"{purpose}@example.net", "old_key": "ada@example.org", "password_hash": "x"}

        async def unit(tx: Tx, purpose: str = purpose, detail: dict[str, str] = detail) -> Issued:
            key = detail["email"] if purpose in ("change", "register") else "ada@example.org"
            key = "change@example.net" if purpose == "reset" else key
            return await home.issue(tx, purpose, key, user_id=ada.id, detail=detail)

        issued = await kernel.database.transact(unit)
        derived = await home.derive(issued.id, issued.seed)
        assert derived is not None
        if purpose == "login":
            await sent.log_in(issued.handle, derived.code, client=AWAY, replacing=None)
            continue
        found = await kernel.addresses.found((purpose,), token=derived.token, client=HOME)
        if purpose == "reset":
            await kernel.addresses.reset_password(found, "velvet-anchor-ripple", client=HOME, field="p")
        elif purpose == "undo":
            await kernel.addresses.undo(found, client=HOME)
            assert await one_time.open_undo(kernel.database, ada.id, now=kernel.clock.now()), "the older one stays"
        else:
            await kernel.addresses.confirm(
                found._replace(by_code=True), client=HOME, brought=Brought("plum-orbit-canvas")
            )
    for _ in range(101):  # until the mailbox has had its share
        await kernel.throttle.grants(Take("mail", "reset ada@example.org"))
    waiting = {"purpose": "reset", "address_key": "ada@example.org", "detail": "{}"}
    await kernel.post._may_send(waiting, {"id": ada.id, "token_version": 1})
    await log_in(kernel, "ada", client=AWAY)
    await kernel.notices.stopped(kernel.database, ada.id, HOME)  # type: ignore[arg-type]  # the same statements
    claimed = [mail._replace(user_id=ada.id) for mail in await kernel.outbox.claim()]
    await kernel.outbox.not_sent(claimed[0], "550", final=True)
    await kernel.outbox.failed()
    await kernel.outbox.retry(None)
    await kernel.outbox.not_sent(claimed[0], "550", final=True)
    await kernel.users.prepare(username="free", email="free@example.org", password="plum-orbit-canvas", client=HOME)


async def _administrators(kernel: Kernel) -> None:
    user = await join(kernel, "boss")
    await give_roles(kernel, user.id, (administrators.ADMIN,), client=LOCAL)
    assert await administrators.any_there(kernel.database)
    caller, now = claims_of(kernel, await log_in(kernel, "boss")), kernel.clock.now()
    await administrators.look_at(kernel.database, caller, now)
    await kernel.database.transact(lambda tx: administrators.require(tx, caller, user.id, now))
    with pytest.raises(Conflict):
        await kernel.database.transact(lambda tx: administrators.refuse_to_close(tx, user.id))


async def _trail(kernel: Kernel) -> None:
    operator = Administration(kernel, client=LOCAL, check=unchecked)
    user = await join(kernel, "tess")
    await operator.change_roles(user.id, lambda held: held | {"reader"})
    await note_paths(kernel.database, frozenset({("name",)}))
    await operator.set_metadata(user, public='{"a":1}')
    await operator.rename(user, username=None, email=None, name="Tess")
    await operator.invite(user)
    await log_in(kernel, "tess")
    await operator.live_sessions(limit=1)
    await log_in(kernel, "tess")
    session = claims_of(kernel, await log_in(kernel, "tess")).sid
    await operator.end_session(str(session))
    await operator.end_sessions(user)
    chain = Chain(kernel.database, kernel.master)
    assert await chain.waits()
    await chain.extend(kernel.clock.now())
    last = await log_in(kernel, "tess")
    for token in last.tokens.access_token, last.tokens.refresh_token:
        assert (await explain_token(kernel, token)).accepted
    await kernel.sessions.log_out(claims=claims_of(kernel, last), presented=None, client=HOME)
    assert not (await explain_token(kernel, last.tokens.refresh_token)).accepted
    for newest_first in (True, False):
        assert await reading.page(kernel.database, reading.Wanted(), limit=1, newest_first=newest_first)
    assert await reading.of_user(kernel.database, user.id, before="", limit=1)
    await MailedAddresses(kernel).ask_again(user.identifiers[1], client=HOME)
    await operator.delete(user)
    await chain.extend(kernel.clock.now())
    assert (await Verification(kernel.database, kernel.master).run()).erased
    other = Chain(kernel.database, Master((b"x" * 32, OLD)))
    assert await other.sign_again()
    kernel.clock.advance(400 * DAY)  # type: ignore[attr-defined]
    assert await other.cut(kernel.clock.now(), DAY)


async def _webhooks(kernel: Kernel) -> None:
    by, chain = Operation(LOCAL, None, unchecked), Chain(kernel.database, kernel.master)
    endpoint, _ = await kernel.webhooks.add("http://127.0.0.1:9/x", ("*",), private=True, by=by)
    await kernel.webhooks.rotate_secret(endpoint.id, by=by)
    await kernel.webhooks.secrets(endpoint.id)
    user = await join(kernel, "wendy")
    await operator(kernel).disable(user.id)
    await chain.extend(kernel.clock.now())
    assert await kernel.teller.waiting() == [endpoint.id]
    assert await kernel.deliveries.write(endpoint.id)
    assert await kernel.deliveries.is_due(endpoint.id)
    claimed = await kernel.deliveries.claim(endpoint.id, 10)
    assert (await kernel.deliveries.taken(endpoint.id, claimed[0])).stood
    (last,) = await kernel.deliveries.claim(endpoint.id, 1)
    kernel.clock.advance(6 * DAY)  # type: ignore[attr-defined]
    meddle(kernel, "UPDATE ww_webhooks SET failing_since = 1")
    assert (await kernel.deliveries.not_taken(endpoint.id, last, "it answered 500")).disabled
    await kernel.webhooks.enable(endpoint.id, by=by)
    meddle(kernel, "UPDATE ww_deliveries SET failed_at = 1")
    assert await kernel.deliveries.failed(endpoint.id)
    assert await kernel.deliveries.retry(endpoint.id, None, by=by)
    for user_id in (None, user.id):
        assert (await kernel.deliveries.replay(endpoint.id, since=0, user_id=user_id, by=by)).events
    await kernel.teller.turn([endpoint.id], lambda _: None)
    await kernel.teller.finish()
    meddle(kernel, "UPDATE ww_deliveries SET failed_at = 1")
    await sweeping.sweep(kernel.database, kernel.clock.now())
    await kernel.webhooks.remove(endpoint.id, by=by)


async def _the_rest(kernel: Kernel) -> None:
    await kernel.revocations.poll()  # it is silent for as long as the parts before have taken
    assert all((await Health(kernel).checks()).values())
    kernel.database._writer.failed = True  # type: ignore[attr-defined]  # as after a full disk
    assert await kernel.database.writable()
    meddle(kernel, "INSERT INTO ww_revocations VALUES ('unnumbered', NULL, 'session', 's', NULL, 1)")
    await kernel.feed.page(None, wait=False)
    await kernel.revocations.poll()
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
    await kernel.keys.store.revoke((published[0].kid,), client=LOCAL, check=unchecked)
    with pytest.raises(NotFound):
        await kernel.keys.store.revoke(("none",), client=LOCAL, check=unchecked)
    now = kernel.clock.now()
    rows = "x', 'h' || random(), 'u', '', '', '', 1, 1, 1, 1, NULL, 1, 1, 1, 0, {}, NULL, '', '', NULL, '', 0"
    meddle(kernel, "UPDATE ww_outbox SET failed_at = 1")
    for ended in ("1", "NULL"):
        meddle(kernel, f"INSERT INTO ww_sessions VALUES ('{ended}{rows.format(ended)})")
    await sweeping.sweep(kernel.database, now)
    meddle(kernel, f"INSERT INTO ww_sessions VALUES ('idle{rows.format('NULL')})")
    assert await sweeping.Patrol(kernel.database).turn(now) == 1
    meddle(kernel, "INSERT INTO ww_devices VALUES ('u', 'd', 1, 1)")
    await store.sweep(now)
    await kernel.leases.take("sweep", now)
    await kernel.leases.release()
    with pytest.raises(SchemaMismatch):
        await status(kernel.database, migrations=bundled()[:1])
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
    limits |= {
        f"{name}_limit": "100/15m" for name in ("session", "session_address", "change", "change_address", "mail")
    }
    limits["mail_address_limit"] = "100/15m"
    async with served(tmp_path, copied=False, workers=2, secret=(OLD,), **limits) as api:
        await _over_http(api)
        for part in PARTS:
            await part(api.kernel)
        with closing(sqlite3.Connection(str(api.kernel.settings.database_path))) as connection:
            faults = [fault for sql, values in asked.statements.items() for fault in _faults(connection, sql, values)]
    unseen = [
        f"{place}: {pieces[0][:70]}"
        for place, pieces in sql_texts.written()
        if not any(sql_texts.holds(sql, pieces) for sql in asked.statements)
    ]
    assert unseen == [], "\n".join(unseen)
    assert faults == [], "\n".join(faults)


async def _moving(kernel: Kernel) -> None:
    records = [
        Record(external_id=1, username="dora@example.org", email="d@example.org", password_hash="$2b$04$" + "a" * 53),
        Record(external_id=2, username="Dora@example.org"),
    ]
    arrivals = [arrival_of(each, now=kernel.clock.now(), keep_ids=False) for each in records]
    for dry in (True, False):
        run = MovingIn(kernel.database, kernel.clock, source="file", dry=dry)
        await run.begin()
        assert [each.state.value for each in await run.take(arrivals)] == ["new", "refused"]
    assert await kernel.users.find_external("1") == await kernel.users.find_by(typed("d@example.org"))
    assert len([each async for each in MovingOut(kernel.database, kernel.clock, with_hashes=True).records()]) > 1


async def _legacy(kernel: Kernel) -> None:
    await note_legacy_until(kernel.revocations, kernel.clock.now() + DAY)
    legacy = Legacy(until="2100-01-01", subject="id:external", secret="q" + "0123456789abcdef" * 4)
    token = jwt.encode({"id": 1}, "q" + "0123456789abcdef" * 4, "HS256")
    named, factor = LegacyFactor(legacy, kernel.database, kernel.clock).read(token)
    await kernel.login.attempt(named, factor, client=HOME, client_id="watchword")


async def _rights(kernel: Kernel) -> None:
    by = Operation(LOCAL, None, unchecked)
    await kernel.granting.set_scopes("editor", lambda _: frozenset({"read"}), by)
    await kernel.granting.set_scopes("editor", lambda _: frozenset(), by)
    await kernel.granting.create_api("orders", "urn:orders", frozenset(), by)
    await kernel.granting.change_api("orders", audience="urn:other", change=lambda held: held, by=by)
    await kernel.granting.delete_api("orders", by)
    await rights.noted_audience(kernel.database, "")
    await roles.has_no_holder(kernel.database, "editor")


PARTS: tuple[Callable[[Kernel], Awaitable[None]], ...] = (
    _accounts,
    _sessions,
    _api_keys,
    _service_accounts,
    _rights,
    _second_factor,
    _mail,
    _moving,
    _legacy,
    _administrators,
    _trail,
    _webhooks,
    _the_rest,
)


async def _over_http(api: Api) -> None:
    first = FirstAdministrator(api.kernel)
    link = await first.offer()
    assert link is not None
    root = await first.create(link, username="root", email=None, password="plum-orbit-canvas", client=HOME)
    desk = api.elsewhere()
    held = await desk.log_in("root")
    assert (await desk.as_bearer("GET", "/admin/users?role=admin", held)).status_code == 200
    assert (await desk.as_bearer("GET", "/admin/sessions", held)).status_code == 200
    path = f"/admin/users/{root.id}/roles"
    assert (await desk.as_bearer("PUT", path, held, json={"roles": ["admin", "reader"]})).status_code == 200
    held = await desk.log_in("root")
    refused = await desk.as_bearer("DELETE", "/profile", held, json={"password": "plum-orbit-canvas"})
    assert refused.status_code == 409, refused.text
    token = await api.newcomer()
    assert (await api.as_bearer("GET", "/sessions", token)).status_code == 200
    assert (await api.post("/login", json={"username": "nobody", "password": "x"})).status_code == 401


def _faults(connection: sqlite3.Connection, sql: str, values: object) -> list[str]:
    migrating = {sql_texts.plain(statement) for each in bundled() for statement in each.statements}
    if not re.match(r"SELECT|INSERT|UPDATE|DELETE|WITH", sql) or sql.startswith(WHOLE) or sql in migrating:
        return []
    if sql.endswith("WHERE 1 = 0"):  # whether the table is there: no row is looked at
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
        "SELECT id FROM ww_audit WHERE request_id = :user",
        "SELECT id FROM ww_sessions WHERE user_id = :user AND ended_at IS NULL ORDER BY created_at DESC",
        "SELECT seq FROM ww_revocations WHERE expires_at <= :now ORDER BY seq",
    ],
)
async def test_the_plans_are_read_rightly(kernel: Kernel, sql: str) -> None:
    """What stood here before is found."""
    with closing(sqlite3.connect(kernel.settings.database_path)) as connection:
        assert _faults(connection, sql, {"user": "u", "now": 1}) != []
