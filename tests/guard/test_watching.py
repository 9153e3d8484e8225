"""`caller.watch()`: those who watch hear of a log-out, a change of roles, a revoked key and the token's end."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.guard.conftest import MakeGuard
from tests.guard.service import Service, until
from watchword.clock import FixedClock
from watchword.errors import TokenError
from watchword.guard import Caller, Guard
from watchword.guard.watching import Watch
from watchword.testing import Issuer
from watchword.tokens.revocations import RevocationSet

Revoke = Callable[[Issuer, Caller], None]

EVENTS: dict[str, Revoke] = {
    "log-out": lambda issuer, caller: issuer.revoke_session(str(caller.session_id)),
    "a change of roles": lambda issuer, caller: issuer.revoke_user(caller.user_id),
    "a revoked key": lambda issuer, _: issuer.revoke_key(),
}


async def soon(awaited: Any) -> Any:
    """What must come, however slow the machine is."""
    async with asyncio.timeout(60):
        return await awaited


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.mark.parametrize("event", EVENTS)
async def test_a_block_is_cancelled_and_says_why(event: str, issuer: Issuer) -> None:
    caller = issuer.caller("ada")
    began = asyncio.Event()

    async def watched() -> None:
        async with caller.watch():
            began.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(watched())
    await began.wait()
    issuer.revoke_session(str(uuid.uuid4()))
    issuer.revoke_user("somebody else")
    await asyncio.sleep(0.01)
    assert not task.done()
    EVENTS[event](issuer, caller)
    with pytest.raises(TokenError) as caught:
        await soon(task)
    assert caught.value.code == "token_revoked"


async def test_a_block_that_ends_by_itself_is_left_alone(issuer: Issuer) -> None:
    caller = issuer.caller("ada")
    async with caller.watch() as watch:
        assert not watch.over
    issuer.revoke_user("ada")
    await asyncio.sleep(0.01)
    with pytest.raises(ValueError, match="its own"):
        async with issuer.caller("ada").watch():
            raise ValueError("its own")
    assert len(_watches(caller)) == 0


async def test_a_cancellation_from_elsewhere_stays_one(issuer: Issuer) -> None:
    caller = issuer.caller("ada")
    began = asyncio.Event()

    async def watched() -> None:
        async with caller.watch():
            began.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(watched())
    await began.wait()
    task.cancel()
    issuer.revoke_user("ada")
    with pytest.raises((asyncio.CancelledError, TokenError)) as caught:
        await soon(task)
    assert caught.type is asyncio.CancelledError


async def test_what_was_revoked_before_the_watch_ends_it_at_once(issuer: Issuer) -> None:
    """A request may have been let in just before the entry came."""
    caller = issuer.caller("ada")
    issuer.revoke_user("ada")
    with caller.watch() as watch:
        assert watch.code == "token_revoked"
        assert await soon(watch.ended()) == "token_revoked"
        assert watch.wait(3600)
    with pytest.raises(TokenError):
        async with caller.watch():
            await asyncio.sleep(3600)


async def test_events_stop_while_they_wait_for_one(issuer: Issuer) -> None:
    caller, closed = issuer.caller("ada"), asyncio.Event()

    async def events() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
            await asyncio.sleep(3600)
        finally:
            closed.set()

    heard, both = [], asyncio.Event()

    async def listen() -> None:
        async for each in caller.watch().while_good(events()):
            heard.append(each)
            if each == 2:
                both.set()

    task = asyncio.create_task(listen())
    await both.wait()
    issuer.revoke_user("ada")
    await soon(task)
    assert heard == [1, 2]
    await soon(closed.wait())
    assert len(_watches(caller)) == 0


async def test_events_that_end_or_fail_do_so_as_ever(issuer: Issuer) -> None:
    async def three() -> AsyncIterator[int]:
        for each in range(3):
            yield each

    async def fails() -> AsyncIterator[int]:
        yield 1
        raise ValueError("its own")

    caller = issuer.caller("ada")
    assert [each async for each in caller.watch().while_good(three())] == [0, 1, 2]
    with pytest.raises(ValueError, match="its own"):
        _ = [each async for each in caller.watch().while_good(fails())]
    listening = caller.watch().while_good(three())
    assert await anext(listening) == 0
    await listening.aclose()  # type: ignore[attr-defined]  # a generator, as frameworks close it
    assert len(_watches(caller)) == 0


@pytest.mark.parametrize("ends", ["by itself", "by its reader", "with the rights"])
async def test_a_source_runs_in_one_task_from_its_beginning_to_its_end(ends: str, issuer: Issuer) -> None:
    """⚑ A time-out or task group in it belongs to the task that entered it: it cancelled one that was over."""
    caller, tasks = issuer.caller("ada"), list[Any]()

    async def events() -> AsyncIterator[int]:
        tasks.append(asyncio.current_task())
        try:
            async with asyncio.timeout(3600):
                for each in range(2):
                    tasks.append(asyncio.current_task())
                    yield each
                await asyncio.sleep(0 if ends == "by itself" else 3600)
        finally:
            tasks.append(asyncio.current_task())

    listening = caller.watch().while_good(events())
    assert [await anext(listening), await anext(listening)] == [0, 1]
    if ends == "by its reader":
        await listening.aclose()  # type: ignore[attr-defined]  # a generator, as frameworks close it
    else:
        if ends == "with the rights":
            issuer.revoke_user("ada")
        with pytest.raises(StopAsyncIteration):
            await soon(anext(listening))
    assert (len(tasks), len(set(tasks))) == (4, 1)
    assert len(_watches(caller)) == 0


async def test_a_source_hears_of_its_own_tasks_that_fail(issuer: Issuer) -> None:
    async def fails() -> None:
        raise ValueError("its own")

    async def events() -> AsyncIterator[int]:
        async with asyncio.TaskGroup() as tasks:
            yield 1
            tasks.create_task(fails())
            await asyncio.sleep(3600)

    listening = issuer.caller("ada").watch().while_good(events())
    assert await anext(listening) == 1
    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await soon(anext(listening))


async def test_a_step_is_made_when_it_is_asked_for(issuer: Issuer) -> None:
    """A slow client keeps the source waiting, and what is over begins nothing."""
    made, caller = [], issuer.caller("ada")

    async def events() -> AsyncIterator[int]:
        for each in range(9):
            made.append(each)
            yield each

    listening = caller.watch().while_good(events())
    assert await anext(listening) == 0
    await asyncio.sleep(0.01)
    assert made == [0]
    issuer.revoke_user("ada")
    assert [each async for each in listening] == []
    assert [each async for each in caller.watch().while_good(events())] == []
    assert made == [0]


async def test_a_reader_that_is_cancelled_leaves_nothing_behind(issuer: Issuer) -> None:
    caller, closed = issuer.caller("ada"), asyncio.Event()

    async def events() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(3600)
        finally:
            closed.set()

    async def listen() -> None:
        async for _ in caller.watch().while_good(events()):
            pass

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await soon(closed.wait())
    assert len(_watches(caller)) == 0


def test_a_thread_hears_of_it(issuer: Issuer) -> None:
    caller, heard = issuer.caller("ada"), threading.Event()

    def listen() -> None:
        with caller.watch() as watch:
            while not watch.wait(3600):
                pass
            heard.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert until(lambda: len(_watches(caller)) == 1)
    issuer.revoke_user("ada")
    thread.join(60)
    assert heard.is_set()


def test_a_watch_that_has_not_begun_raises(issuer: Issuer) -> None:
    """It would never hear of anything."""
    watch = issuer.caller("ada").watch()
    for use in (lambda: watch.over, lambda: watch.wait(0)):
        with pytest.raises(RuntimeError, match="has not begun"):
            use()
    watch.begin()
    with pytest.raises(RuntimeError, match="once"):
        watch.begin()
    watch.leave()


def test_only_a_guards_own_caller_can_be_watched(issuer: Issuer) -> None:
    caller = issuer.caller("ada")
    for other in (copy.copy(caller), pickle.loads(pickle.dumps(caller)), Issuer().guard().verify):
        if callable(other):
            continue
        assert other == caller
        with pytest.raises(RuntimeError, match="own caller"):
            other.watch()


# The time -------------------------------------------------------------------------------------------------------------


async def test_the_tokens_end_ends_it(service: Service, guarded: MakeGuard) -> None:
    guard = guarded()
    caller = guard.verify(service.token(user_id="ada", expires_in=1))
    async with asyncio.timeout(60):
        with pytest.raises(TokenError) as caught:
            async with caller.watch():
                await asyncio.sleep(3600)
    assert caught.value.code == "token_expired"
    assert time.time() >= caller.expires_at


async def test_a_late_timer_is_no_excuse() -> None:
    """After a pause of the process timers are late; the next news look at the clock."""
    clock = FixedClock()
    issuer = Issuer(clock=clock)
    caller = issuer.caller("ada")
    with caller.watch() as watch:
        clock.advance(899)
        _watches(caller).look_at_the_time()
        assert watch.code is None
        clock.advance(1)
        _watches(caller).look_at_the_time()
        assert watch.code == "token_expired"


def test_a_thread_hears_of_the_end(service: Service, guarded: MakeGuard) -> None:
    caller = guarded().verify(service.token(user_id="ada", expires_in=1))
    with caller.watch() as watch:
        assert until(lambda: watch.wait(60))
        assert watch.code == "token_expired"


# By the feed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["session", "user", "key"])
async def test_the_feed_wakes_whom_it_concerns(kind: str, service: Service, guarded: MakeGuard) -> None:
    guard = guarded()
    caller = await guard.verify_async(service.token(user_id="ada", session_id=str(uuid.uuid4()), ver=3))
    bob = await guard.verify_async(service.token(user_id="bob"))
    subject = {"session": caller.session_id, "user": "ada", "key": caller.claims.kid}[kind]
    with caller.watch() as watch, bob.watch() as other:
        service.revoke("user", "ada", 3)  # such tokens are still good
        service.revoke(kind, str(subject), 4)
        assert await soon(watch.ended()) == "token_revoked"
        if kind == "key":
            assert await soon(other.ended()) == "token_revoked"
        assert other.over == (kind == "key")


@pytest.mark.parametrize("kind", ["scope", "audience"])
async def test_a_right_that_is_taken_away_wakes_those_who_had_it(
    kind: str, service: Service, guarded: MakeGuard
) -> None:
    guard = guarded()
    caller = await guard.verify_async(service.token(user_id="ada", scopes=["read", "write"], rver=3))
    later = await guard.verify_async(service.token(user_id="bob", scopes=["write"], rver=4))
    with caller.watch() as watch, later.watch() as other:
        service.revoke(kind, "delete", 4)
        service.revoke(kind, "write" if kind == "scope" else "orders", 4)
        assert await soon(watch.ended()) == "token_revoked"
        assert not other.over


async def test_a_list_that_replaces_ours_is_heard_as_well(service: Service, guarded: MakeGuard) -> None:
    """As after a restore of the service's database: another feed, read anew."""
    guard = guarded()
    caller = await guard.verify_async(service.token(user_id="ada", ver=3))
    with caller.watch() as watch:
        with service.news:
            service.feed_id, service.entries = "feed-2", []
            service.news.notify_all()
        service.revoke("user", "ada", 4)
        assert await soon(watch.ended()) == "token_revoked"
    later = await guard.verify_async(service.token(user_id="bob", ver=1))
    with later.watch() as watch:
        service.revoke("user", "bob", 2)
        assert await soon(watch.ended()) == "token_revoked"


