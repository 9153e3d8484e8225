"""Limits on attempts: exact, fair to the owner, and bounded in memory. In memory and in the database alike."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from random import Random

import pytest
import structlog

from tests.identity.scenes import (
    AWAY,
    HOME,
    MINUTE,
    Opener,
    join,
    log_in,
    recorded,
    statements,
    unproven,
)
from tests.storage.valkey_server import Server
from watchword.clock import FixedClock
from watchword.errors import Conflict, Overloaded, StorageUnavailable, TooManyAttempts, Unauthenticated
from watchword.features.accounts.service import Accounts
from watchword.identity import throttle
from watchword.identity.audit import Client
from watchword.identity.factors import Candidate, Proof, Prove
from watchword.identity.kernel import Kernel
from watchword.identity.takes import OCCASIONS, Take, takes_of
from watchword.identity.throttle import Throttle
from watchword.settings.table import LIMITS
from watchword.storage.ephemeral_fallback import FallbackEphemeral
from watchword.storage.ephemeral_memory import CAPACITY, MemoryEphemeral
from watchword.storage.ephemeral_sql import SQLEphemeral

WINDOW = 15 * MINUTE


STORES = {"memory": MemoryEphemeral, "sql": SQLEphemeral, "valkey": FallbackEphemeral}


@pytest.fixture(params=STORES)
async def limited(
    request: pytest.FixtureRequest,
    open_kernel: Opener,
    engine: str,
    valkeys: Callable[[str], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Kernel]:
    """Two users and small limits, on each store: memory is one worker's, the others are shared."""
    monkeypatch.setattr("watchword.storage.valkey.DEADLINE", 60.0)  # a slow machine is no outage
    async with open_kernel(
        workers=1 if request.param == "memory" else 2,
        redis_url=valkeys("valkey 9").url if request.param == "valkey" else None,
        login_limit="3/15m",
        login_address_limit="6/15m",
        login_account_limit="9/15m",
    ) as kernel:
        store = SQLEphemeral if request.param == "memory" and engine == "postgres" else STORES[request.param]
        assert isinstance(kernel.ephemeral, store)
        await join(kernel)
        await join(kernel, "sam")
        yield kernel


async def fail(kernel: Kernel, who: str = "alice", client: Client = HOME) -> None:
    with pytest.raises(Unauthenticated):
        await log_in(kernel, who, prove=unproven, client=client)


async def refused(kernel: Kernel, who: str = "alice", client: Client = HOME) -> TooManyAttempts:
    with pytest.raises(TooManyAttempts) as caught:
        await log_in(kernel, who, client=client)
    return caught.value


def at(number: int) -> Client:
    """A client of its own network."""
    return Client(f"203.0.113.{number}", "curl", "request")


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
    await log_in(limited, "alice", client=AWAY)


async def test_the_account_has_a_limit_over_all_addresses(limited: Kernel) -> None:
    """Guesses from many places at one account are stopped; another account is not."""
    for number in range(9):
        await fail(limited, "alice", at(number))
    assert (await refused(limited, "alice", at(100))).limit == "login_account"
    await log_in(limited, "sam", client=at(100))


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
    await log_in(limited, "alice", client=AWAY)


async def test_D10_an_address_that_is_used_up_counts_against_no_account(limited: Kernel) -> None:
    """What its limit refuses is given back everywhere: all nine attempts of the account are left for others."""
    for name in ("a", "b", "c", "d", "e", "f"):
        await fail(limited, name)
    for _ in range(3):
        assert (await refused(limited, "alice")).limit == "login_address"
    for number in range(8):
        await fail(limited, "alice", at(number))
    await log_in(limited, "alice", client=AWAY)


