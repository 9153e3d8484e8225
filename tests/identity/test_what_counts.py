"""What uses up a limit: a proof that was wrong, an account that was made, being told of a taken name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.identity.scenes import HOME, PASSWORD, Opener, join, log_in
from watchword import errors
from watchword.errors import Conflict, InvalidInput, TooManyAttempts, Unauthenticated, WatchwordError
from watchword.features.accounts.service import Accounts
from watchword.identity.kernel import Kernel
from watchword.identity.login import Candidate, Proof, Prove

# Every class of the tree, made as the product makes it. A new class has to be added here.
RAISED: dict[type[BaseException], Callable[[], BaseException]] = {
    errors.WatchwordError: lambda: errors.WatchwordError("x"),
    errors.SettingsError: lambda: errors.SettingsError(()),
    errors.InvalidKey: lambda: errors.InvalidKey("x"),
    errors.TokenError: lambda: errors.TokenError("x"),
    errors.InvalidInput: errors.InvalidInput,
    errors.Refused: lambda: errors.Refused("x"),
    errors.Unauthenticated: lambda: errors.Unauthenticated("x"),
    errors.Forbidden: lambda: errors.Forbidden("x"),
    errors.NotFound: lambda: errors.NotFound("x"),
    errors.Conflict: lambda: errors.Conflict("x"),
    errors.TooManyAttempts: lambda: errors.TooManyAttempts(limit="x", quota=1, window=1, retry_after=1),
    errors.Overloaded: lambda: errors.Overloaded("x"),
    errors.StorageError: lambda: errors.StorageError("x"),
    errors.StorageUnavailable: lambda: errors.StorageUnavailable("x"),
    errors.UniqueViolation: lambda: errors.UniqueViolation("x"),
    errors.SchemaMismatch: lambda: errors.SchemaMismatch("x"),
    RuntimeError: lambda: RuntimeError("a fault of ours"),
    MemoryError: MemoryError,
}
TIGHT = {"login_limit": "2/15m", "login_address_limit": "2/15m", "login_account_limit": "2/15m"}


def tree(kind: type[WatchwordError] = WatchwordError) -> Iterator[type[WatchwordError]]:
    yield kind
    for each in kind.__subclasses__():
        if each.__module__.startswith("watchword.errors"):
            yield from tree(each)


def test_every_error_is_in_the_table() -> None:
    assert set(tree()) <= set(RAISED)


def raising(error: Callable[[], BaseException]) -> Prove:
    async def prove(_: Candidate | None) -> Proof | None:
        raise error()

    return prove


async def right(_: Candidate | None) -> Proof | None:
    return Proof("pwd")


async def wrong(_: Candidate | None) -> Proof | None:
    return None


async def tried(kernel: Kernel, prove: Prove) -> None:
    await kernel.login.attempt("alice", prove, peer=HOME, client_id="watchword")


@pytest.mark.parametrize("workers", [1, 2], ids=["memory", "sql"])
@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
async def test_a_log_in_that_was_not_decided_does_not_count(
    open_kernel: Opener, kind: type[BaseException], workers: int
) -> None:
    """Whatever stopped the factor: five times as often as the limit, and the right password still opens the account."""
    async with open_kernel(workers=workers, **TIGHT) as kernel:
        await join(kernel)
        for _ in range(10):
            with pytest.raises(kind):
                await tried(kernel, raising(RAISED[kind]))
        await tried(kernel, right)


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
async def test_a_registration_that_was_not_made_does_not_count(
    open_kernel: Opener, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    async with open_kernel(register_limit="2/1h") as kernel:
        make = kernel.users.create

        async def broken(**_: object) -> None:
            error = RAISED[kind]()
            raise error

        monkeypatch.setattr(kernel.users, "create", broken)
        for _ in range(10):
            with pytest.raises(kind):
                await Accounts(kernel).register(username="ann", email=None, password=PASSWORD, peer=HOME)
        monkeypatch.setattr(kernel.users, "create", make)
        await Accounts(kernel).register(username="ann", email=None, password=PASSWORD, peer=HOME)


async def test_right_log_ins_that_meet_a_locked_database_do_not_count(
    open_kernel: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ Ten of them, answered with 503, ended in 429 for a quarter of an hour. Nor do they use up the log-ins."""
    async with open_kernel(session_limit="2/1h", **TIGHT) as kernel:
        await join(kernel)
        transact = kernel.database.transact

        async def locked(*_: object) -> None:
            raise errors.StorageUnavailable("locked")

        monkeypatch.setattr(kernel.database, "transact", locked)
        for _ in range(10):
            with pytest.raises(errors.StorageUnavailable):
                await tried(kernel, right)
        monkeypatch.setattr(kernel.database, "transact", transact)
        await log_in(kernel)


