"""Links and codes: used once however many try, for one purpose, by the client that asked, until something changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.identity.scenes import AWAY, HOME, HOUR, Opener, join, operator, recorded, reset_password, stored
from watchword.clock import FixedClock
from watchword.errors import Conflict, Refused, Unauthenticated
from watchword.features.codes.service import Codes
from watchword.features.recovery.service import RESETS
from watchword.identity.first_administrator import PURPOSE as FIRST
from watchword.identity.kernel import Kernel
from watchword.identity.known_devices import REGISTERED
from watchword.identity.one_time import LIFETIMES, TRIES, Derived, Found, Issued
from watchword.identity.redeeming import CONFIRMS
from watchword.identity.showing import Brought
from watchword.identity.user_row import User
from watchword.storage.database import Tx

MANY = 64
KEY = "alice@example.org"
OFF = {
    f"{name}_limit": "off"
    for name in (
        "code",
        "code_address",
        "code_account",
        "session",
        "session_address",
        "mail",
        "mail_address",
        "conflict",
    )
}
DETAILS = {
    "register": {"email": "new@example.org", "password_hash": "$argon2id$x"},
    "change": {"email": "other@example.org", "old_key": KEY},
    "undo": {"email": "former@example.org"},
}


async def issue(kernel: Kernel, purpose: str, user: User | None, *, key: str = KEY) -> tuple[Issued, Derived]:
    """Make a link, as sent to that user."""

    async def unit(tx: Tx) -> Issued:
        owner = None if user is None else user.id
        detail = {"email": key, **DETAILS.get(purpose, {})}
        return await kernel.one_time.issue(tx, purpose, detail["email"], user_id=owner, detail=detail)

    issued = await kernel.database.transact(unit)
    derived = await kernel.one_time.derive(issued.id, issued.seed)
    assert derived is not None
    return issued, derived


async def redeem(kernel: Kernel, purpose: str, token: str) -> None:
    """Do what a link of this purpose is for."""
    if purpose == "undo":
        await kernel.addresses.undo(await kernel.addresses.found(("undo",), token=token, client=HOME), client=HOME)
    elif purpose == "reset":
        found = await kernel.addresses.found(("reset",), token=token, client=HOME)
        await kernel.addresses.reset_password(found, "velvet-anchor-ripple", client=HOME, field="new_password")
    else:
        found = await kernel.addresses.found((purpose,), token=token, client=HOME)
        await kernel.addresses.confirm(found, client=HOME, brought=Brought(device=await device(kernel, found)))


async def device(kernel: Kernel, found: Found) -> str:
    """The cookie of the browser in which its user has registered or logged in."""
    user = None if found.user_id is None else await kernel.users.find(found.user_id)
    who = (found.id, REGISTERED) if user is None else (user.id, user.token_version)
    return kernel.known_devices.remember(None, *who)


async def outcomes(work: Callable[[], Awaitable[object]], times: int = MANY) -> list[str]:
    """What each of many at once got: `ok` or the code of its error."""

    async def one() -> str:
        try:
            await work()
        except (Refused, Unauthenticated) as error:
            return error.code
        return "ok"

    return sorted(await asyncio.gather(*(one() for _ in range(times))))


@pytest.fixture
async def kernel(open_kernel: Opener) -> AsyncIterator[Kernel]:
    async with open_kernel(email_login="on", **OFF) as opened:
        yield opened


@pytest.mark.parametrize("purpose", ["verify", "register", "change", "undo", "reset"])
async def test_H1_many_at_once_use_a_link_once(kernel: Kernel, purpose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four that have all found it valid: one changes something, and the others are refused."""

    async def hashed(*_: object, **__: object) -> str:
        return "$argon2id$of-the-reset"  # without the pool, whose queue would refuse most of them

    monkeypatch.setattr(kernel.users, "hash_new_password", hashed)
    user = None if purpose == "register" else await join(kernel)
    _, derived = await issue(kernel, purpose, user)
    before = 0 if user is None else (await stored(kernel, user)).token_version
    found = await kernel.addresses.found((purpose,), token=derived.token, client=HOME)

    async def find(*_: object, **__: object) -> object:
        return found  # all of them have found it before the first one uses it

    with monkeypatch.context() as patched:
        patched.setattr(kernel.addresses, "found", find)
        got = await outcomes(lambda: redeem(kernel, purpose, derived.token))
    assert got == ["ok", *["one_time_invalid"] * (MANY - 1)]
    got = await outcomes(lambda: redeem(kernel, purpose, derived.token))
    assert got == ["one_time_invalid"] * MANY
    if user is not None:
        raised = {"verify": 0}.get(purpose, 1)
        assert (await stored(kernel, user)).token_version == before + raised


