"""The log-in pipeline: what a proof is worth, what a failure tells, and what is written together."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

import argon2
import bcrypt
import pytest

from tests.identity.scenes import (
    HOME,
    OTHER_PASSWORD,
    PASSWORD,
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
    statements,
    stored,
    unproven,
)
from watchword.clock import FixedClock
from watchword.errors import Overloaded, TooManyAttempts, Unauthenticated
from watchword.features.passwords.service import Passwords
from watchword.identity import hashing
from watchword.identity.factors import Candidate, Factor, Proof
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.password_factor import PasswordFactor, keep_better
from watchword.identity.users import User
from watchword.storage.database import Tx

EVENTS = ("reset", "disabled", "disabled_by_hand", "roles", "deleted", "disabled_and_enabled")
FAILURES = ("unknown", "unknown_address", "wrong", "disabled", "no_password")


async def change_user(kernel: Kernel, user: User, event: str) -> None:
    """What may happen to a user while somebody's password is being hashed."""
    if event == "reset":
        await reset_password(kernel, user.id)
    elif event == "roles":
        await give_roles(kernel, user.id, ("admin",))
    elif event == "disabled_by_hand":  # by an operator in SQL, who knows nothing of versions
        await kernel.database.run("UPDATE ww_users SET disabled_at = 1 WHERE id = :id", id=user.id)
    elif event == "deleted":
        await kernel.database.run("DELETE FROM ww_users WHERE id = :id", id=user.id)
    else:
        await operator(kernel).disable(user.id)
        if event == "disabled_and_enabled":
            await operator(kernel).enable(user.id)


@pytest.mark.parametrize("event", EVENTS)
async def test_a_proof_of_yesterday_opens_nothing(kernel: Kernel, event: str) -> None:
    """⚑ The user changed while the proof was made: no session, no trace of a log-in but the record of its refusal."""
    user = await join(kernel)

    async def always(tx: Tx) -> None:
        await tx.run("UPDATE ww_users SET password_hash = '$argon2id$upgraded'")

    async def prove(candidate: Candidate | None) -> Proof | None:
        await change_user(kernel, user, event)
        return Proof("pwd", always)

    with pytest.raises(Unauthenticated) as caught:
        await log_in(kernel, prove=prove)
    assert caught.value.code == "invalid_credentials"
    assert await recorded(kernel, "ww_sessions") == []
    for row in await recorded(kernel, "ww_users"):
        assert row["last_login_at"] is None
        assert row["password_hash"] != "$argon2id$upgraded"
    tries = [record for record in await recorded(kernel, "ww_audit") if record["event"] == "log_in"]
    assert [(record["outcome"], record["user_id"]) for record in tries] == [("refused", user.id)]


async def test_a_proof_of_yesterday_is_a_failed_attempt(open_kernel: Opener) -> None:
    """It counts against the limits, as any other failure does."""
    async with open_kernel(login_limit="1/15m") as kernel:
        user = await join(kernel)

        async def prove(candidate: Candidate | None) -> Proof | None:
            await give_roles(kernel, user.id, ("admin",))
            return Proof("pwd")

        with pytest.raises(Unauthenticated):
            await log_in(kernel, prove=prove)
        with pytest.raises(TooManyAttempts):
            await log_in(kernel)


