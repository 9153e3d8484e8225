"""Limits on attempts: exact, fair to the owner, and bounded in memory. In memory and in the database alike."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.identity.scenes import (
    AWAY,
    HOME,
    MINUTE,
    Opener,
    join,
    log_in,
    recorded,
    unproven,
)
from watchword.clock import FixedClock
from watchword.errors import TooManyAttempts, Unauthenticated
from watchword.identity.audit import Peer
from watchword.identity.kernel import Kernel
from watchword.identity.login import Candidate, Proof
from watchword.identity.throttle import Take, Throttle, log_in_takes
from watchword.storage.ephemeral_memory import CAPACITY, MemoryEphemeral
from watchword.storage.ephemeral_sql import SQLEphemeral

WINDOW = 15 * MINUTE


@pytest.fixture(params=["memory", "sql"])
async def limited(request: pytest.FixtureRequest, open_kernel: Opener) -> AsyncIterator[Kernel]:
    """Two users and small limits, on either store: one worker counts in memory, several in the database."""
    workers = 1 if request.param == "memory" else 2
    async with open_kernel(
        workers=workers, login_limit="3/15m", login_address_limit="6/15m", login_account_limit="9/15m"
    ) as kernel:
        assert isinstance(kernel.ephemeral, MemoryEphemeral if request.param == "memory" else SQLEphemeral)
        await join(kernel)
        await join(kernel, "sam")
        yield kernel


async def fail(kernel: Kernel, who: str = "alice", peer: Peer = HOME) -> None:
    with pytest.raises(Unauthenticated):
        await log_in(kernel, who, prove=unproven, peer=peer)


async def refused(kernel: Kernel, who: str = "alice", peer: Peer = HOME) -> TooManyAttempts:
    with pytest.raises(TooManyAttempts) as caught:
        await log_in(kernel, who, peer=peer)
    return caught.value


def at(number: int) -> Peer:
    """A peer of its own network."""
    return Peer(f"203.0.113.{number}", "curl", "request")


async def test_the_limit_is_exact_and_its_window_is_not_extended(limited: Kernel, clock: FixedClock) -> None:
    """Three fail, the fourth is refused though its password is right; refused ones do not lengthen the wait."""
    opened_at = clock.now()
    for _ in range(3):
        await fail(limited)
        clock.advance(60)
    for _ in range(5):
        error = await refused(limited)
        assert (error.limit, error.quota, error.window) == ("login", 3, WINDOW)
        assert error.retry_after == opened_at + WINDOW - clock.now()
        clock.advance(60)
    clock.advance(opened_at + WINDOW - 1 - clock.now())
    assert (await refused(limited)).retry_after == 1
    clock.advance(1)
    await log_in(limited)
    await fail(limited)


async def test_the_address_has_a_limit_over_all_accounts(limited: Kernel) -> None:
    """One address that tries many names, known or not, is stopped; another address is not."""
    for name in ("alice", "sam", "zoe", "yan", "eve@example.org", "bob"):
        await fail(limited, name)
    assert (await refused(limited, "carl")).limit == "login_address"
    await log_in(limited, "alice", peer=AWAY)


async def test_the_account_has_a_limit_over_all_addresses(limited: Kernel) -> None:
    """Guesses from many places at one account are stopped; another account is not."""
    for number in range(9):
        await fail(limited, "alice", at(number))
    assert (await refused(limited, "alice", at(100))).limit == "login_account"
    await log_in(limited, "sam", peer=at(100))


async def test_D9_username_and_address_of_one_account_share_its_counter(limited: Kernel) -> None:
    """Trying the same account by its other name, or in capitals, gives no further attempts."""
    for name in ("alice", "ALICE@example.org", "Alice"):
        await fail(limited, name)
    for name in ("alice", "alice@example.org"):
        assert (await refused(limited, name)).limit == "login"


async def test_D7_an_unknown_account_is_limited_in_the_same_way(limited: Kernel) -> None:
    """Otherwise the limit would tell who exists."""
    for _ in range(3):
        await fail(limited, "nobody")
    unknown = await refused(limited, "nobody")
    for _ in range(3):
        await fail(limited, "alice", AWAY)
    known = await refused(limited, "alice", AWAY)
    assert vars(unknown) == vars(known)


async def test_D11_success_gives_back_its_own_attempt_only(limited: Kernel) -> None:
    """Logging in to one's own account between guesses does not reset what the guesses used up."""
    for _ in range(2):
        await fail(limited, "alice")
    for _ in range(10):
        await log_in(limited, "sam")
        await log_in(limited, "alice")
    await fail(limited, "alice")
    assert (await refused(limited, "alice")).limit == "login"
    for name in ("a", "b", "c"):
        await fail(limited, name)
    assert (await refused(limited, "sam")).limit == "login_address"


async def test_D10_hammering_one_account_from_one_address_leaves_it_to_its_owner(limited: Kernel) -> None:
    """What is refused for the address counts against nothing else: the last of nine is still the owner's."""
    for _ in range(3):
        await fail(limited)
    for _ in range(50):
        await refused(limited)
    for number in range(5):
        await fail(limited, "alice", at(number))
    await log_in(limited, "alice", peer=AWAY)