async def test_G1_many_at_once_log_in_by_a_code_once(kernel: Kernel) -> None:
    """One session. The tries of the handle are used up by the others."""
    user = await join(kernel)
    issued, derived = await issue(kernel, "login", user)
    codes = Codes(kernel)

    async def attempt() -> object:
        return await codes.log_in(issued.handle, derived.code, client=HOME, replacing=None)

    got = await outcomes(attempt)
    assert got == ["invalid_credentials"] * (MANY - 1) + ["ok"]
    assert len(await recorded(kernel, "ww_sessions")) == 1
    assert (await stored(kernel, user)).email_verified_at is not None


async def test_H1_many_wrong_codes_at_once_get_five_tries(kernel: Kernel) -> None:
    """Of a million codes sixty-four requests try five; then the right one is refused too."""
    user = await join(kernel)
    issued, derived = await issue(kernel, "verify", user)
    wrong = f"{(int(derived.code) + 1) % 10**6:06d}"
    got = await outcomes(lambda: kernel.addresses.found(("verify",), handle=issued.handle, code=wrong, client=HOME))
    assert got == ["one_time_invalid"] * MANY
    (row,) = await recorded(kernel, "ww_one_time", "id")
    assert row["tries"] == 0
    with pytest.raises(Refused):
        await kernel.addresses.found(("verify",), handle=issued.handle, code=derived.code, client=HOME)
    found = await kernel.addresses.found(("verify",), token=derived.token, client=HOME)
    assert found, "the link in the mail still works"


async def test_a_code_works_on_the_client_that_asked(kernel: Kernel) -> None:
    """Not with another handle, of another user or of the same; spaces and dashes in it do not count."""
    user = await join(kernel)
    (mine, derived), (other, _) = await issue(kernel, "verify", user), await issue(kernel, "verify", user)
    for handle in (other.handle, "", "wwh_" + "A" * 43, derived.token, "x" * 100_000):
        with pytest.raises(Refused):
            await kernel.addresses.found(("verify",), handle=handle, code=derived.code, client=HOME)
    spaced = f" {derived.code[:3]} {derived.code[3:]}- "
    assert (await kernel.addresses.found(("verify",), handle=mine.handle, code=spaced, client=HOME)).user_id == user.id


@pytest.mark.parametrize("purpose", sorted(LIFETIMES))
async def test_H1_a_link_is_for_one_purpose(kernel: Kernel, purpose: str) -> None:
    """Every other consumer refuses it, by link and by code."""
    issued, derived = await issue(kernel, purpose, await join(kernel))
    for other in LIFETIMES:
        if other != purpose:
            with pytest.raises(Refused):
                await kernel.addresses.found((other,), token=derived.token, client=HOME)
    with pytest.raises(Refused):
        await kernel.addresses.found(("none",), handle=issued.handle, code=derived.code, client=HOME)


@pytest.mark.parametrize("purpose", sorted(LIFETIMES))
async def test_J15_it_ends_on_its_second(kernel: Kernel, clock: FixedClock, purpose: str) -> None:
    """The code after ten minutes, the link after its own time."""
    issued, derived = await issue(kernel, purpose, await join(kernel))
    clock.advance(599)
    await kernel.addresses.found((purpose,), handle=issued.handle, code=derived.code, client=HOME)
    clock.advance(1)
    with pytest.raises(Refused):
        await kernel.addresses.found((purpose,), handle=issued.handle, code=derived.code, client=HOME)
    clock.advance(LIFETIMES[purpose] - 601)
    await kernel.addresses.found((purpose,), token=derived.token, client=HOME)
    clock.advance(1)
    with pytest.raises(Refused):
        await kernel.addresses.found((purpose,), token=derived.token, client=HOME)


