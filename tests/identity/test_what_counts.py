"""What counts against a limit: a proof that was wrong, and nothing that happened to an attempt besides."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from tests.identity.scenes import AWAY, HOME, PASSWORD, Opener, join, log_in, meddle, unproven
from watchword import errors
from watchword.errors import Conflict, FieldError, InvalidInput, StorageUnavailable, TooManyAttempts, Unauthenticated
from watchword.features.accounts.service import Accounts
from watchword.features.passwords.service import Passwords
from watchword.identity import hashing, throttle
from watchword.identity.factors import Candidate, Proof, Prove
from watchword.identity.kernel import Kernel
from watchword.identity.takes import Take, address_takes, takes_of
from watchword.identity.throttle import Throttle

# Every error that a factor may end in → whether the attempt counts as a failure.
COUNTS: dict[type[BaseException], bool] = {
    errors.WatchwordError: False,
    errors.SettingsError: False,
    errors.InvalidKey: False,
    errors.TokenError: False,
    errors.ClaimError: False,
    errors.InvalidInput: False,
    errors.Refused: False,
    errors.Unauthenticated: True,  # a factor that says no in its own words
    errors.Forbidden: False,
    errors.NotFound: False,
    errors.Conflict: False,
    errors.TooEarly: False,
    errors.TooManyAttempts: False,
    errors.Overloaded: False,
    errors.StorageError: False,
    errors.StorageUnavailable: False,
    errors.UniqueViolation: False,
    errors.SchemaMismatch: False,
    RuntimeError: False,
    TimeoutError: False,
    OSError: False,
    MemoryError: False,
    asyncio.CancelledError: True,  # not known, and a guess may not be free
}
MAKE: dict[type[BaseException], Callable[[], BaseException]] = {
    errors.SettingsError: lambda: errors.SettingsError(()),
    errors.TooEarly: lambda: errors.TooEarly("x", code="x", since=1),
    errors.InvalidInput: lambda: InvalidInput(FieldError("x", "x", "x")),
    errors.TooManyAttempts: lambda: TooManyAttempts(limit="login", policy="login", quota=1, window=1, retry_after=1),
}


def made(kind: type[BaseException]) -> BaseException:
    return MAKE.get(kind, lambda: kind("x"))()


def raising(error: BaseException) -> Prove:
    async def prove(_: Candidate | None) -> Proof | None:
        raise error

    return prove


@pytest.fixture(params=[1, 2], ids=["memory", "sql"])
async def limited(request: pytest.FixtureRequest, open_kernel: Opener) -> AsyncIterator[Kernel]:
    async with open_kernel(workers=request.param, login_limit="3/15m", register_limit="3/1h") as kernel:
        await join(kernel)
        yield kernel


async def counted(kernel: Kernel, takes: tuple[Take, ...]) -> list[int]:
    """What the counters stand at."""
    names = [throttle._name(take) for take in takes]
    now = kernel.clock.now()
    return [(await kernel.ephemeral.count(name, by=0, lifetime=900, now=now)).amount for name in names]


async def of_alice(kernel: Kernel) -> set[int]:
    row = await kernel.database.one("SELECT id FROM ww_users WHERE username = 'alice'")
    assert row is not None
    return set(await counted(kernel, takes_of("login", HOME.address, row["id"])))


def classes(root: type[BaseException]) -> set[type[BaseException]]:
    ours = {kind for kind in root.__subclasses__() if kind.__module__ == "watchword.errors"}
    return {root}.union(*(classes(kind) for kind in ours))


def test_every_error_class_is_in_the_table() -> None:
    """Whoever adds an error decides here whether it is a failure."""
    assert classes(errors.WatchwordError) == {kind for kind in COUNTS if issubclass(kind, errors.WatchwordError)}


@pytest.mark.parametrize("kind", COUNTS)
async def test_an_error_before_a_decision_counts_only_where_the_table_says(
    limited: Kernel, kind: type[BaseException]
) -> None:
    """⚑ Ten right log-ins that met a locked database were refused for a quarter of an hour."""
    with suppress(kind):
        await log_in(limited, prove=raising(made(kind)))
    assert await of_alice(limited) == {int(COUNTS[kind])}


@pytest.mark.parametrize("kind", COUNTS)
@pytest.mark.parametrize("wrong", [True, False])
async def test_an_error_after_a_decision_changes_nothing(
    limited: Kernel, kind: type[BaseException], *, wrong: bool
) -> None:
    """A wrong proof stays counted and a right one is given back, whatever goes wrong afterwards."""
    takes = takes_of("login", HOME.address, "one")
    with suppress(kind):
        async with limited.throttle.attempt(*takes, client=HOME) as attempt:
            attempt.succeeded = not wrong
            raise made(kind)
    assert set(await counted(limited, takes)) == {int(wrong)}


async def test_a_forgotten_decision_counts(limited: Kernel) -> None:
    """Code that does not say what came of an attempt makes no guess free."""
    takes = takes_of("login", HOME.address, "one")
    async with limited.throttle.attempt(*takes, client=HOME):
        pass
    assert set(await counted(limited, takes)) == {1}


@pytest.mark.sqlite
async def test_a_right_password_that_meets_a_broken_database_is_no_failure(limited: Kernel) -> None:
    """The session could not be stored: an error, as often as it happens, and the next one gets in."""
    meddle(limited, "CREATE TRIGGER fault BEFORE INSERT ON ww_sessions BEGIN SELECT RAISE(ABORT, 'fault'); END")
    for _ in range(12):
        with pytest.raises(sqlite3.IntegrityError):
            await log_in(limited)
    assert await of_alice(limited) == {0}
    meddle(limited, "DROP TRIGGER fault")
    await log_in(limited)


@pytest.mark.sqlite
async def test_a_wrong_password_whose_record_cannot_be_written_is_a_failure(limited: Kernel) -> None:
    """Else a broken audit table would make guesses free."""
    meddle(limited, "CREATE TRIGGER fault BEFORE INSERT ON ww_audit BEGIN SELECT RAISE(ABORT, 'fault'); END")
    for _ in range(3):
        with pytest.raises(sqlite3.IntegrityError):
            await log_in(limited, prove=unproven)
    assert await of_alice(limited) == {3}


async def test_what_could_not_be_given_back_is_given_back_later(
    limited: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ A database that is locked when an attempt ends leaves nothing counted once it is back."""

    async def broken(*_: object) -> None:
        raise StorageUnavailable("locked")

    with monkeypatch.context() as patched:
        patched.setattr(limited.ephemeral, "give_back", broken)
        for _ in range(3):
            await log_in(limited)
        assert await of_alice(limited) == {3}
    await log_in(limited)
    assert await of_alice(limited) == {0}