@pytest.mark.parametrize("event", ["disabled", "reset", "roles", "deleted"])
async def test_a_password_change_whose_user_changed_meanwhile_changes_nothing(kernel: Kernel, event: str) -> None:
    """⚑ Between the check of the old password and the writing of the new one the same holds."""
    user = await join(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    candidate = await kernel.login.confirm(user.id, proven, client=HOME)
    await change_user(kernel, user, event)
    users, sessions = await recorded(kernel, "ww_users"), await recorded(kernel, "ww_sessions")
    with pytest.raises(Unauthenticated):
        await change_password(kernel, caller, candidate, "$argon2id$new", client=HOME, client_id=FIRST_PARTY)
    assert await recorded(kernel, "ww_users") == users
    assert await recorded(kernel, "ww_sessions") == sessions


async def test_a_password_change_by_a_session_that_ended_meanwhile_changes_nothing(kernel: Kernel) -> None:
    """⚑ Logged out while the new password was hashed: the user is who was proven, but the caller's session is over."""
    user = await join(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    candidate = await kernel.login.confirm(user.id, proven, client=HOME)
    await kernel.sessions.log_out(claims=caller, presented=None, client=HOME)
    before = await everything(kernel)
    with pytest.raises(Unauthenticated) as caught:
        await change_password(kernel, caller, candidate, "$argon2id$new", client=HOME, client_id=FIRST_PARTY)
    assert caught.value.code == "token_revoked"
    assert await everything(kernel) == before


async def test_a_password_change_counts_the_version_that_was_proven(kernel: Kernel) -> None:
    """⚑ A caller whose token is newer than the proof still needs a proof of the user as it is now."""
    user = await join(kernel)
    stale = await kernel.login.confirm(user.id, proven, client=HOME)
    await reset_password(kernel, user.id)
    caller = claims_of(kernel, await log_in(kernel))
    with pytest.raises(Unauthenticated):
        await change_password(kernel, caller, stale, "$argon2id$x", client=HOME, client_id=FIRST_PARTY)
    assert (await recorded(kernel, "ww_users"))[0]["password_hash"] == "$argon2id$new"


@pytest.mark.sqlite
async def test_a_log_in_is_written_with_its_session_or_not_at_all(kernel: Kernel) -> None:
    """When the session cannot be stored, `last_login_at`, the upgrade and the record are not stored either."""
    await join(kernel)

    async def always(tx: Tx) -> None:
        await tx.run("UPDATE ww_users SET password_hash = '$argon2id$upgraded'")

    refuse_inserts(kernel, "ww_sessions")
    before = await recorded(kernel, "ww_users"), await recorded(kernel, "ww_audit")

    async def prove(candidate: Candidate | None) -> Proof | None:
        return Proof("pwd", always)

    with pytest.raises(sqlite3.IntegrityError, match="injected"):
        await log_in(kernel, prove=prove)
    assert (await recorded(kernel, "ww_users"), await recorded(kernel, "ww_audit")) == before


async def test_a_log_in_leaves_its_time(kernel: Kernel, clock: FixedClock) -> None:
    """`last_login_at` is the time of the last success; a failure leaves it alone."""
    user = await join(kernel)
    clock.advance(60)
    await log_in(kernel)
    logged_in_at = clock.now()
    clock.advance(60)
    with pytest.raises(Unauthenticated):
        await log_in(kernel, prove=unproven)
    assert (await stored(kernel, user)).last_login_at == logged_in_at


async def test_the_access_token_says_who_and_how(kernel: Kernel) -> None:
    """User, session, client, roles, version, time and method of the log-in; nothing personal."""
    user = await join(kernel, roles=("editor", "admin"))
    claims = claims_of(kernel, await log_in(kernel, "ALICE@example.org"))
    assert (claims.sub, claims.client_id, set(claims.roles), claims.ver) == (
        user.id, FIRST_PARTY, {"admin", "editor"}, 1,
    )  # fmt: skip
    assert (claims.auth_time, claims.amr) == (kernel.clock.now(), ("pwd",))


@pytest.mark.parametrize("name", ["alice", "Alice", "ALICE@EXAMPLE.ORG", "alice＠example.org", "ａｌｉｃｅ"])
async def test_h7_h9_one_person_however_typed(kernel: Kernel, name: str) -> None:
    """Upper case and full-width letters, the full-width at sign too, find the same user."""
    user = await join(kernel)
    assert (await log_in(kernel, name)).user.id == user.id


# --- What a failure tells: nothing -------------------------------------------------------------------------------


@pytest.fixture
async def population(kernel: Kernel) -> Kernel:
    """One user of each kind that must look alike."""
    await join(kernel, password=PASSWORD)
    disabled = await join(kernel, "dora", password=PASSWORD)
    await operator(kernel).disable(disabled.id)
    await join(kernel, "nemo")
    return kernel


def _try(kernel: Kernel, failure: str) -> Callable[[], object]:
    factor = PasswordFactor(kernel.hasher, kernel.users)
    typed, password = {
        "unknown": ("zoe", PASSWORD),
        "unknown_address": ("zoe@example.org", PASSWORD),
        "wrong": ("alice", OTHER_PASSWORD),
        "disabled": ("dora", PASSWORD),
        "no_password": ("nemo", PASSWORD),
    }[failure]
    return lambda: log_in(kernel, typed, prove=factor.prove(password, HOME.address))


async def _failed(kernel: Kernel, failure: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await _try(kernel, failure)()  # type: ignore[misc]
    return caught.value


@pytest.mark.sqlite
async def test_d7_every_failure_looks_the_same(population: Kernel) -> None:
    """Unknown, wrong, disabled, without a password: same error, same statements, one record each."""
    answers, shapes = set(), set()
    for failure in FAILURES:
        records = len(await recorded(population, "ww_audit"))
        with statements(population) as seen:
            error = await _failed(population, failure)
        answers.add((error.code, error.message))
        shapes.add(tuple(statement[:20] for statement in seen.of_the_product))
        assert len(await recorded(population, "ww_audit")) == records + 1
    assert len(answers) == 1
    assert shapes == {("SELECT id, username,", "SELECT password_hash", "INSERT INTO ww_audit")}


async def test_d7_an_empty_password_is_a_wrong_one(population: Kernel) -> None:
    """D14: a user without a password has none that matches, the empty one included."""
    factor = PasswordFactor(population.hasher, population.users)
    for who in ("nemo", "alice"):
        with pytest.raises(Unauthenticated):
            await log_in(population, who, prove=factor.prove("", HOME.address))


@pytest.fixture
def cheaper_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cost 10 instead of 12: what is counted is the same, and the tests take a quarter of the time."""
    monkeypatch.setattr(hashing, "BCRYPT_COST", 10)


async def test_d7_a_mixed_database_makes_every_failure_cost_every_kind(
    open_kernel: Opener, monkeypatch: pytest.MonkeyPatch, cheaper_bcrypt: None
) -> None:
    """With argon2id and bcrypt side by side each failure computes one hash of each, whoever it was about."""
    async with open_kernel(password_hash="bcrypt") as kernel:
        await join(kernel, "bert", password=PASSWORD)
    async with open_kernel() as kernel:
        await join(kernel, "arno", password=PASSWORD)
        for name in ("bert", "arno"):
            disabled = await join(kernel, f"{name}_disabled")
            await kernel.database.run(
                "UPDATE ww_users SET disabled_at = 1, password_hash ="
                " (SELECT password_hash FROM ww_users WHERE username = :name) WHERE id = :id",
                name=name, id=disabled.id,
            )  # fmt: skip
        computed: list[str] = []
        monkeypatch.setattr(hashing, "matches", _counting(computed))
        factor = PasswordFactor(kernel.hasher, kernel.users)
        for who, password in [
            ("zoe", PASSWORD), ("bert", OTHER_PASSWORD), ("arno", OTHER_PASSWORD),
            ("bert_disabled", PASSWORD), ("arno_disabled", PASSWORD), ("bert_disabled", OTHER_PASSWORD),
        ]:  # fmt: skip
            computed.clear()
            with pytest.raises(Unauthenticated):
                await log_in(kernel, who, prove=factor.prove(password, HOME.address))
            assert sorted(computed) == ["$2b$10", kernel.hasher.preferred_kind], who


def _counting(computed: list[str]) -> Callable[[str, str], bool]:
    real = hashing.matches

    def counted(password: str, password_hash: str) -> bool:
        computed.append(hashing.kind_of(password_hash))
        return real(password, password_hash)

    return counted


async def test_d7_a_kind_that_another_process_brought_is_learned_at_its_first_sight(
    open_kernel: Opener, cheaper_bcrypt: None
) -> None:
    """A running process meets a hash of a kind it has never seen: from then on failures pay for it."""
    async with open_kernel() as kernel:
        assert not kernel.hasher.knows("$2b$10")
        async with open_kernel(password_hash="bcrypt") as other:
            await join(other, "bert", password=PASSWORD)
        factor = PasswordFactor(kernel.hasher, kernel.users)
        with pytest.raises(Unauthenticated):
            await log_in(kernel, "bert", prove=factor.prove(OTHER_PASSWORD, HOME.address))
        assert kernel.hasher.knows("$2b$10")


# --- Hashes are replaced by better ones ----------------------------------------------------------------------------


async def test_d3_the_preferred_hash_takes_over_at_log_in_both_ways(open_kernel: Opener, cheaper_bcrypt: None) -> None:
    """bcrypt → argon2id and back: not a change of credential, so version and sessions stay."""
    async with open_kernel(password_hash="bcrypt") as kernel:
        await join(kernel, password=PASSWORD)
        held = (
            await Passwords(kernel).log_in("alice", PASSWORD, client=HOME, replacing=None, device=None)
        ).tokens.refresh_token
    for preferred, start in (("argon2id", "$argon2id$v=19$m="), ("bcrypt", "$2b$10$")):
        async with open_kernel(password_hash=preferred) as kernel:
            await Passwords(kernel).log_in("alice", PASSWORD, client=HOME, replacing=None, device=None)
            (user,) = await recorded(kernel, "ww_users")
            assert user["password_hash"].startswith(start)
            assert user["token_version"] == 1
            held = (await refresh(kernel, held)).refresh_token
            assert await entries(kernel) == []


async def test_d3_of_two_upgrades_at_once_the_first_stays(kernel: Kernel) -> None:
    """Both checked the old hash; the second finds another one in its place and leaves it."""
    user = await join(kernel)
    await kernel.database.run("UPDATE ww_users SET password_hash = 'old' WHERE id = :id", id=user.id)
    both = asyncio.Barrier(2)

    async def attempt(new: str, after: float) -> None:
        async def prove(candidate: Candidate | None) -> Proof | None:
            assert candidate is not None
            await both.wait()
            await asyncio.sleep(after)
            return Proof("pwd", keep_better(user.id, "old", new))

        await log_in(kernel, prove=prove)

    await asyncio.gather(attempt("first", 0), attempt("second", 0.05))
    (row,) = await recorded(kernel, "ww_users")
    assert row["password_hash"] == "first"


async def test_d3_many_log_ins_at_once_upgrade_to_a_hash_that_still_works(kernel: Kernel) -> None:
    """Eight at once with a weaker stored hash: all get in, one new hash is stored, and it is of the same password."""
    user = await join(kernel)
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    await kernel.database.run("UPDATE ww_users SET password_hash = :weak WHERE id = :id", weak=weak, id=user.id)
    passwords = Passwords(kernel)
    await asyncio.gather(
        *(passwords.log_in("alice", PASSWORD, client=HOME, replacing=None, device=None) for _ in range(8))
    )
    (row,) = await recorded(kernel, "ww_users")
    assert hashing.kind_of(row["password_hash"]) == kernel.hasher.preferred_kind
    assert hashing.matches(PASSWORD, row["password_hash"])


async def test_d2_a_password_that_bcrypt_cannot_hold_keeps_its_argon2_hash(
    open_kernel: Opener, cheaper_bcrypt: None
) -> None:
    """Set under argon2id, longer than 72 bytes, then bcrypt is preferred: it goes on working, nothing is cut."""
    long = PASSWORD * 5
    async with open_kernel() as kernel:
        await join(kernel, password=long)
    async with open_kernel(password_hash="bcrypt") as kernel:
        await Passwords(kernel).log_in("alice", long, client=HOME, replacing=None, device=None)
        (row,) = await recorded(kernel, "ww_users")
        assert row["password_hash"].startswith("$argon2id$")


async def test_a_hash_that_cannot_be_read_matches_nothing(kernel: Kernel) -> None:
    """A marker or a damaged hash in the column is a failed log-in, not a fault (never 5xx)."""
    user = await join(kernel)
    for damaged in ("!", "", "$2b$12$short", "$argon2id$v=19$broken", "$argon2x$", bcrypt.gensalt().decode()):
        await kernel.database.run("UPDATE ww_users SET password_hash = :it WHERE id = :id", it=damaged, id=user.id)
        with pytest.raises(Unauthenticated):
            await Passwords(kernel).log_in("alice", PASSWORD, client=HOME, replacing=None, device=None)


async def test_no_capacity_is_no_attempt(open_kernel: Opener) -> None:
    """What was refused for want of capacity is given back, and tells nothing about the password."""
    async with open_kernel(login_limit="1/15m") as kernel:
        await join(kernel)

        async def overloaded(_: Candidate | None) -> Proof | None:
            raise Overloaded("full")

        for _ in range(3):
            with pytest.raises(Overloaded):
                await log_in(kernel, prove=overloaded)
            with pytest.raises(Overloaded):
                await kernel.login.confirm("nobody", Factor(overloaded), client=HOME)
        await log_in(kernel)
