"""Guessing at one account from everywhere: exact on every store, slower each time, and its owner gets in (D9, D10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.identity.scenes import (
    DAY,
    HOME,
    MINUTE,
    Opener,
    join,
    known_device,
    log_in,
    proven,
    reset_password,
    statements,
    unproven,
)
from tests.storage.valkey_server import Server
from watchword.clock import FixedClock
from watchword.errors import TooManyAttempts, Unauthenticated
from watchword.identity.audit import Client
from watchword.identity.factors import Candidate, Factor, Proof
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.takes import policies_of
from watchword.identity.throttle import LONGEST_WINDOW, grown
from watchword.settings import Limit, Settings
from watchword.settings.table import limits_of

WINDOW = 15 * MINUTE
QUOTA = 10
ALONE = 3


@pytest.fixture(params=["memory", "sql", "valkey"])
async def attacked(
    request: pytest.FixtureRequest,
    open_kernel: Opener,
    valkeys: Callable[[str], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Kernel]:
    """Alice and Sam, and ten failures of an account in fifteen minutes; on PostgreSQL there is no store in memory."""
    monkeypatch.setattr("watchword.storage.valkey.DEADLINE", 60.0)  # a slow machine is no outage
    async with open_kernel(
        workers=1 if request.param == "memory" else 2,
        redis_url=valkeys("valkey 9").url if request.param == "valkey" else None,
        login_account_limit=f"{QUOTA}/15m",
        login_limit=f"{ALONE}/15m",
        login_device_limit="3/15m",
    ) as kernel:
        await join(kernel)
        await join(kernel, "sam")
        yield kernel


def at(number: int) -> Client:
    """A client of its own network."""
    return Client(f"10.{number >> 8}.{number & 255}.1", "curl", "request")


async def attempt(
    kernel: Kernel, client: Client, *, who: str = "alice", factor: Factor = unproven, device: str | None = None
) -> LoggedIn:
    return await kernel.login.attempt(who, factor, client=client, client_id=FIRST_PARTY, device=device)


async def use_up(kernel: Kernel, who: str = "alice", *, first: int = 1, device: str | None = None) -> TooManyAttempts:
    """Fail from one network after the other until the account's limit is met; the refusal."""
    for number in range(first, first + QUOTA):
        with pytest.raises(Unauthenticated):
            await attempt(kernel, at(number), who=who, device=device)
    with pytest.raises(TooManyAttempts) as caught:
        await attempt(kernel, at(first + QUOTA), who=who, factor=proven, device=device)
    assert caught.value.limit == "login_account"
    return caught.value


async def test_D9_two_hundred_at_once_admit_exactly_the_limit(attacked: Kernel) -> None:
    """⚑ From as many networks; not one guess more, and not one less."""
    tried = 0

    async def wrong(_: Candidate | None) -> Proof | None:
        nonlocal tried
        tried += 1
        await asyncio.sleep(0.01)
        return None

    guesses = [attempt(attacked, at(number), factor=Factor(wrong)) for number in range(200)]
    results = await asyncio.gather(*guesses, return_exceptions=True)
    assert tried == QUOTA
    assert sum(isinstance(result, Unauthenticated) for result in results) == QUOTA
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 200 - QUOTA


async def test_D9_each_time_the_wait_is_twice_as_long(attacked: Kernel, clock: FixedClock) -> None:
    """Up to four hours; a refused attempt lengthens nothing; after a quiet day it begins anew."""
    began_at = clock.now()
    waits = []
    for turn in range(6):
        opens_at = clock.now()
        refusal = await use_up(attacked, first=turn * 20)
        waits.append(refusal.retry_after)
        with pytest.raises(TooManyAttempts):
            await attempt(attacked, at(200), factor=proven)
        clock.advance(opens_at + refusal.retry_after - 1 - clock.now())
        with pytest.raises(TooManyAttempts):
            await attempt(attacked, at(200), factor=proven)
        clock.advance(1)
    assert waits == [WINDOW, 2 * WINDOW, 4 * WINDOW, 8 * WINDOW, LONGEST_WINDOW, LONGEST_WINDOW]
    await attempt(attacked, at(200), factor=proven)
    clock.advance(began_at + 2 * DAY - clock.now())
    assert (await use_up(attacked)).retry_after == WINDOW