async def test_D10_a_hundred_attempts_in_flight_do_not_lock_the_owner_out(open_kernel: Opener) -> None:
    """⚑ Were all limits counted at once and given back later, a burst from one address would close the account."""
    async with open_kernel(workers=2, login_account_limit="20/15m", login_address_limit="off") as kernel:
        await join(kernel)
        burst = [asyncio.create_task(log_in(kernel, prove=unproven, client=AWAY)) for _ in range(150)]
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
            await limited.login.confirm(row["id"], unproven, client=HOME)
    with pytest.raises(TooManyAttempts):
        await limited.login.confirm(row["id"], unproven, client=HOME)
    assert (await refused(limited, "alice")).limit == "login"


async def test_J5_one_customer_is_one_address(limited: Kernel) -> None:
    """All of a /64 count together, and IPv4 written as IPv6 is IPv4."""
    for host in ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:0:1234::"):
        await fail(limited, "alice", HOME._replace(address=host))
    await refused(limited, "alice", HOME._replace(address="2001:db8::2"))
    await log_in(limited, "alice", client=HOME._replace(address="2001:db8:0:1::1"))
    for host in ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"):
        await fail(limited, "alice", HOME._replace(address=host))
    await refused(limited, "alice", HOME._replace(address="192.0.2.1"))
    await log_in(limited, "alice", client=HOME._replace(address="192.0.2.2"))


@pytest.mark.sqlite
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
    limits = {"login": kernel.settings.login_limit, "login_address": None, "login_account": None}
    throttled = Throttle(kernel.database, store, limits, clock)
    for number in range(100_000):
        await throttled.take(*takes_of("login", "192.0.2.1", f"name{number}"), client=HOME)
    assert len(store) <= CAPACITY
    assert not any("name99999" in name for name in store._entries)
    # The latest ones are still counted.
    for _ in range(9):
        await throttled.take(*takes_of("login", "192.0.2.1", "name99999"), client=HOME)
    with pytest.raises(TooManyAttempts):
        await throttled.take(*takes_of("login", "192.0.2.1", "name99999"), client=HOME)


async def test_what_was_typed_is_stored_with_a_fixed_size(open_kernel: Opener) -> None:
    """A name of a thousand characters makes rows as long as any other, and cannot be read from them."""
    async with open_kernel(workers=2) as kernel:
        await fail(kernel, "x" * 1000)
        await fail(kernel, "typed secret")
        names = [row["name"] for row in await recorded(kernel, "ww_ephemeral")]
        assert {len(name.rpartition(":")[2]) for name in names} == {40}
        assert {name.rpartition(":")[0] for name in names} == {
            "count:login",
            "count:login_address",
            "count:login_account",
        }


async def test_a_cancelled_attempt_stays_counted(limited: Kernel) -> None:
    """Hanging up before the answer does not give the guess back."""

    counted = asyncio.Event()

    async def hangs(_: Candidate | None) -> Proof | None:
        counted.set()
        await asyncio.sleep(60)
        return None

    for _ in range(3):
        counted.clear()
        task = asyncio.create_task(log_in(limited, prove=hangs))
        await counted.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await refused(limited)


def test_what_an_attempt_counts_against_follows_from_the_table() -> None:
    """Every limit of the occasion and no other, addresses first; `counted_by` of its row says for whom."""
    taken = [(take.limit, take.subject) for take in takes_of("login", "192.0.2.7", "ada")]
    pair, place = "login", "login_address"
    assert taken == [(place, "192.0.2.7"), (pair, "192.0.2.7 ada"), ("login_account", "ada")]
    known = [(take.limit, take.subject) for take in takes_of("login", "192.0.2.7", "ada", device="d1")]
    assert known == [("login_device", "d1 ada"), (place, "known 192.0.2.7"), ("login_account", "known ada")]
    assert takes_of("session", "192.0.2.7", "ada", device="d1") == takes_of("session", "192.0.2.7", "ada")
    everything = [
        take.limit
        for occasion in OCCASIONS
        for device in (None, "d1")
        for take in takes_of(occasion, "192.0.2.7", "ada", device=device, handle="m")
    ]
    assert sorted(set(everything)) == sorted(row.limit for row in LIMITS)
    assert [take.subject for take in takes_of("conflict", "192.0.2.7", "ada")] == ["192.0.2.7", "account ada"]
    assert [take.subject for take in takes_of("conflict", "192.0.2.7", None)] == ["192.0.2.7"]


