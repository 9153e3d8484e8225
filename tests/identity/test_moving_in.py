"""Users of another system: taken in once, told apart, logged in, upgraded, and revoked by the id that tokens carry."""

from __future__ import annotations

import asyncio
from typing import Any

import bcrypt
import pytest

from tests.identity.scenes import HOME, PASSWORD, Opener, claims_of, join, log_in, operator, recorded
from watchword.background import in_background
from watchword.errors import Conflict, Unauthenticated
from watchword.features.oauth.inspection import TokenInspection
from watchword.features.passwords.service import Passwords
from watchword.identity import hashing, moving_in
from watchword.identity.arrivals import Arrival, Record, Refused, arrival_of
from watchword.identity.kernel import Kernel
from watchword.identity.moving_in import MovingIn, Outcome, State
from watchword.identity.moving_out import MovingOut
from watchword.tokens.verify import TokenError

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def arrival(kernel: Kernel, *, keep_ids: bool = False, **given: Any) -> Arrival:
    return arrival_of(Record(**given), now=kernel.clock.now(), keep_ids=keep_ids)


async def take(kernel: Kernel, *records: dict[str, Any], dry: bool = False, keep_ids: bool = False) -> list[Outcome]:
    """One run."""
    run = MovingIn(kernel.database, kernel.clock, source="file", dry=dry)
    await run.begin()
    return await run.take([arrival(kernel, keep_ids=keep_ids, **each) for each in records])


async def logged_in(kernel: Kernel, name: str, password: str = PASSWORD) -> Any:
    return await Passwords(kernel).log_in(name, password, client=HOME, replacing=None, device=None)


def states(outcomes: list[Outcome]) -> list[str]:
    return [outcome.state.value for outcome in outcomes]


async def test_an_imported_user_logs_in_with_the_old_password_and_gets_a_hash_of_ours(kernel: Kernel) -> None:
    """By either name, however it is typed; the wrong password stays wrong."""
    record = {"external_id": 7, "username": "Mary Jane+1", "email": "mary@example.org", "password_hash": HASH}
    (outcome,) = await take(kernel, {**record, "roles": ("editor",), "email_verified": True, "created_at": 1000})
    assert outcome == Outcome(State.NEW)
    with pytest.raises(Unauthenticated):
        await logged_in(kernel, "mary jane+1", "wrong")
    assert (await recorded(kernel, "ww_users"))[0]["password_hash"] == "~" + HASH
    found = await logged_in(kernel, " mary JANE+1 ")
    assert (found.user.external_id, found.user.roles, found.user.created_at) == ("7", ("editor",), 1000)
    assert found.user.email_verified_at is not None
    (row,) = await recorded(kernel, "ww_users")
    assert hashing.kind_of(row["password_hash"]) == kernel.hasher.preferred_kind
    assert (await logged_in(kernel, "Mary@example.org")).user.id == found.user.id


