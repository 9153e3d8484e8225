"""A log-in that waits for a second factor: what its handle is worth, to whom, how often and how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.identity.scenes import (
    AWAY,
    HOME,
    Opener,
    claims_of,
    file_contents,
    give_roles,
    join,
    known_device,
    log_in,
    operator,
    proven,
    recorded,
    refresh,
    refuse_inserts,
    reset_password,
    unproven,
)
from watchword.clock import FixedClock
from watchword.errors import StorageUnavailable, TooManyAttempts, Unauthenticated
from watchword.identity.audit import Client
from watchword.identity.factors import Candidate, Factor, Proof, SecondFactor
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn, LogIn, SecondFactorNeeded
from watchword.identity.pending import LIFETIME, TRIES
from watchword.identity.users import User
from watchword.storage.database import Tx

CODE = "314159"


def toy(code: str, *, method: str = "otp", delay: float = 0) -> Factor:
    """A second factor with one code for everyone."""

    async def prove(candidate: Candidate | None) -> Proof | None:
        await asyncio.sleep(delay)
        return Proof(method) if candidate is not None and code == CODE else None

    return Factor(prove, refusal="The code is wrong.", wrong="wrong_code")


async def _needed(user: User) -> bool:
    return user.username != "bert"


def with_second(kernel: Kernel) -> LogIn:
    """The pipeline of this kernel, with a second factor that everyone but Bert must pass."""
    return LogIn(
        kernel.database,
        kernel.sessions,
        kernel.throttle,
        kernel.revocations,
        kernel.ephemeral,
        kernel.clock,
        kernel.notices,
        kernel.known_devices,
        second_factors=(SecondFactor("otp", _needed),),
    )


@pytest.fixture(params=[1, 2], ids=["memory", "sql"])
async def second(open_kernel: Opener, request: pytest.FixtureRequest) -> AsyncIterator[Kernel]:
    """A kernel with Alice, with either store of short-lived values."""
    async with open_kernel(workers=request.param) as kernel:
        await join(kernel)
        yield kernel


async def begin(kernel: Kernel, *, factor: Factor = proven, client_id: str = FIRST_PARTY, client: Client = HOME) -> str:
    """Prove the first factor; the handle."""
    with pytest.raises(SecondFactorNeeded) as caught:
        await with_second(kernel).attempt("alice", factor, client=client, client_id=client_id)
    assert caught.value.wanted == ("otp",)
    return caught.value.handle


async def complete(
    kernel: Kernel, handle: str, factor: Factor | None = None, *, client_id: str = FIRST_PARTY, client: Client = HOME
) -> LoggedIn:
    """Go on with the right code, unless another factor is given."""
    return await with_second(kernel).complete(handle, factor or toy(CODE), client=client, client_id=client_id)


async def refused(kernel: Kernel, handle: str, factor: Factor | None = None, *, client_id: str = FIRST_PARTY) -> None:
    """It does not go on, and says no more than that."""
    with pytest.raises(Unauthenticated) as caught:
        await complete(kernel, handle, factor, client_id=client_id)
    assert type(caught.value) is Unauthenticated
    assert (caught.value.code, caught.value.message) == ("invalid_credentials", "The code is wrong.")


async def sessions(kernel: Kernel) -> int:
    """How many there ever were."""
    return len(await recorded(kernel, "ww_sessions"))


async def outcomes(kernel: Kernel) -> list[tuple[str, str]]:
    """Event and outcome of every audit record about logging in."""
    records = await recorded(kernel, "ww_audit")
    return [(row["event"], row["outcome"]) for row in records if row["event"].startswith("log_in")]


async def test_two_proofs_make_one_session(second: Kernel) -> None:
    """After the first proof there is a record and nothing else; the second one opens the session, which names both."""
    handle = await begin(second)
    assert await sessions(second) == 0
    assert (await recorded(second, "ww_users"))[0]["last_login_at"] is None
    logged_in = await complete(second, handle)
    assert claims_of(second, logged_in).amr == ("pwd", "otp", "mfa")
    assert claims_of(second, await refresh(second, logged_in.tokens.refresh_token)).amr == ("pwd", "otp", "mfa")
    assert await outcomes(second) == [("log_in_pending", "ok"), ("log_in", "ok")]


async def test_who_needs_no_second_factor_waits_for_none(second: Kernel) -> None:
    """The pipeline asks the second factors it was given; in production there is none yet."""
    await join(second, "bert")
    logged_in = await with_second(second).attempt("bert", proven, client=HOME, client_id=FIRST_PARTY)
    assert claims_of(second, logged_in).amr == ("pwd",)
    assert claims_of(second, await log_in(second)).amr == ("pwd",)


async def test_to_a_door_that_knows_no_second_factor_it_is_a_failed_log_in(second: Kernel) -> None:
    """`SecondFactorNeeded` is an `Unauthenticated` with the code of every failure."""
    with pytest.raises(Unauthenticated) as caught:
        await with_second(second).attempt("alice", proven, client=HOME, client_id=FIRST_PARTY)
    assert caught.value.code == "invalid_credentials"
    assert await sessions(second) == 0


async def test_64_uses_of_one_handle_at_once_make_one_session(second: Kernel) -> None:
    """⚑ The handle is taken before the second factor is asked, and what is taken is gone."""
    handle = await begin(second)
    tries = (complete(second, handle, toy(CODE, delay=0.01)) for _ in range(64))
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert len([result for result in results if isinstance(result, LoggedIn)]) == 1
    assert {type(result) for result in results} <= {LoggedIn, Unauthenticated, TooManyAttempts}
    assert await sessions(second) == 1


async def test_a_used_handle_is_worth_nothing(second: Kernel) -> None:
    """Replayed, it is refused as one that never was."""
    handle = await begin(second)
    await complete(second, handle)
    for worthless in (handle, handle[:-1], "wwp_" + "A" * 43, "", "x" * 10_000):
        await refused(second, worthless)
    assert await sessions(second) == 1


async def test_a_handle_lives_five_minutes(second: Kernel, clock: FixedClock) -> None:
    """On its last second it can be used, a second later not. A wrong proof does not lengthen its life."""
    handle, late, renewed = await begin(second), await begin(second), await begin(second)
    clock.advance(LIFETIME - 1)
    await refused(second, renewed, toy("0"))
    await complete(second, handle)
    clock.advance(1)
    await refused(second, late)
    await refused(second, renewed)


async def test_only_the_client_that_began_can_go_on(second: Kernel) -> None:
    """Another client is refused, and does not use the handle up."""
    handle = await begin(second, client_id="app")
    await refused(second, handle)
    assert claims_of(second, await complete(second, handle, client_id="app")).client_id == "app"


@pytest.mark.parametrize("event", ["reset", "disabled", "disabled_by_hand", "roles", "deleted", "enabled_again"])
@pytest.mark.parametrize("during", [False, True], ids=["before", "during"])
async def test_a_user_who_changed_meanwhile_begins_again(second: Kernel, event: str, during: bool) -> None:
    """⚑ Before the second proof, or while it is checked: no session, and the handle is gone."""
    (row,) = await recorded(second, "ww_users")

    async def change() -> None:
        if event == "reset":
            await reset_password(second, row["id"])
        elif event == "roles":
            await give_roles(second, row["id"], ("admin",))
        elif event == "deleted":
            await second.database.run("DELETE FROM ww_users WHERE id = :id", id=row["id"])
        elif event == "disabled_by_hand":
            await second.database.run("UPDATE ww_users SET disabled_at = 1 WHERE id = :id", id=row["id"])
        else:
            await operator(second).disable(row["id"])
            if event == "enabled_again":
                await operator(second).enable(row["id"])

    async def changing(_: Candidate | None) -> Proof | None:
        await change()
        return Proof("otp")

    handle = await begin(second)
    if during:
        await refused(second, handle, toy(CODE)._replace(prove=changing))
    else:
        await change()
        await refused(second, handle)
    await refused(second, handle)
    assert await sessions(second) == 0
    assert (await outcomes(second))[1:] == [("log_in", "refused")]


async def test_a_user_who_changes_during_the_first_proof_gets_no_handle(second: Kernel) -> None:
    """The handle would be of no use; what the factor wanted done is not done either."""
    (row,) = await recorded(second, "ww_users")

    async def also(tx: Tx) -> None:
        await tx.run("UPDATE ww_users SET password_hash = 'better'")

    async def changing(_: Candidate | None) -> Proof | None:
        await give_roles(second, row["id"], ("admin",))
        return Proof("pwd", also)

    with pytest.raises(Unauthenticated) as caught:
        await with_second(second).attempt("alice", Factor(changing), client=HOME, client_id=FIRST_PARTY)
    assert type(caught.value) is Unauthenticated
    assert (await recorded(second, "ww_users"))[0]["password_hash"] is None
    assert await outcomes(second) == [("log_in", "refused")]


async def test_what_the_first_factor_wants_done_is_done_with_its_proof(second: Kernel) -> None:
    """A better hash does not wait for the second proof, which may never come."""

    async def also(tx: Tx) -> None:
        await tx.run("UPDATE ww_users SET password_hash = 'better'")

    async def prove(_: Candidate | None) -> Proof | None:
        return Proof("pwd", also)

    await begin(second, factor=Factor(prove))
    assert (await recorded(second, "ww_users"))[0]["password_hash"] == "better"


async def test_a_handle_has_a_few_tries(second: Kernel) -> None:
    """Wrong, it can be tried again; after the last try the right code is worth nothing."""
    handle = await begin(second)
    for _ in range(TRIES - 1):
        await refused(second, handle, toy("0"))
    await complete(second, handle)
    handle = await begin(second, client=AWAY)
    for _ in range(TRIES):
        await refused(second, handle, toy("0"))
    await refused(second, handle)
    assert await sessions(second) == 1
    assert (await outcomes(second)).count(("log_in", "refused")) == 2 * TRIES - 1


async def test_a_wrong_second_proof_is_a_failed_log_in(open_kernel: Opener) -> None:
    """⚑ Handle after handle, halves of log-ins and wrong codes count together; the right ones give nothing back."""
    async with open_kernel(login_limit="10/5m") as kernel:
        await join(kernel)
        asked = 0

        async def wrong(_: Candidate | None) -> Proof | None:
            nonlocal asked
            asked += 1
            return None

        for _ in range(3):
            handle = await begin(kernel)
            for _ in range(2):
                await refused(kernel, handle, toy("0")._replace(prove=wrong))
        handle = await begin(kernel)
        with pytest.raises(TooManyAttempts) as caught:
            await complete(kernel, handle)
        assert (caught.value.limit, asked) == ("login", 6)


async def test_D10_on_a_known_device_both_factors_get_the_owner_in(open_kernel: Opener) -> None:
    """While strangers use the account's limit up; the second factor's own limit holds there too."""
    async with open_kernel(login_account_limit="9/15m", second_factor_limit="2/1h") as kernel:
        await join(kernel)
        login = with_second(kernel)
        device = known_device(kernel, await complete(kernel, await begin(kernel)))

        async def both(code: str) -> LoggedIn:
            with pytest.raises(SecondFactorNeeded) as waiting:
                await login.attempt("alice", proven, client=HOME, client_id=FIRST_PARTY, device=device)
            return await login.complete(
                waiting.value.handle, toy(code), client=HOME, client_id=FIRST_PARTY, device=device
            )

        for number in range(8):  # the half of the first log-in counts too
            stranger = HOME._replace(address=f"203.0.113.{number}")
            with pytest.raises(Unauthenticated):
                await login.attempt("alice", unproven, client=stranger, client_id=FIRST_PARTY)
        with pytest.raises(TooManyAttempts):
            await login.attempt("alice", proven, client=HOME, client_id=FIRST_PARTY)
        assert (await both(CODE)).user.username == "alice"
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                await both("0")
        with pytest.raises(TooManyAttempts) as caught:
            await both(CODE)
        assert caught.value.limit == "second_factor"


async def test_half_a_log_in_counts_as_one(open_kernel: Opener) -> None:
    """⚑ A stolen password does not buy handles for ever; and no session is counted, which the owner may still open."""
    async with open_kernel(login_limit="5/1h", session_limit="1/1h") as kernel:
        await join(kernel)
        handles = [await begin(kernel) for _ in range(5)]
        with pytest.raises(TooManyAttempts) as caught:
            await begin(kernel)
        assert caught.value.limit == "login"
        await complete(kernel, handles[0], client=AWAY)


async def test_wrong_second_proofs_have_a_limit_that_no_address_resets(open_kernel: Opener) -> None:
    """⚑ Who has the password and a thousand addresses guesses a few codes an hour, and no more."""
    async with open_kernel(second_factor_limit="3/1h") as kernel:
        await join(kernel)
        for number in range(3):
            client = HOME._replace(address=f"203.0.113.{number}")
            handle = await begin(kernel, client=client)
            with pytest.raises(Unauthenticated):
                await complete(kernel, handle, toy("0"), client=client)
        handle = await begin(kernel)
        with pytest.raises(TooManyAttempts) as caught:
            await complete(kernel, handle)
        assert caught.value.limit == "second_factor"
        assert await sessions(kernel) == 0


async def test_a_right_proof_keeps_its_handle_when_storage_fails(
    second: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often: only a wrong proof uses up a try."""
    handle = await begin(second)

    async def fails(*_: object) -> None:
        raise StorageUnavailable("injected")

    with monkeypatch.context() as broken:
        broken.setattr(LogIn, "_open", fails)
        for _ in range(TRIES):
            with pytest.raises(StorageUnavailable):
                await complete(second, handle)
    await complete(second, handle)