@pytest.mark.parametrize(
    ("occasion", "account"), [("login", None), ("session", None), ("change", None), ("lgin", "ada")]
)
def test_an_attempt_that_would_count_nothing_is_refused(occasion: str, account: str | None) -> None:
    """Without an account, or for an occasion that has no limits, it would be open."""
    with pytest.raises((ValueError, KeyError)):
        takes_of(occasion, "192.0.2.7", account)


def test_the_counters_of_different_limits_never_meet() -> None:
    """The limit's name is part of the counter's: an account named like an address does not share its counter."""
    takes = takes_of("login", "192.0.2.1", "192.0.2.1")
    assert takes == (
        Take("login_address", "192.0.2.1"),
        Take("login", "192.0.2.1 192.0.2.1"),
        Take("login_account", "192.0.2.1", grows=True),
    )


# --- Floods of refused attempts --------------------------------------------------------------------------------------


async def counters(kernel: Kernel) -> list[object]:
    """Everything that the store holds."""
    if isinstance(kernel.ephemeral, MemoryEphemeral):
        return [(name, entry.amount, entry.expires_at) for name, entry in kernel.ephemeral._entries.items()]
    return [tuple(row.values()) for row in await recorded(kernel, "ww_ephemeral")]


async def test_H2_a_flood_from_a_blocked_address_changes_nothing(limited: Kernel) -> None:
    """⚑ Each name that is refused made two counters: 25,000 of them pushed out the flooder's own and his victim's."""
    for name in ("alice", "alice", "alice", "b", "c", "d"):
        await fail(limited, name)
    for number in range(3):
        await fail(limited, "alice", at(number))
    await refused(limited, "sam")
    before = await counters(limited)
    trail = len(await recorded(limited, "ww_audit"))
    for number in range(300):
        assert (await refused(limited, f"name{number}")).limit == "login_address"
        assert (await refused(limited, "alice")).limit == "login_address"
    assert await counters(limited) == before
    assert len(await recorded(limited, "ww_audit")) == trail


@pytest.mark.sqlite
async def test_H3_a_refused_attempt_writes_nothing(open_kernel: Opener) -> None:
    """⚑ With the counters in the database each 429 cost five transactions and left two rows."""
    async with open_kernel(workers=2, login_address_limit="2/15m") as kernel:
        await fail(kernel, "a")
        await fail(kernel, "b")
        await refused(kernel, "c")
        with statements(kernel) as seen:
            for number in range(20):
                await refused(kernel, f"name{number}")
        assert seen.units == []
        assert not [statement for statement in seen.seen if statement.startswith("BEGIN")]


async def test_H2_only_failures_push_out_a_victims_counter(kernel: Kernel, clock: FixedClock) -> None:
    """⚑ From however many addresses: successes, refusals and what there was no capacity for cost him nothing.

    What it takes is as many failures, each with its hash, as a class has room for: the price that the store names.
    """
    store = MemoryEphemeral(capacity=50)
    limits = dict.fromkeys(("login", "login_address", "login_account"), kernel.settings.login_limit)
    throttled = Throttle(kernel.database, store, limits, clock)
    number = 0

    async def attempts(count: int, outcome: BaseException | bool, address: str = "2001:db8:{}::1") -> None:
        nonlocal number
        for _ in range(count):
            number += 1
            with contextlib.suppress(Overloaded, TooManyAttempts):
                takes = takes_of("login", address.format(f"{number:x}"), f"name{number}")
                async with throttled.attempt(*takes, client=HOME) as attempt:
                    if isinstance(outcome, BaseException):
                        raise outcome
                    attempt.succeeded = outcome

    async def tried() -> list[int]:
        quotas = [f"{take.limit}:{_hash(take.subject)}" for take in takes_of("login", HOME.address, "victim")]
        return [(await store.count(name, by=0, lifetime=900, now=clock.now())).amount for name in quotas]

    for _ in range(10):
        await throttled.take(*takes_of("login", HOME.address, "victim"), client=HOME)
    await attempts(500, True)
    await attempts(500, Overloaded("full"))
    await attempts(500, False, address="203.0.113.1")
    assert await tried() == [10, 10, 10]
    await attempts(39, False)
    assert await tried() == [10, 10, 10]
    await attempts(40, False)
    assert await tried() == [0, 0, 0]