async def test_H2_what_was_sent_before_dies_with_a_credential(kernel: Kernel) -> None:
    """A new password and a new address refuse every link and code; but none does away with the way back."""
    for number, change in enumerate((_new_password, _new_address)):
        user = await join(kernel, f"user{number}")
        key = f"user{number}@example.org"
        sent = [(purpose, await issue(kernel, purpose, user, key=key)) for purpose in ("reset", "verify", "login")]
        _, undo = await issue(kernel, "undo", user)
        await change(kernel, user)
        for purpose, (issued, derived) in sent:
            with pytest.raises(Refused):
                await kernel.addresses.found((purpose,), token=derived.token, client=HOME)
            with pytest.raises(Refused):
                await kernel.addresses.found((purpose,), handle=issued.handle, code=derived.code, client=HOME)
        assert await kernel.addresses.found(("undo",), token=undo.token, client=HOME)


async def _new_password(kernel: Kernel, user: User) -> None:
    await reset_password(kernel, user.id)


async def _new_address(kernel: Kernel, user: User) -> None:
    async def check(_: Tx) -> None:
        return None

    await kernel.users.change_identifiers(
        user, username=None, email=f"moved-{user.username}@example.org", client=HOME, check=check
    )


async def test_H6_an_address_that_changed_meanwhile_is_not_changed_again(kernel: Kernel) -> None:
    """Two changes that were asked for with the old address: one wins."""
    user = await join(kernel)
    _, first = await issue(kernel, "change", user)
    _, second = await issue(kernel, "change", user)
    await redeem(kernel, "change", first.token)
    with pytest.raises(Refused):
        await redeem(kernel, "change", second.token)
    assert (await stored(kernel, user)).email == "other@example.org"


@pytest.mark.parametrize("purpose", ["verify", "reset", "change", "undo"])
async def test_a_disabled_user_uses_nothing(kernel: Kernel, purpose: str) -> None:
    """Nor does one whose account is closed."""
    user = await join(kernel, password="plum-orbit-canvas")
    _, derived = await issue(kernel, purpose, user)
    await operator(kernel).disable(user.id)
    before = await stored(kernel, user)
    with pytest.raises(Refused):
        await redeem(kernel, purpose, derived.token)
    assert await stored(kernel, user) == before
    await kernel.database.run("DELETE FROM ww_users WHERE id = :id", id=user.id)
    with pytest.raises(Refused):
        await redeem(kernel, purpose, derived.token)


async def test_a_taken_address_uses_up_no_link(kernel: Kernel) -> None:
    """The person at the mailbox is told; everything stays as it was."""
    user = await join(kernel)
    await join(kernel, "other")
    _, derived = await issue(kernel, "change", user)
    for _ in range(2):
        with pytest.raises(Conflict) as taken:
            await redeem(kernel, "change", derived.token)
        assert taken.value.code == "email_taken"
    assert (await stored(kernel, user)).email == KEY


async def test_tries_are_taken_for_every_client(kernel: Kernel) -> None:
    """Wrong codes from elsewhere count with the same handle, five in all."""
    issued, derived = await issue(kernel, "login", await join(kernel))
    codes = Codes(kernel)
    for number in range(TRIES):
        with pytest.raises(Unauthenticated):
            await codes.log_in(issued.handle, "x" * number, client=AWAY, replacing=None)
    with pytest.raises(Unauthenticated):
        await codes.log_in(issued.handle, derived.code, client=HOME, replacing=None)


async def test_what_expired_is_swept(kernel: Kernel, clock: FixedClock) -> None:
    """Links on the second on which they end; devices after ninety days."""
    from watchword.identity import sweeping

    await issue(kernel, "reset", await join(kernel))
    await kernel.database.run("INSERT INTO ww_devices (user_id, device, created_at, seen_at) VALUES ('u', 'd', 1, 1)")
    clock.advance(LIFETIMES["reset"] - 1)
    await sweeping.sweep(kernel.database, clock.now())
    assert len(await recorded(kernel, "ww_one_time", "id")) == 1
    assert await recorded(kernel, "ww_devices", "user_id") == []
    clock.advance(HOUR)
    await sweeping.sweep(kernel.database, clock.now())
    assert await recorded(kernel, "ww_one_time", "id") == []


def test_the_purposes_that_confirm_an_address() -> None:
    """Each purpose has a consumer."""
    assert {*CONFIRMS, *RESETS, FIRST, "login", "undo"} == set(LIFETIMES)
