"""A guard without a background: a request asks when it has to, once for all, within a bound, and else refuses."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.guard.conftest import MakeGuard
from tests.guard.service import FEED, KEYS, METADATA, Service
from tests.guard.test_following import code
from tests.guard.test_pauses import Ahead
from watchword.clock import FixedClock
from watchword.errors import WatchwordError
from watchword.guard import Guard
from watchword.guard.following.on_request import ASK_WITHIN

ROOT = Path(__file__).parents[2]
STALE = 30


@pytest.fixture
def make(guarded: MakeGuard) -> Callable[..., Guard]:
    def made(**options: Any) -> Guard:
        return guarded(ready=False, background=False, **options)

    return made


@pytest.fixture
def later(make: Callable[..., Guard], monkeypatch: pytest.MonkeyPatch) -> tuple[Guard, Ahead]:
    """A guard whose clocks can be moved."""
    guard = make(clock=FixedClock(int(time.time())))
    return guard, Ahead(guard, monkeypatch)


async def code_async(guard: Guard, token: str) -> str:
    try:
        await guard.verify_async(token)
    except WatchwordError as error:
        return error.code
    return "ok"


def threads() -> set[str]:
    return {each.name for each in threading.enumerate() if each.name.startswith("watchword-guard")}


def test_the_first_request_asks_and_no_thread_is_left(service: Service, make: Callable[..., Guard]) -> None:
    before, guard = threads(), make()
    guard.start()
    assert (dict(service.asked), guard.ready) == ({}, False)
    assert code(guard, service.token()) == "ok"
    assert guard.ready
    for _ in range(20):
        assert code(guard, service.token()) == "ok"
    assert service.asked == {METADATA: 1, KEYS: 1, FEED: 1}
    assert threads() == before


def test_a_cold_start_may_be_waited_for(service: Service, make: Callable[..., Guard]) -> None:
    guard = make()
    assert guard.wait_until_ready(10)
    assert guard.why_not_ready is None
    assert code(guard, service.token()) == "ok"
    assert service.asked[FEED] == 1
    service.stop()
    other = make()
    assert not other.wait_until_ready(0.3)
    assert "connection refused" in str(other.why_not_ready)


def test_an_old_list_is_asked_for_and_a_young_one_is_not(service: Service, later: tuple[Guard, Ahead]) -> None:
    guard, clock = later
    token = service.token(session_id="s1")
    assert code(guard, token) == "ok"
    service.revoke("session", "s1")
    clock.advance(STALE - 2)
    assert code(guard, token) == "ok"  # as documented: up to max_stale seconds
    assert service.asked[FEED] == 1
    clock.advance(3)
    assert code(guard, token) == "token_revoked"
    assert code(guard, service.token()) == "ok"
    assert service.asked[FEED] == 2
    assert service.asked[KEYS] == 1


@pytest.mark.parametrize("clock_that_moves", ["elapsed", "wall"])
def test_a_frozen_host_asks_when_it_goes_on(
    service: Service, later: tuple[Guard, Ahead], clock_that_moves: str
) -> None:
    """Whichever clock shows the pause."""
    guard, clock = later
    token = service.token(session_id="s1", expires_in=7200)
    assert code(guard, token) == "ok"
    service.revoke("session", "s1")
    if clock_that_moves == "elapsed":
        clock.seconds += 600
    else:
        clock.wall.advance(600)
    assert code(guard, token) == "token_revoked"


def test_who_cannot_ask_refuses(service: Service, later: tuple[Guard, Ahead]) -> None:
    """A list that was good is not good for ever, and a service that is back is heard."""
    guard, clock = later
    token = service.token(expires_in=7200)
    assert code(guard, token) == "ok"
    service.stop()
    assert code(guard, token) == "ok"
    clock.advance(STALE + 1)
    assert code(guard, token) == "revocations_stale"
    service.start()
    clock.advance(6)
    assert code(guard, token) == "ok"


def test_a_failure_is_not_repeated_by_each_request(service: Service, later: tuple[Guard, Ahead]) -> None:
    guard, clock = later
    service.misbehave[FEED] = lambda handler: handler.send(b"", status=500)
    assert {code(guard, service.token()) for _ in range(50)} == {"guard_not_ready"}
    assert service.asked[FEED] == 1
    service.misbehave.clear()
    clock.advance(2)
    assert code(guard, service.token()) == "ok"


def test_a_list_that_is_old_where_it_comes_from_is_refused(service: Service, later: tuple[Guard, Ahead]) -> None:
    """A replica that is cut off is asked now and then only."""
    guard, clock = later
    service.as_of_lag = STALE + 100
    assert {code(guard, service.token()) for _ in range(20)} == {"revocations_stale"}
    assert service.asked[FEED] == 1
    service.as_of_lag = 0
    clock.advance(1)
    assert code(guard, service.token()) == "ok"


def slow(seconds: float, service: Service) -> Callable[[Any], None]:
    def misbehave(handler: Any) -> None:
        time.sleep(seconds)
        handler.say(service.page(None))

    return misbehave


@pytest.mark.parametrize("how", ["threads", "tasks", "both"])
def test_one_asks_for_all(service: Service, make: Callable[..., Guard], how: str) -> None:
    """A hundred requests at once cause one question, in threads, in tasks of an event loop, and in both."""
    guard, token = make(), service.token()
    service.misbehave[FEED] = slow(0.5, service)

    async def tasks() -> list[str]:
        return await asyncio.gather(*[code_async(guard, token) for _ in range(50)])

    with ThreadPoolExecutor(50) as pool:
        found: list[str] = []
        waiting = [pool.submit(code, guard, token) for _ in range(50)] if how != "tasks" else []
        if how != "threads":
            found += asyncio.run(tasks())
        found += [each.result() for each in waiting]
    assert set(found) == {"ok"}
    assert service.asked == {METADATA: 1, KEYS: 1, FEED: 1}


async def test_an_event_loop_goes_on(service: Service, make: Callable[..., Guard]) -> None:
    """While one asks for two thirds of a second, the loop turns."""
    before, guard = threads(), make()
    service.misbehave[FEED] = slow(0.7, service)
    asking = asyncio.create_task(code_async(guard, service.token()))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert await asking == "ok"
    assert turns > 10
    while not threads() <= before:  # noqa: ASYNC110 - the one that asked ends by itself, and says nothing
        await asyncio.sleep(0.01)


async def test_a_request_that_is_cancelled_strands_no_other(service: Service, make: Callable[..., Guard]) -> None:
    guard, token = make(), service.token()
    service.misbehave[FEED] = slow(0.5, service)
    first = asyncio.create_task(code_async(guard, token))
    second = asyncio.create_task(code_async(guard, token))
    await asyncio.sleep(0.1)
    first.cancel()
    assert await second == "ok"
    assert service.asked[FEED] == 1


def test_there_is_a_bound(service: Service, make: Callable[..., Guard], monkeypatch: pytest.MonkeyPatch) -> None:
    """On all that is asked together, however slowly it comes."""
    monkeypatch.setattr("watchword.guard.following.on_request.ASK_WITHIN", 0.5)
    over, answered = threading.Event(), threading.Event()

    def late(_: object) -> None:
        over.wait()
        answered.set()

    service.misbehave[FEED] = late
    assert code(make(), service.token()) == "guard_not_ready"
    assert not answered.is_set(), "it did not wait for the feed"
    over.set()
    assert ASK_WITHIN == 5


def test_a_new_key_is_asked_for_once(service: Service, later: tuple[Guard, Ahead]) -> None:
    guard, clock = later
    assert code(guard, service.token()) == "ok"
    clock.advance(31)
    service.rotate(announce=False)
    assert code(guard, service.token()) == "ok"
    assert service.asked[KEYS] == 2
    for _ in range(10):  # made-up keys cause no more
        assert code(guard, Service().token()) == "token_invalid"
    assert service.asked[KEYS] <= 3


def test_announced_keys_are_fetched_with_the_list(service: Service, later: tuple[Guard, Ahead]) -> None:
    guard, clock = later
    old = service.token(expires_in=7200)
    assert code(guard, old) == "ok"
    service.rotate()
    clock.advance(STALE + 1)
    assert code(guard, old) == "ok"
    assert service.asked[KEYS] == 2


def test_without_revocations_the_keys_are_asked_for(service: Service, make: Callable[..., Guard]) -> None:
    guard = make(revocations=False)
    assert [code(guard, service.token()) for _ in range(5)] == ["ok"] * 5
    assert service.asked == {METADATA: 1, KEYS: 1}


def test_a_shared_secret_needs_the_list_only() -> None:
    guard = Guard.shared_secret("http://127.0.0.1:9", secret=b"k" * 7 + os.urandom(32), background=False)
    with pytest.raises(WatchwordError) as refused:
        guard.verify("x.y.z")
    assert refused.value.code == "guard_not_ready"


@pytest.mark.parametrize("options", [{"stale": "open"}, {"background": None}, {"background": "no"}])
def test_what_cannot_be_meant(options: dict[str, Any]) -> None:
    with pytest.raises(
        (TypeError, ValueError), match=r"without background a guard that cannot know|background is True"
    ):
        Guard("https://auth.example", **{"background": False} | options)
    assert Guard("https://auth.example", background=False, stale="closed")


FORKS = """
import os, sys
from tests.guard.test_following import code
from watchword.guard import Guard
guard = Guard(sys.argv[1], audience="orders", background=False)
assert code(guard, sys.argv[2]) == "ok"
child = os.fork()
if not child:
    guard._follower._standing.unsettle()
    os._exit(0 if code(guard, sys.argv[2]) == "ok" else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_asks_for_itself(service: Service) -> None:
    command = [sys.executable, "-c", FORKS, service.url, service.token()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