def _hash(subject: str) -> str:
    return sha256(subject.encode()).hexdigest()[:40]


async def test_J9_a_limit_that_is_reached_is_recorded_once(limited: Kernel, clock: FixedClock) -> None:
    """⚑ For each limit, each subject and each window there is one record, with where it came from; no row a refusal."""

    async def records() -> list[tuple[str, str | None, str]]:
        rows = await recorded(limited, "ww_audit")
        return [(row["outcome"], row["user_id"], row["address"]) for row in rows if row["event"] == "limit_reached"]

    alice, _ = await recorded(limited, "ww_users")
    for _ in range(3):
        await fail(limited)
    assert await records() == []
    await asyncio.gather(*(refused(limited) for _ in range(20)))
    expected: list[tuple[str, str | None, str]] = [("login", alice["id"], HOME.address)]
    assert await records() == expected
    for name in ("a", "b", "c"):
        await fail(limited, name)
    for name in ("d", "e", "f"):
        await refused(limited, name)
    expected.append(("login_address", None, HOME.address))
    assert await records() == expected
    clock.advance(WINDOW)
    for _ in range(3):
        await fail(limited)
    await refused(limited)
    await refused(limited)
    assert await records() == [*expected, expected[0]]


async def test_J9_refusals_are_counted_in_the_log(limited: Kernel) -> None:
    """A line a second at most, with the limit and the latest address."""
    for _ in range(3):
        await fail(limited)
    with structlog.testing.capture_logs() as lines:
        for _ in range(50):
            await refused(limited)
    refusals = [line for line in lines if line["event"] == "attempts_refused"]
    assert 1 <= len(refusals) <= 5
    assert (refusals[0]["limit"], refusals[0]["address"], refusals[0]["count"]) == ("login", HOME.address, 1)


async def test_J9_registrations_that_are_refused_are_recorded_too(open_kernel: Opener) -> None:
    """The limit on registrations counts those that made an account."""
    async with open_kernel(register_limit="2/1h") as kernel:
        accounts = Accounts(kernel)
        for name in ("ann", "ann", "ben", "cid"):
            with contextlib.suppress(Conflict, TooManyAttempts):
                await accounts.register(username=name, email=None, password="plum-orbit-canvas", client=HOME)
        assert [row["username"] for row in await recorded(kernel, "ww_users")] == ["ann", "ben"]
        outcomes = [row["outcome"] for row in await recorded(kernel, "ww_audit") if row["event"] == "limit_reached"]
        assert outcomes == ["register"]


# --- Attempts that are not decided yet -------------------------------------------------------------------------------


def taking(seconds: float, proof: Proof | None, begun: list[int] | None = None) -> Prove:
    """A factor that takes a while. Each that has begun, and so was counted, is in `begun`."""

    async def prove(_: Candidate | None) -> Proof | None:
        if begun is not None:
            begun.append(1)
        await asyncio.sleep(seconds)
        return proof

    return prove


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it; a slow machine takes longer."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is a number, which tells no one
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("workers", [1, 2])
async def test_M5_sixteen_right_ones_at_once_all_get_in(open_kernel: Opener, workers: int) -> None:
    """⚑ The limit is on failures: ten in flight are no reason to refuse the eleventh, who waits for one of them."""
    async with open_kernel(workers=workers) as kernel:
        await join(kernel)
        for _ in range(2):
            await asyncio.gather(*(log_in(kernel, prove=taking(0.02, Proof("pwd"))) for _ in range(16)))
        for _ in range(9):
            await fail(kernel)
        await asyncio.gather(*(log_in(kernel, prove=taking(0.01, Proof("pwd"))) for _ in range(5)))
        await fail(kernel)
        await refused(kernel)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seed", range(4))
