"""Users: what may be set, what clashes, and what a change of rights leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from tests.identity.scenes import (
    DAY,
    HOME,
    PASSWORD,
    Opener,
    claims_of,
    give_roles,
    join,
    log_in,
    operator,
    recorded,
    stored,
)
from watchword.clock import FixedClock
from watchword.errors import Conflict, Forbidden, InvalidInput, NotFound, TooManyAttempts, Unauthenticated
from watchword.features.accounts.service import Accounts
from watchword.features.passwords.service import Passwords
from watchword.identity import sweeping
from watchword.identity.granting import unchecked
from watchword.identity.identifiers import typed
from watchword.identity.kernel import Kernel
from watchword.identity.user_list import Wanted, page


async def test_a_user_is_made_as_asked(dear_hashes: None, kernel: Kernel) -> None:
    """Names as written, keys for look-up, no verified address, version 1, a PHC hash and no password."""
    user = await join(kernel, "Alice", password=PASSWORD, roles=("b", "a", "b"))
    assert (user.username, user.email, user.roles, user.token_version) == ("Alice", "Alice@example.org", ("a", "b"), 1)
    assert (user.email_verified_at, user.disabled_at, user.last_login_at) == (None, None, None)
    (row,) = await recorded(kernel, "ww_users")
    assert (row["username_key"], row["email_key"]) == ("alice", "alice@example.org")
    assert row["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in str(row)
    assert "hash" not in repr(user)


@pytest.mark.parametrize(
    ("username", "email", "code"),
    [
        ("ALICE", "new@example.org", "username_taken"),
        ("ａｌｉｃｅ", "new@example.org", "username_taken"),
        ("new", "ALICE@Example.ORG", "email_taken"),
        ("new", "alice＠example.org", "email_taken"),
    ],
)
async def test_h7_h9_look_alikes_of_what_is_taken_are_taken(
    kernel: Kernel, username: str, email: str, code: str
) -> None:
    """Case and full-width spelling make no second user; the error says which name it was."""
    await join(kernel)
    with pytest.raises(Conflict) as caught:
        await join(kernel, username, email=email)
    assert caught.value.code == code
    assert len(await recorded(kernel, "ww_users")) == 1
    assert [record["event"] for record in await recorded(kernel, "ww_audit")].count("user_created") == 1


async def test_of_many_who_register_one_name_at_once_one_gets_it(kernel: Kernel) -> None:
    """The unique index decides, not a look before."""
    results = await asyncio.gather(
        *(join(kernel, "alice", email=f"a{n}@example.org") for n in range(20)), return_exceptions=True
    )
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert {type(result) for result in results if isinstance(result, Exception)} == {Conflict}


async def test_every_fault_is_told_at_once(kernel: Kernel) -> None:
    """Name, address and password: one answer with all of them, and no hash was computed for it."""
    with pytest.raises(InvalidInput) as caught:
        await kernel.users.create(username="a b", email="nobody", password="short", client=HOME, check=unchecked)
    assert [(error.field, error.code) for error in caught.value.errors] == [
        ("username", "characters"), ("email", "email"), ("password", "too_short"),
    ]  # fmt: skip


async def test_a_user_needs_a_name_or_an_address(kernel: Kernel) -> None:
    """One of the two is enough, neither is not."""
    with pytest.raises(InvalidInput) as caught:
        await kernel.users.create(username=None, email=None, password=PASSWORD, client=HOME, check=unchecked)
    assert [error.code for error in caught.value.errors] == ["required"]
    assert (await join(kernel, "only", email=None)).identifiers == ("only",)
    assert (
        await kernel.users.create(username=None, email="o@example.org", password=None, client=HOME, check=unchecked)
    ).identifiers == ("o@example.org",)


@pytest.mark.parametrize("role", ["", "two words", "ünï", "a" * 65, "semi;colon", "line\nbreak"])
async def test_roles_are_plain_words(kernel: Kernel, role: str) -> None:
    """They are stored separated by spaces and travel in tokens."""
    user = await join(kernel)
    with pytest.raises(InvalidInput):
        await give_roles(kernel, user.id, (role,))


async def test_what_is_not_there_is_not_found(kernel: Kernel) -> None:
    """`find` says None, every change says `NotFound`; nothing is recorded."""
    before = await recorded(kernel, "ww_audit")
    assert await kernel.users.find("nobody") is None
    assert await kernel.users.find_by(typed("nobody")) is None
    for attempt in (
        operator(kernel).disable("nobody"),
        operator(kernel).enable("nobody"),
        give_roles(kernel, "nobody", ("a",)),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await recorded(kernel, "ww_audit") == before


async def test_disabling_twice_keeps_the_first_time(kernel: Kernel, clock: FixedClock) -> None:
    """`disabled_at` is when it began."""
    user = await join(kernel)
    first = await operator(kernel).disable(user.id)
    clock.advance(60)
    assert (await operator(kernel).disable(user.id)).disabled_at == first.disabled_at
    assert (await operator(kernel).enable(user.id)).disabled_at is None


async def test_pages_of_users_leave_nobody_out(kernel: Kernel) -> None:
    """By the last id of the page before; a search finds names and addresses, and takes wildcards literally."""
    made = [(await join(kernel, f"user_{number}")).id for number in range(5)]
    found: list[str] = []
    while some := await page(kernel.database, Wanted(), limit=2, after=found[-1] if found else ""):
        found += [user.id for user in some]
    assert found == sorted(made)
    assert [user.username for user in await page(kernel.database, Wanted("USER_3"), limit=9)] == ["user_3"]
    assert await page(kernel.database, Wanted("%"), limit=9) == []
    assert await page(kernel.database, Wanted("r!"), limit=9) == []


async def test_h5_h12_a_new_address_is_unverified_and_a_rename_is_not_a_new_address(kernel: Kernel) -> None:
    """The same address changes neither mark nor version; another one, where it is taken at once, raises the version."""
    await join(kernel, password=PASSWORD)
    await kernel.database.run("UPDATE ww_users SET email_verified_at = 1")
    accounts = Accounts(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    same = await accounts.change(
        caller, username="Alicia", email="alice@example.org", password=PASSWORD, client=HOME
    )  # fmt: skip
    assert (same.username, same.email_verified_at, same.token_version) == ("Alicia", 1, 1)
    with pytest.raises(InvalidInput) as caught:
        await accounts.change(caller, username=None, email="alice@example.com", password=PASSWORD, client=HOME)
    assert caught.value.errors[0].code == "needs_confirmation"
    await kernel.database.run("UPDATE ww_users SET email_verified_at = NULL")
    other = await accounts.change(caller, username=None, email="alice@example.com", password=PASSWORD, client=HOME)
    assert (other.email, other.email_verified_at, other.token_version) == ("alice@example.com", None, 2)


async def test_a_new_address_needs_the_password(kernel: Kernel) -> None:
    """It is a way back into the account, so a stolen access token alone must not set it; a rename needs none."""
    await join(kernel, password=PASSWORD)
    accounts = Accounts(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    for password in (None, "", "wrong-wrong"):
        with pytest.raises(Unauthenticated) as caught:
            await accounts.change(caller, username=None, email="thief@example.com", password=password, client=HOME)
        assert caught.value.code == "invalid_credentials"
    assert (await accounts.change(caller, username="alicia", email=None, password=None, client=HOME)).token_version == 1


async def test_closing_an_account_needs_the_password_and_leaves_nothing(kernel: Kernel, clock: FixedClock) -> None:
    """The user is gone at once, the ended sessions after a day, the record of it stays."""
    user = await join(kernel, password=PASSWORD)
    accounts = Accounts(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    with pytest.raises(Unauthenticated):
        await accounts.close(caller, password="wrong-wrong", client=HOME)
    await accounts.close(caller, password=PASSWORD, client=HOME)
    assert await recorded(kernel, "ww_users") == []
    assert [row["end_reason"] for row in await recorded(kernel, "ww_sessions")] == ["deleted"]
    clock.advance(2 * DAY)
    await sweeping.sweep(kernel.database, clock.now())
    assert await recorded(kernel, "ww_sessions") == []
    last = (await recorded(kernel, "ww_audit"))[-1]
    assert (last["event"], last["user_id"]) == ("user_deleted", user.id)
    with pytest.raises(Unauthenticated):
        await accounts.profile(caller)


async def test_d12_changing_the_password_end_to_end(kernel: Kernel) -> None:
    """The current one is needed, the new one must pass the policy, the old one stops working."""
    user = await join(kernel, password=PASSWORD)
    passwords = Passwords(kernel)
    caller = claims_of(kernel, await log_in(kernel))
    with pytest.raises(Unauthenticated):
        await passwords.change(caller, current="wrong-wrong", new="velvet-anchor-ripple", client=HOME)
    with pytest.raises(InvalidInput) as caught:
        await passwords.change(caller, current=PASSWORD, new="password1", client=HOME)
    assert {error.field for error in caught.value.errors} == {"new_password"}
    again = await passwords.change(caller, current=PASSWORD, new="velvet-anchor-ripple", client=HOME)
    assert claims_of(kernel, again).ver == 2
    assert (await stored(kernel, user)).token_version == 2
    with pytest.raises(Unauthenticated):
        await passwords.log_in("alice", PASSWORD, client=HOME, replacing=None, device=None)
    await passwords.log_in("alice", "velvet-anchor-ripple", client=HOME, replacing=None, device=None)


async def test_registration_may_be_closed_and_is_limited(open_kernel: Opener) -> None:
    """Closed: no one. Open: so many accounts per address; what is refused for its form is no account."""
    async with open_kernel(registration="closed") as kernel:
        with pytest.raises(Forbidden) as caught:
            await Accounts(kernel).register(username="a", email=None, password=PASSWORD, client=HOME)
        assert caught.value.code == "registration_closed"
    async with open_kernel(register_limit="2/1h") as kernel:
        for number in range(4):
            with pytest.raises(InvalidInput):
                await Accounts(kernel).register(username="a b", email=None, password=PASSWORD, client=HOME)
            if number >= 2:
                await Accounts(kernel).register(username=f"name{number}", email=None, password=PASSWORD, client=HOME)
        with pytest.raises(TooManyAttempts):
            await Accounts(kernel).register(username="alice", email=None, password=PASSWORD, client=HOME)
        user = await Accounts(kernel).register(
            username="alice", email=None, password=PASSWORD, client=HOME._replace(address="203.0.113.9")
        )
        assert (user.roles, user.email_verified_at) == ((), None)