async def test_D9_one_who_is_never_refused_waits_as_long(attacked: Kernel, clock: FixedClock) -> None:
    """⚑ The quota is public. Were only refusals noted, someone who stops at it would go on guessing at full speed."""
    for turn in range(3):
        for number in range(QUOTA):
            with pytest.raises(Unauthenticated):
                await attempt(attacked, at(turn * 20 + number))
        clock.advance(WINDOW << turn)
    assert (await use_up(attacked, first=100)).retry_after == 8 * WINDOW


async def test_D9_one_who_stops_a_guess_early_waits_as_long(attacked: Kernel, clock: FixedClock) -> None:
    """⚑ No window is ever used up; a day has not even twice the guesses that it has for those who use them up."""
    began_at, number, admitted = clock.now(), 0, 0
    while clock.now() < began_at + DAY:
        for _ in range(QUOTA - 1):
            number += 1
            with pytest.raises((Unauthenticated, TooManyAttempts)) as caught:
                await attempt(attacked, at(number))
            admitted += caught.type is Unauthenticated
        clock.advance(WINDOW)
    assert admitted <= 12 * QUOTA


async def test_D7_a_name_that_no_one_has_waits_as_long(attacked: Kernel, clock: FixedClock) -> None:
    """Otherwise the second wait would tell who exists."""
    for turn in range(3):
        existing = await use_up(attacked, "alice", first=turn * 20)
        unknown = await use_up(attacked, "nobody", first=turn * 20)
        assert vars(existing) == vars(unknown)
        clock.advance(existing.retry_after)


async def test_D10_one_network_makes_no_account_wait_longer(attacked: Kernel, clock: FixedClock) -> None:
    """Its own limit stops it first, as often as it comes back: the account's is never used up."""
    for _ in range(12):
        for _ in range(ALONE):
            with pytest.raises(Unauthenticated):
                await attempt(attacked, at(1))
        await attempt(attacked, HOME, factor=proven)
        clock.advance(WINDOW)
    assert (await use_up(attacked)).retry_after == WINDOW


async def test_D10_a_known_device_gets_in_while_everyone_guesses(attacked: Kernel, clock: FixedClock) -> None:
    """As often as it likes, from wherever it is, and though its wait would have grown."""
    device = known_device(attacked, await log_in(attacked))
    for turn in range(3):
        refusal = await use_up(attacked, first=turn * 20)
        for _ in range(4):
            await attempt(attacked, HOME, factor=proven, device=device)
        await attempt(attacked, at(250), factor=proven, device=device)
        clock.advance(refusal.retry_after)
    await use_up(attacked, "sam", device=device)


@pytest.mark.sqlite
async def test_D10_ten_thousand_networks_do_not_lock_the_owner_out(open_kernel: Opener, clock: FixedClock) -> None:
    """⚑ With the limits as they are delivered, the owner logs in at every moment: a hundred guesses, and no more."""
    async with open_kernel() as kernel:
        await join(kernel)
        device = known_device(kernel, await log_in(kernel))
        outcomes = []
        for number in range(10_000):
            outcomes += await asyncio.gather(attempt(kernel, at(number)), return_exceptions=True)
            if number % 500 == 0:
                device = known_device(kernel, await attempt(kernel, HOME, factor=proven, device=device))
        assert sum(isinstance(outcome, Unauthenticated) for outcome in outcomes) == 100
        assert sum(isinstance(outcome, TooManyAttempts) for outcome in outcomes) == 9900
        with pytest.raises(TooManyAttempts):
            await attempt(kernel, HOME, factor=proven)


async def test_D10_a_known_device_has_few_guesses_and_uses_up_no_ones(attacked: Kernel, clock: FixedClock) -> None:
    """⚑ A thief of the cookie has three tries in a window, from however many networks, and the window does not grow."""
    device = known_device(attacked, await log_in(attacked))
    for _ in range(3):
        for number in range(3):
            with pytest.raises(Unauthenticated):
                await attempt(attacked, at(number), device=device)
        with pytest.raises(TooManyAttempts) as caught:
            await attempt(attacked, at(99), factor=proven, device=device)
        assert (caught.value.limit, caught.value.policy, caught.value.retry_after) == ("login_device", "login", WINDOW)
        await attempt(attacked, HOME, factor=proven)
        clock.advance(WINDOW)
    await use_up(attacked)