@pytest.mark.postgres
async def test_a_batch_may_be_slower_than_a_request(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with much other work: PostgreSQL ends a request's transaction that stands still so long."""
    inserting = moving_in._insert

    async def slow(*given: Any) -> set[str]:
        await asyncio.sleep(4)
        return await inserting(*given)

    monkeypatch.setattr(moving_in, "_insert", slow)
    assert states(await take(kernel, {"username": "ada"})) == ["new"]


async def test_a_second_run_finds_everyone_and_changes_nothing(kernel: Kernel) -> None:
    """After a log-in, a new name and a new run: no one is doubled, and no hash goes back to the old one."""
    records = [{"external_id": n, "username": f"u{n}", "password_hash": HASH} for n in range(5)]
    records.append({"username": "without an id", "email": "w@example.org"})
    assert states(await take(kernel, *records)) == ["new"] * 6
    user = (await logged_in(kernel, "u1")).user
    kernel.clock.advance(5)  # type: ignore[attr-defined]

    async def check(_: object) -> None:
        return None

    await kernel.users.change_identifiers(user, username="renamed", email=None, client=HOME, check=check)
    before = await recorded(kernel, "ww_users")
    assert states(await take(kernel, *records)) == ["known"] * 6
    assert await recorded(kernel, "ww_users") == before


async def test_whoever_has_the_name_already_is_named(kernel: Kernel) -> None:
    """By someone who registered here, in the batch, and in an earlier one; look-alikes of one key are one name."""
    owner = await join(kernel, "taken")
    outcomes = await take(
        kernel,
        {"external_id": 1, "username": "Taken"},
        {"external_id": 2, "email": "TAKEN@example.org"},
        {"external_id": 3, "username": "ada"},
        {"external_id": 4, "username": "ＡＤＡ"},
        {"external_id": 3, "username": "bert"},
        {"username": "taken", "email": "taken@example.org"},
    )
    assert states(outcomes) == ["refused", "refused", "new", "refused", "refused", "refused"]
    assert outcomes[0].reason == f"the username is that of user {owner.id}"
    assert outcomes[1].reason == f"the e-mail address is that of user {owner.id}"
    assert "external id 3" in outcomes[3].reason
    assert "earlier line" in outcomes[4].reason
    assert len(await recorded(kernel, "ww_users")) == 2


@pytest.mark.parametrize("keep_ids", [False, True])
async def test_a_dry_run_tells_the_same_and_stores_nothing(kernel: Kernel, *, keep_ids: bool) -> None:
    await join(kernel, "taken")
    records = [
        {"external_id": 1, "username": "taken"},
        {"external_id": 2, "username": "ada", "password_hash": HASH},
        {"external_id": 3, "username": "Ada"},
        {"external_id": 2, "username": "bert"},
        {"external_id": 5, "username": "x@example.org"},
        {"external_id": 6, "email": "x@example.org"},
    ]
    told = states(await take(kernel, *records, dry=True, keep_ids=keep_ids))
    assert len(await recorded(kernel, "ww_users")) == 1
    assert [row["kind"] for row in await recorded(kernel, "ww_password_kinds")] == [kernel.hasher.preferred_kind]
    assert told == ["refused", "new", "refused", "refused", "refused", "new"]
    assert states(await take(kernel, *records, keep_ids=keep_ids)) == told


async def test_a_name_that_is_an_address_never_means_two_users(kernel: Kernel) -> None:
    """Not by import, not by registering, not by a change: a log-in looks in both columns."""
    await join(kernel, "owner")
    (clash, alone, own) = await take(
        kernel,
        {"external_id": 1, "username": "Owner@Example.org", "email": "other@example.org"},
        {"external_id": 2, "username": "ada@example.org", "password_hash": HASH},
        {"external_id": 3, "username": "bert@example.org", "email": "Bert@example.org", "password_hash": HASH},
    )
    assert "the username is the e-mail address of user" in clash.reason
    assert states([alone, own]) == ["new", "new"]
    (later,) = await take(kernel, {"external_id": 4, "email": "ada@example.org"})
    assert "the e-mail address is the username of user" in later.reason
    with pytest.raises(Conflict, match="e-mail address is taken"):
        await join(kernel, "mallory", email="ADA@example.org")
    mallory = await join(kernel, "mallory")

    async def check(_: object) -> None:
        return None

    with pytest.raises(Conflict, match="e-mail address is taken"):
        await kernel.users.change_identifiers(mallory, username=None, email="ada@example.org", client=HOME, check=check)
    assert (await logged_in(kernel, "ada@EXAMPLE.org")).user.external_id == "2"
    bert = (await logged_in(kernel, "bert@example.org")).user
    assert bert.external_id == "3"
    changed = await kernel.users.change_identifiers(
        bert, username=None, email="bert@example.net", client=HOME, check=check
    )
    assert changed.email == "bert@example.net"


async def test_a_kept_id_is_the_sub_and_is_revoked_as_such(kernel: Kernel) -> None:
    """One id in tokens, sessions, the feed and introspection: nothing has to be translated, so nothing is forgotten."""
    (outcome,) = await take(kernel, {"external_id": "42", "username": "ada", "password_hash": HASH}, keep_ids=True)
    assert outcome.state is State.NEW
    tokens = (await logged_in(kernel, "ada")).tokens
    claims = kernel.verifier.verify(tokens.access_token)
    assert claims.sub == "42"
    assert (await TokenInspection(kernel).introspect(tokens.access_token)).sub == "42"
    user = await kernel.users.find_external("42")
    assert user is not None
    await operator(kernel).disable(user.id)
    with pytest.raises(TokenError):
        kernel.verifier.verify(tokens.access_token)
    page = await kernel.feed.page(None, wait=False)
    assert any(entry.subject == "42" for entry in page.entries if entry.kind == "user")


async def test_a_kept_id_of_another_user_is_refused(kernel: Kernel) -> None:
    """An old system cannot take over the id of someone who is here."""
    owner = await join(kernel, "owner")
    (outcome,) = await take(kernel, {"external_id": owner.id, "username": "mallory"}, keep_ids=True)
    assert outcome == Outcome(State.REFUSED, f"the id is that of user {owner.id}")


async def test_d7_the_kinds_are_known_from_the_moment_that_the_users_are_there(kernel: Kernel) -> None:
    """The sample of a kind is stored in the same transaction; it is no user's hash."""
    await take(kernel, {"external_id": 1, "username": "ada", "password_hash": HASH})
    kinds = {row["kind"]: row["sample"] for row in await recorded(kernel, "ww_password_kinds")}
    assert set(kinds) == {kernel.hasher.preferred_kind, "~$2b$04"}
    assert HASH not in kinds["~$2b$04"]


async def test_d7_a_running_service_learns_the_kinds_of_an_import_beside_it(open_kernel: Opener) -> None:
    """Before anyone logs in: the first wrong password for an imported user takes as long as one for a stranger."""
    async with open_kernel(workers=2) as kernel, open_kernel(workers=2) as other, in_background(kernel):
        assert not kernel.hasher.knows("~$2b$04")
        await take(other, {"external_id": 1, "username": "ada", "password_hash": HASH})
        for _ in range(600):
            if kernel.hasher.knows("~$2b$04"):
                break
            await asyncio.sleep(0.05)
        assert kernel.hasher.knows("~$2b$04")


async def test_a_file_cannot_make_every_failed_log_in_dear(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of work is done by every failure: there are eight at most, and the next one is refused."""
    salt_and_key = "c2FsdHNhbHQ$" + "A" * 43
    hashes = [f"$argon2id$v=19$m={1000 + n},t=1,p=1${salt_and_key}" for n in range(12)]
    outcomes = await take(
        kernel, *({"external_id": n, "username": f"u{n}", "password_hash": each} for n, each in enumerate(hashes))
    )
    assert states(outcomes) == ["new"] * (moving_in.MOST_FAMILIES - 1) + ["refused"] * 5
    assert "kinds already" in outcomes[-1].reason


async def test_someone_who_registers_during_an_import_keeps_the_name(kernel: Kernel) -> None:
    """The index decides between the two; the batch goes on, and the line is refused with the reason."""
    records = [{"external_id": n, "username": f"user{n}"} for n in range(150)]
    joined, outcomes = await asyncio.gather(
        asyncio.gather(*(join(kernel, f"user{n}") for n in range(0, 150, 30)), return_exceptions=True),
        take(kernel, *records),
    )
    registered = {user.username for user in joined if not isinstance(user, BaseException)}
    refused = {f"user{n}" for n, outcome in enumerate(outcomes) if outcome.state is State.REFUSED}
    assert refused == registered
    assert len(await recorded(kernel, "ww_users")) == 150


async def test_what_is_exported_is_what_was_imported(kernel: Kernel) -> None:
    """Every field, and the hash as it came; without --with-hashes no hash, in whatever form."""
    record = {
        "external_id": "7", "username": "Mary Jane", "email": "mary@example.org", "roles": ("a", "b"),
        "created_at": "2020-01-01T00:00:00Z", "email_verified_at": "2020-01-02T00:00:00Z",
        "disabled_at": "2020-01-03T00:00:00Z", "password_hash": HASH, "password_set_at": "2020-01-04T00:00:00Z",
    }  # fmt: skip
    await take(kernel, record)
    own = await join(kernel, "alice", password=PASSWORD)
    rows = [each async for each in MovingOut(kernel.database, kernel.clock, with_hashes=True).records()]
    imported = next(each for each in rows if each["external_id"] == "7")
    assert {name: imported[name] for name in record} == record
    assert next(each for each in rows if each["id"] == own.id)["password_hash"].startswith("$argon2id$")
    bare = [each async for each in MovingOut(kernel.database, kernel.clock, with_hashes=False).records()]
    assert "$" not in repr(bare)
    details = [row["detail"] for row in await recorded(kernel, "ww_audit") if row["event"] == "users_exported"]
    assert sorted(details) == ['{"hashes":"with"}', '{"hashes":"without"}']


async def test_our_own_hash_moves_to_another_watchword(kernel: Kernel) -> None:
    """A password outside ASCII was normalised by us: the export of one is the import of the other."""
    password = "pfla\u0308ume-orbit-canvas"
    await join(kernel, "alice", password=password)
    (row,) = [each async for each in MovingOut(kernel.database, kernel.clock, with_hashes=True).records()]
    copy = {**row, "username": "copy", "email": None}
    (outcome,) = await take(kernel, {name: value for name, value in copy.items() if value is not None})
    assert outcome.state is State.NEW
    found = await logged_in(kernel, "copy", password)
    assert found.user.external_id == row["id"]
    assert claims_of(kernel, found).sub == found.user.id != row["id"]


async def test_the_ids_of_another_watchword_are_kept_as_its_tokens_have_them(kernel: Kernel) -> None:
    """An export holds both ids of a user who had been imported there; `sub` was the first."""
    (outcome,) = await take(kernel, {"id": "0197-there", "external_id": "7", "username": "ada"}, keep_ids=True)
    assert outcome.state is State.NEW
    user = await kernel.users.find("0197-there")
    assert user is not None
    assert user.external_id == "7"
    with pytest.raises(Refused, match="no id to keep"):
        arrival(kernel, keep_ids=True, username="without")


async def test_a_batch_is_in_the_audit_trail_with_what_it_brought(kernel: Kernel) -> None:
    await take(kernel, {"external_id": 1, "username": "ada"}, {"external_id": 2, "username": "Ada"})
    (row,) = [each for each in await recorded(kernel, "ww_audit") if each["event"] == "users_imported"]
    assert row["detail"] == '{"count":"1","source":"file"}'


async def test_a_disabled_user_and_one_without_a_password_stay_outside(kernel: Kernel) -> None:
    await take(
        kernel,
        {"external_id": 1, "username": "off", "password_hash": HASH, "disabled": True},
        {"external_id": 2, "username": "empty"},
    )
    for name in ("off", "empty"):
        with pytest.raises(Unauthenticated):
            await logged_in(kernel, name)
    assert (await log_in(kernel, "empty")).user.external_id == "2"