async def test_D10_a_hundred_attempts_in_flight_do_not_lock_the_owner_out(open_kernel: Opener) -> None:
    """⚑ Were all limits counted at once and given back later, a burst from one address would close the account."""
    async with open_kernel(workers=2, login_account_limit="20/15m", login_address_limit="off") as kernel:
        await join(kernel)
        burst = [asyncio.create_task(log_in(kernel, prove=unproven, peer=AWAY)) for _ in range(150)]
        owners = []
        for _ in range(5):
            await asyncio.sleep(0.0005)
            owners.append(await log_in(kernel))
        results = await asyncio.gather(*burst, return_exceptions=True)
        assert sum(isinstance(result, Unauthenticated) for result in results) == 10
        assert len(owners) == 5


@pytest.mark.parametrize("workers", [1, 2])
async def test_D9_fifty_at_once_prove_at_most_the_quota(open_kernel: Opener, workers: int) -> None:
    """⚑ The attempt is counted before the work: a race cannot buy more guesses."""
    async with open_kernel(workers=workers) as kernel:
        await join(kernel)
        proved = 0

        async def slow(_: Candidate | None) -> Proof | None:
            nonlocal proved
            proved += 1
            await asyncio.sleep(0.01)
            return None

        results = await asyncio.gather(*(log_in(kernel, prove=slow) for _ in range(50)), return_exceptions=True)
        assert proved == 10
        assert sum(isinstance(result, TooManyAttempts) for result in results) == 40


async def test_D9_confirming_a_password_is_under_the_same_limit(limited: Kernel) -> None:
    """A stolen access token does not buy guesses at the password behind another counter."""
    (row, _) = await recorded(limited, "ww_users")
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await limited.login.confirm(row["id"], unproven, peer=HOME)
    with pytest.raises(TooManyAttempts):
        await limited.login.confirm(row["id"], unproven, peer=HOME)
    assert (await refused(limited, "alice")).limit == "login"


async def test_J5_one_customer_is_one_address(limited: Kernel) -> None:
    """All of a /64 count together, and IPv4 written as IPv6 is IPv4."""
    for host in ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:0:1234::"):
        await fail(limited, "alice", HOME._replace(address=host))
    await refused(limited, "alice", HOME._replace(address="2001:db8::2"))
    await log_in(limited, "alice", peer=HOME._replace(address="2001:db8:0:1::1"))
    for host in ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"):
        await fail(limited, "alice", HOME._replace(address=host))
    await refused(limited, "alice", HOME._replace(address="192.0.2.1"))
    await log_in(limited, "alice", peer=HOME._replace(address="192.0.2.2"))


async def test_limits_can_be_off(open_kernel: Opener) -> None:
    """Then nothing is counted."""
    async with open_kernel(login_limit="off", login_address_limit="off", login_account_limit="off") as kernel:
        await join(kernel)
        for _ in range(20):
            await fail(kernel)
        assert len(kernel.ephemeral) == 0  # type: ignore[arg-type]


async def test_one_limit_alone_works(open_kernel: Opener) -> None:
    """Whichever is left on is the one that counts."""
    async with open_kernel(login_limit="off", login_address_limit="off", login_account_limit="2/1m") as kernel:
        await join(kernel)
        await fail(kernel)
        await fail(kernel, "alice", AWAY)
        assert (await refused(kernel, "alice", at(1))).limit == "login_account"


async def test_a_hundred_thousand_names_stay_within_bounds(kernel: Kernel, clock: FixedClock) -> None:
    """D9: memory does not grow with what strangers type, and nothing that they typed is in it."""
    store = MemoryEphemeral()
    throttle = Throttle(
        store, {"login": kernel.settings.login_limit, "login_address": None, "login_account": None}, clock
    )
    for number in range(100_000):
        await throttle.take(*log_in_takes("192.0.2.1", f"name{number}"))
    assert len(store) <= CAPACITY
    assert not any("name99999" in name for name in store._entries)
    # The latest ones are still counted.
    for _ in range(9):
        await throttle.take(*log_in_takes("192.0.2.1", "name99999"))
    with pytest.raises(TooManyAttempts):
        await throttle.take(*log_in_takes("192.0.2.1", "name99999"))


async def test_what_was_typed_is_stored_with_a_fixed_size(open_kernel: Opener) -> None:
    """A name of a thousand characters makes rows as long as any other, and cannot be read from them."""
    async with open_kernel(workers=2) as kernel:
        await fail(kernel, "x" * 1000)
        await fail(kernel, "typed secret")
        names = [row["name"] for row in await recorded(kernel, "ww_ephemeral")]
        assert {len(name) for name in names} == {len("count:") + 40}


async def test_a_cancelled_attempt_stays_counted(limited: Kernel) -> None:
    """Hanging up before the answer does not give the guess back."""

    async def hangs(_: Candidate | None) -> Proof | None:
        await asyncio.sleep(60)
        return None

    for _ in range(3):
        task = asyncio.create_task(log_in(limited, prove=hangs))
        await asyncio.sleep(0.02)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await refused(limited)


def test_the_counters_of_different_limits_never_meet() -> None:
    """The limit's name is part of the counter's: an account named like an address does not share its counter."""
    takes = log_in_takes("192.0.2.1", "192.0.2.1")
    assert takes == (
        Take("login", "192.0.2.1 192.0.2.1"),
        Take("login_address", "192.0.2.1"),
        Take("login_account", "192.0.2.1"),
    )