async def test_M5_however_mixed_the_failures_never_pass_the_quota(open_kernel: Opener, workers: int, seed: int) -> None:
    """⚑ Right and wrong ones, slow and quick, all at once: at most ten wrong ones are tried, and then none at all."""
    random = Random(seed)
    async with open_kernel(workers=workers) as kernel:
        await join(kernel)
        tried = 0

        async def attempt(*, right: bool) -> bool:
            async def prove(_: Candidate | None) -> Proof | None:
                nonlocal tried
                tried += not right
                await asyncio.sleep(random.random() / 100)
                return Proof("pwd") if right else None

            await asyncio.sleep(random.random() / 20)
            with contextlib.suppress(Unauthenticated):
                await log_in(kernel, prove=prove)
                return True
            return False

        asked = [attempt(right=random.random() < 0.5) for _ in range(60)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert tried == 10
        assert all(isinstance(result, bool | TooManyAttempts) for result in results)
        assert kernel.throttle._undecided._counts == {}
        assert kernel.throttle._undecided._waiting == {}
        await refused(kernel)


async def test_M5_waiting_ends(limited: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is refused after a moment, when those before him take too long; the place is then free again."""
    monkeypatch.setattr(throttle, "PATIENCE", 0.05)
    begun: list[int] = []
    slow = [asyncio.create_task(log_in(limited, prove=taking(0.4, Proof("pwd"), begun))) for _ in range(3)]
    await until(lambda: len(begun) == 3)
    await refused(limited)
    await asyncio.gather(*slow)
    await log_in(limited)


async def test_M5_whoever_waits_goes_as_soon_as_there_is_a_place(limited: Kernel) -> None:
    """Not when all of those before him are decided: the first that succeeds makes room."""
    begun: list[int] = []
    slow = [asyncio.create_task(log_in(limited, prove=taking(20, None, begun))) for _ in range(2)]
    quick = asyncio.create_task(log_in(limited, prove=taking(0.1, Proof("pwd"), begun)))
    await until(lambda: len(begun) == 3)
    async with asyncio.timeout(15):
        await log_in(limited)
    await quick
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_M5_nobody_waits_for_nothing(limited: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all of those before him have failed he is refused at once."""
    monkeypatch.setattr(throttle, "PATIENCE", 20)
    begun: list[int] = []
    failing = [asyncio.create_task(log_in(limited, prove=taking(0.1, None, begun))) for _ in range(3)]
    await until(lambda: len(begun) == 3)
    async with asyncio.timeout(15):
        await refused(limited)
    await asyncio.gather(*failing, return_exceptions=True)


async def test_M5_few_wait(limited: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is bounded: beyond that one is refused at once. Those who hang up while they wait leave their place."""
    monkeypatch.setattr(throttle, "MOST_WAITING", 4)
    begun: list[int] = []
    slow = [asyncio.create_task(log_in(limited, prove=taking(60, None, begun))) for _ in range(3)]
    await until(lambda: len(begun) == 3)
    for _ in range(2):
        waiting = [asyncio.create_task(log_in(limited)) for _ in range(4)]
        await until(lambda: sum(map(len, limited.throttle._undecided._waiting.values())) == 4)
        assert not any(task.done() for task in waiting)
        await refused(limited)
        assert not any(task.done() for task in [*waiting, *slow])
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert limited.throttle._undecided._waiting == {}


@pytest.mark.sqlite
async def test_what_cannot_be_given_back_is_no_failure(limited: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log-in has happened: it is answered, and the attempt is given back as soon as that is possible."""
    working = limited.ephemeral.give_back

    async def broken(*_: object) -> None:
        raise StorageUnavailable("gone")

    monkeypatch.setattr(limited.ephemeral, "give_back", broken)
    await log_in(limited)
    monkeypatch.setattr(limited.ephemeral, "give_back", working)
    for _ in range(4):
        await log_in(limited)