@pytest.mark.parametrize("right", [True, False])
async def test_a_client_that_hangs_up_is_decided_by_its_proof(limited: Kernel, *, right: bool) -> None:
    """The password goes on being checked: a wrong one stays counted, a right one does not."""
    go, begun = asyncio.Event(), asyncio.Event()

    async def prove(_: Candidate | None) -> Proof | None:
        begun.set()
        await go.wait()
        return Proof("pwd") if right else None

    task = asyncio.create_task(log_in(limited, prove=prove))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await of_alice(limited) == {1}
    go.set()
    async with asyncio.timeout(30):
        while limited.throttle._undecided._counts:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
    assert await of_alice(limited) == {0 if right else 1}


async def test_a_full_hash_queue_counts_nothing(limited: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a log-in nor a sign-up that found no place."""
    monkeypatch.setattr(hashing, "_PLACES", (0, 0, 0))
    for number in range(5):
        with pytest.raises(errors.Overloaded):
            await Passwords(limited).log_in("alice", PASSWORD, client=HOME, replacing=None)
        with pytest.raises(errors.Overloaded):
            await Accounts(limited).register(username=f"new{number}", email=None, password=PASSWORD, client=HOME)
    assert await of_alice(limited) == {0}
    assert await counted(limited, address_takes("register", HOME.address)) == [0]


async def test_only_sign_ups_that_made_an_account_use_up_their_limit(limited: Kernel) -> None:
    """⚑ A form that was filled in wrongly, or a name that is taken, cost one of the 20."""
    accounts = Accounts(limited)
    for _ in range(5):
        with pytest.raises(InvalidInput):
            await accounts.register(username="x", email=None, password="short", client=HOME)
    for _ in range(5):
        with pytest.raises(Conflict):
            await accounts.register(username="alice", email=None, password=PASSWORD, client=HOME)
    for number in range(3):
        await accounts.register(username=f"new{number}", email=None, password=PASSWORD, client=HOME)
    with pytest.raises(TooManyAttempts):
        await accounts.register(username="new9", email=None, password=PASSWORD, client=HOME)
    await accounts.register(username="new9", email=None, password=PASSWORD, client=AWAY)


async def test_sign_ups_at_once_make_at_most_the_quota(limited: Kernel) -> None:
    """The place is taken before the work, and given back when no account was made."""
    accounts = Accounts(limited)
    made_accounts = await asyncio.gather(
        *(accounts.register(username=f"new{n}", email=None, password=PASSWORD, client=HOME) for n in range(9)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in made_accounts) == 3


async def test_two_hundred_wrong_at_once_on_one_account_are_ten(open_kernel: Opener) -> None:
    """From one address and exactly the limit; from two hundred addresses exactly that of the account."""
    async with open_kernel(login_account_limit="30/15m") as kernel:
        await join(kernel)
        here = await asyncio.gather(*(log_in(kernel, prove=unproven) for _ in range(200)), return_exceptions=True)
        peers = [HOME._replace(address=f"203.0.113.{number}") for number in range(200)]
        there = await asyncio.gather(
            *(log_in(kernel, prove=unproven, client=client) for client in peers), return_exceptions=True
        )
        for results, expected in ((here, 10), (there, 20)):
            assert sum(isinstance(one, Unauthenticated) for one in results) == expected
            assert sum(isinstance(one, TooManyAttempts) for one in results) == 200 - expected


async def test_many_networks_of_one_household_are_one_client(kernel: Kernel) -> None:
    """⚑ A /56 has 256 networks, each with the quota of a stranger: it has twice that, and a /48 four times."""
    limits = {"login_address": kernel.settings.login_address_limit}
    assert kernel.settings.login_address_limit is not None
    quota = kernel.settings.login_address_limit.quota
    throttled = Throttle(kernel.database, kernel.ephemeral, limits, kernel.clock)

    async def until_refused(form: str) -> int:
        for number in range(10_000):
            try:
                takes = address_takes("login_address", form.format(f"{number % 200 + 16:02x}"))
                await throttled.take(*takes, client=HOME)
            except TooManyAttempts:
                return number
        return -1

    assert await until_refused("2001:db8:0:1{}::1") == 2 * quota
    assert await until_refused("2001:db8:0:{}00::1") == 2 * quota  # the rest of four times
    assert await until_refused("2001:db8:1:{}00::1") == 4 * quota
    assert await until_refused("::ffff:192.0.2.1") == quota
    assert await until_refused("192.0.2.2") == quota