async def test_the_first_factor_again_is_no_second_one(second: Kernel) -> None:
    """A feature that asked for the wrong factor fails loudly, and opens nothing."""
    handle = await begin(second)
    with pytest.raises(RuntimeError, match="pwd is none of the second factors"):
        await complete(second, handle, proven)
    await refused(second, handle)
    assert await sessions(second) == 0


async def test_a_factor_that_fails_uses_up_no_handle(second: Kernel) -> None:
    """When the second factor cannot be asked just now, the user need not begin again."""

    async def away(_: Candidate | None) -> Proof | None:
        raise StorageUnavailable("injected")

    handle = await begin(second)
    with pytest.raises(StorageUnavailable):
        await complete(second, handle, Factor(away))
    await complete(second, handle)


@pytest.mark.sqlite
async def test_the_handle_is_kept_hashed(open_kernel: Opener) -> None:
    """Who reads the database can complete no log-in."""
    async with open_kernel(workers=2) as kernel:
        await join(kernel)
        handle = await begin(kernel)
        contents = file_contents(kernel)
        assert b"pending_log_in:" in contents
        assert handle.removeprefix("wwp_").encode() not in contents


@pytest.mark.sqlite
async def test_a_session_that_cannot_be_stored_opens_nothing(second: Kernel) -> None:
    """The second proof's transaction is undone as a whole; the handle is gone, and the user begins again."""
    handle = await begin(second)
    refuse_inserts(second, "ww_sessions")
    with pytest.raises(Exception, match="injected"):
        await complete(second, handle)
    assert await sessions(second) == 0
    assert (await recorded(second, "ww_users"))[0]["last_login_at"] is None