async def test_a_wrong_proof_counts_though_its_record_cannot_be_stored(
    open_kernel: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk gives no more guesses."""
    async with open_kernel(**TIGHT) as kernel:
        await join(kernel)

        async def full(*_: object) -> None:
            raise errors.StorageUnavailable("full")

        with monkeypatch.context() as broken:
            broken.setattr(kernel.database, "transact", full)
            for _ in range(2):
                with pytest.raises(errors.StorageUnavailable):
                    await tried(kernel, wrong)
        with pytest.raises(TooManyAttempts):
            await tried(kernel, right)


async def test_hanging_up_does_not_give_a_guess_back(open_kernel: Opener) -> None:
    async with open_kernel(**TIGHT) as kernel:
        await join(kernel)
        for _ in range(2):
            started = asyncio.Event()

            async def slow(_: Candidate | None, begun: asyncio.Event = started) -> Proof | None:
                begun.set()
                await asyncio.Event().wait()
                return None

            task = asyncio.create_task(tried(kernel, slow))
            await started.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(TooManyAttempts):
            await tried(kernel, right)


async def test_what_is_refused_for_its_form_or_its_name_uses_up_no_registration(open_kernel: Opener) -> None:
    async with open_kernel(register_limit="2/1h") as kernel:
        accounts = Accounts(kernel)

        def asked(name: str, password: str = PASSWORD) -> Awaitable[object]:
            return accounts.register(username=name, email=None, password=password, peer=HOME)

        await asked("ann")
        for _ in range(3):
            with pytest.raises(InvalidInput):
                await asked("not a name")
            with pytest.raises(InvalidInput):
                await asked("ben", "short")
            with pytest.raises(Conflict):
                await asked("ann")
        await asked("ben")
        with pytest.raises(TooManyAttempts):
            await asked("cid")


async def test_asking_who_is_registered_ends_also_for_those_who_register_no_one(open_kernel: Opener) -> None:
    """⚑ Each answer "taken" costs a hash: when that limit is used up, nothing is hashed any more."""
    async with open_kernel(conflict_limit="1/1h") as kernel:
        accounts, limits = Accounts(kernel), []
        await accounts.register(username="ann", email=None, password=PASSWORD, peer=HOME._replace(address="192.0.2.9"))
        for _ in range(5):
            try:
                await accounts.register(username="ann", email=None, password=PASSWORD, peer=HOME)
            except Conflict:
                limits.append("taken")
            except TooManyAttempts as error:
                limits.append(error.limit)
        assert limits == ["taken", "conflict", "conflict", "conflict", "conflict"]


async def test_a_log_in_of_a_user_who_was_disabled_meanwhile_counts(open_kernel: Opener) -> None:
    async with open_kernel(**TIGHT) as kernel:
        user = await join(kernel)

        async def overtaken(_: Candidate | None) -> Proof | None:
            await kernel.users.disable(user.id, peer=HOME)
            return Proof("pwd")

        for _ in range(2):
            with pytest.raises(Unauthenticated):
                await tried(kernel, overtaken)
        with pytest.raises(TooManyAttempts):
            await tried(kernel, right)