async def test_D10_at_once_a_known_device_has_no_more_guesses(attacked: Kernel) -> None:
    """Fifty in a race are three."""
    device = known_device(attacked, await log_in(attacked))
    guesses = [attempt(attacked, at(number), device=device) for number in range(50)]
    results = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(result, Unauthenticated) for result in results) == 3


async def test_H2_ever_new_devices_of_one_account_have_an_end(attacked: Kernel) -> None:
    """Anyone may log in to their own account over and over, and keep each cookie: one quota holds them all."""
    logged_in = await log_in(attacked)
    for number in range(QUOTA):
        with pytest.raises(Unauthenticated):
            await attempt(attacked, at(number), device=known_device(attacked, logged_in))
    with pytest.raises(TooManyAttempts):
        await attempt(attacked, at(QUOTA), device=known_device(attacked, logged_in))
    await attempt(attacked, HOME, factor=proven)


async def test_a_new_password_forgets_every_device(attacked: Kernel) -> None:
    """The version is raised: the cookie of a browser that someone else may have had is worth nothing."""
    logged_in = await log_in(attacked)
    device = known_device(attacked, logged_in)
    await reset_password(attacked, logged_in.user.id)
    await use_up(attacked)
    with pytest.raises(TooManyAttempts) as caught:
        await attempt(attacked, HOME, factor=proven, device=device)
    assert caught.value.limit == "login_account"


@pytest.mark.sqlite
async def test_D7_a_device_cookie_costs_everyone_the_same(attacked: Kernel) -> None:
    """⚑ The statements of a failure: with another one's cookie or none, of a user and of no one."""
    device = known_device(attacked, await log_in(attacked))
    seen = set()
    for number, (who, shown) in enumerate(
        [("alice", None), ("sam", device), ("sam", None), ("nobody", device), ("nobody", None)]
    ):
        with statements(attacked) as made, pytest.raises(Unauthenticated):
            await attempt(attacked, at(number), who=who, device=shown)
        seen.add(tuple(line.split("'")[0] for line in made.seen))
    (lines,) = seen
    assert any("ww_audit" in line for line in lines)


async def test_confirming_a_password_knows_the_device(attacked: Kernel) -> None:
    """While strangers guess the owner can still change the password; the guesses are those of a log-in there."""
    logged_in = await log_in(attacked)
    device = known_device(attacked, logged_in)
    await use_up(attacked)
    with pytest.raises(TooManyAttempts):
        await attacked.login.confirm(logged_in.user.id, proven, client=HOME)
    await attacked.login.confirm(logged_in.user.id, proven, client=HOME, device=device)
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await attacked.login.confirm(logged_in.user.id, unproven, client=HOME, device=device)
    with pytest.raises(TooManyAttempts):
        await attempt(attacked, HOME, factor=proven, device=device)


@pytest.mark.parametrize(
    ("window", "times", "seconds"),
    [
        (900, 0, 900), (900, 1, 1800), (900, 4, 14_400), (900, 5, 14_400), (900, 10**6, 14_400),
        (1, 3, 8), (DAY, 0, DAY), (DAY, 9, DAY), (LONGEST_WINDOW, 1, LONGEST_WINDOW),
    ],
)  # fmt: skip
def test_a_window_grows_to_four_hours_and_never_shrinks(window: int, times: int, seconds: int) -> None:
    """A longer one that an operator set stays what it is."""
    assert grown(window, times) == seconds


def test_what_is_told_of_the_limits() -> None:
    """One policy for each thing that is attempted; another of its limits speaks for one that is off."""
    limits: dict[str, Limit | None] = limits_of(Settings())
    told = policies_of(limits)
    assert told["login"] == limits["login"]
    assert not {"login_account", "login_address", "login_device"} & told.keys()
    assert policies_of({**limits, "login": None})["login"] == limits["login_address"]
    assert "login" not in policies_of(dict.fromkeys(limits))