async def test_a_guard_that_refuses_when_it_hears_nothing_ends_what_is_open(
    service: Service, guarded: MakeGuard
) -> None:
    guard = guarded(stale="closed")
    caller = await guard.verify_async(service.token(user_id="ada"))
    follower = guard._follower
    assert follower is not None
    with caller.watch() as watch:
        now = follower._now
        follower._now = lambda: now() + 100
        follower._judge()
        assert await soon(watch.ended()) == "revocations_stale"
        assert watch.error.code == "revocations_stale"


async def test_an_open_guard_goes_on(service: Service, guarded: MakeGuard) -> None:
    guard = guarded(stale="open")
    caller = await guard.verify_async(service.token(user_id="ada"))
    follower = guard._follower
    assert follower is not None
    with caller.watch() as watch:
        now = follower._now
        follower._now = lambda: now() + 100
        follower._judge()
        assert not watch.over


async def test_thousands_that_nothing_happens_to_cost_nothing(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry asks about those whom it names, and about no one else."""
    asked = []
    refuses = RevocationSet.refuses
    guard = issuer.guard()
    callers = [guard.verify(issuer.token(f"user-{number}")) for number in range(2000)]
    watches = [caller.watch().begin() for caller in callers]
    monkeypatch.setattr(RevocationSet, "refuses", lambda self, claims: asked.append(claims) or refuses(self, claims))
    for number in range(2000, 4000):
        issuer.revoke_user(f"user-{number}")
    assert not asked
    issuer.revoke_user("user-7")
    assert [claims.sub for claims in asked] == ["user-7"]
    assert [watch.caller.user_id for watch in watches if watch.code] == ["user-7"]
    for watch in watches:
        watch.leave()
    assert len(_watches(callers[0])) == 0
    assert not guard._judge.standing.watches._by_mark


async def test_many_watches_of_one_caller(issuer: Issuer) -> None:
    """One user with many tabs."""
    caller = issuer.caller("ada")
    watches = [caller.watch().begin() for _ in range(50)]
    watches[0].leave()
    issuer.revoke_user("ada")
    assert [watch.code for watch in watches] == [None, *["token_revoked"] * 49]
    for watch in watches[1:]:
        watch.leave()
    assert len(_watches(caller)) == 0


def test_many_threads_may_begin_leave_and_revoke_at_once(issuer: Issuer) -> None:
    guard, faults = issuer.guard(), []
    callers = [guard.verify(issuer.token(f"user-{number % 20}")) for number in range(200)]

    def churn(turn: int) -> None:
        try:
            for caller in callers[turn::4]:
                with caller.watch() as watch:
                    issuer.revoke_user(caller.user_id)
                    if not watch.wait(60):
                        faults.append(caller.user_id)
        except Exception as error:  # noqa: BLE001  the test shows it
            faults.append(repr(error))

    threads = [threading.Thread(target=churn, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults
    assert len(_watches(callers[0])) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_watches_for_itself(service: Service, guarded: MakeGuard) -> None:
    """The parent's connections are not its own, and its locks are free."""
    guard = guarded()
    caller = guard.verify(service.token(user_id="ada"))
    reading, writing = os.pipe()
    with caller.watch():
        watches = _watches(caller)
        with watches._lock:
            child = os.fork()
            if child == 0:
                try:
                    said = f"{len(watches)}"
                    with caller.watch() as own:
                        service_side = f" {len(watches)} {own.over}"
                    os.write(writing, (said + service_side).encode())
                finally:
                    os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 100) == b"0 1 False"
        assert len(watches) == 1
    os.close(reading)
    os.close(writing)


def _watches(caller: Caller) -> Any:
    return caller.watch()._watches


def test_a_guard_that_is_gone_says_so() -> None:
    issuer = Issuer()
    guard: Guard | None = issuer.guard()
    assert guard is not None
    caller = guard.verify(issuer.token("ada"))
    assert isinstance(caller.watch(), Watch)
    guard = None
    with pytest.raises(RuntimeError, match="while there is the guard"):
        caller.watch()
