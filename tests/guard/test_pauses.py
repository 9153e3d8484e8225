"""A process that was suspended, stopped or frozen asks for news before it accepts a token; and stopped time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import freezegun
import pytest

from tests.guard.conftest import MakeGuard
from tests.guard.service import FEED, Service, until
from tests.guard.test_following import code
from watchword import clock as clocks
from watchword.clock import FixedClock
from watchword.guard import Guard, standing
from watchword.guard.following.awake import LONGEST_ATTEMPT, Awake, Moment
from watchword.guard.following.waiting import Pending

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from tests.guard.test_following import code
from watchword.guard import Guard
guard = Guard(sys.argv[1], audience="orders", max_stale=15)
assert guard.wait_until_ready(10), guard.why_not_ready
print("ready", flush=True)
for line in sys.stdin:
    print(code(guard, line.strip()), flush=True)
"""


class Ahead:
    """Both clocks of a guard, which can be moved as a suspended machine's are."""

    def __init__(self, guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.wall = guard._follower._clock
        guard._follower._now = self.read
        monkeypatch.setattr(standing, "elapsed", self.read)
        open_client = guard._follower._workers.open_client

        def open_with_clock() -> Any:
            client = open_client()
            client._now = self.read
            return client

        guard._follower._workers.open_client = open_with_clock

    def read(self) -> float:
        return clocks.elapsed() + self.seconds

    def advance(self, seconds: int) -> None:
        self.seconds += seconds
        self.wall.advance(seconds)


class Silent:
    """A feed whose long polls hear of nothing any more, as over a dead connection; prompt ones tell the truth."""

    def __init__(self, service: Service) -> None:
        self.service, self.ended = service, threading.Event()
        self.asked_at_once = 0
        service.misbehave[FEED] = self

    def __call__(self, handler: Any) -> None:
        if "wait=0" not in handler.path and "after=" in handler.path:
            self.ended.wait(60)
            return
        if "wait=0" in handler.path:
            self.asked_at_once += 1
        after = handler.path.partition("after=")[2].partition("&")[0]
        handler.say(self.service.page(after or None))


@pytest.mark.parametrize("policy", ["open", "closed"])
@pytest.mark.parametrize("seen", [True, False])
def test_after_a_pause_the_first_token_waits_for_news(
    service: Service, monkeypatch: pytest.MonkeyPatch, policy: Any, seen: bool
) -> None:
    """The machine slept for an hour, in which a session was ended. No token of it is accepted, seen before or not."""
    clock = FixedClock(int(time.time()))
    guard, silent = service.guard(stale=policy, clock=clock), Silent(service)
    moved = Ahead(guard, monkeypatch)
    assert guard.wait_until_ready(5)
    token, other = service.token(session_id="s1", exp=clock.now() + 9000), service.token(exp=clock.now() + 9000)
    if seen:
        assert code(guard, token) == code(guard, other) == "ok"
    service.revoke("session", "s1")
    assert seen is False or code(guard, token) == "ok", "nothing is known of it yet"
    moved.advance(3600)
    assert code(guard, token) == "token_revoked"
    assert code(guard, other) == "ok"
    assert silent.asked_at_once >= 1
    silent.ended.set()
    guard.stop()


def test_a_pause_that_only_the_wall_clock_shows_counts_as_well(service: Service) -> None:
    """As of a virtual machine whose other clocks stand still while it is stopped."""
    clock = FixedClock(int(time.time()))
    guard, silent = service.guard(clock=clock), Silent(service)
    assert guard.wait_until_ready(5)
    token = service.token(session_id="s1", exp=clock.now() + 9000)
    assert code(guard, token) == "ok"
    service.revoke("session", "s1")
    clock.advance(29)
    assert code(guard, token) == "ok"
    clock.advance(2)
    assert code(guard, token) == "token_revoked"
    silent.ended.set()
    guard.stop()


async def test_an_event_loop_is_not_blocked_by_it(service: Service) -> None:
    clock = FixedClock(int(time.time()))
    guard, silent = service.guard(clock=clock), Silent(service)
    assert await asyncio.to_thread(guard.wait_until_ready, 5)
    token = service.token(exp=clock.now() + 9000)
    assert (await guard.verify_async(token)).user_id
    clock.advance(3600)
    checks = await asyncio.gather(*(guard.verify_async(token) for _ in range(20)))
    assert len(checks) == 20
    assert silent.asked_at_once >= 1
    silent.ended.set()
    guard.stop()


@pytest.mark.parametrize(("policy", "after"), [("open", "ok"), ("closed", "revocations_stale")])
def test_after_a_pause_without_a_service_it_is_as_told(
    service: Service, monkeypatch: pytest.MonkeyPatch, policy: Any, after: str
) -> None:
    """It has been asked, in vain."""
    clock = FixedClock(int(time.time()))
    guard = service.guard(stale=policy, clock=clock)
    moved = Ahead(guard, monkeypatch)
    assert guard.wait_until_ready(5)
    token = service.token(exp=clock.now() + 9000)
    assert code(guard, token) == "ok"
    service.stop()
    moved.advance(3600)
    assert [code(guard, token) for _ in range(3)] == [after] * 3
    service.start()
    assert until(lambda: code(guard, token) == "ok")
    guard.stop()


def test_a_service_that_does_not_answer_is_waited_for_once(service: Service) -> None:
    """The guard of an open policy goes on after two seconds, and does not wait for each request from then on."""
    clock, ended = FixedClock(int(time.time())), threading.Event()
    guard = service.guard(clock=clock)
    assert guard.wait_until_ready(5)
    token = service.token(exp=clock.now() + 9000)
    assert code(guard, token) == "ok"
    service.misbehave[FEED] = lambda handler: ended.wait(60)
    asked: list[float] = []
    waiting = Pending.wait
    clock.advance(3600)
    Pending.wait = lambda self, seconds: (asked.append(seconds), waiting(self, seconds))[1]  # type: ignore[method-assign,assignment]
    try:
        assert [code(guard, token) for _ in range(50)] == ["ok"] * 50
    finally:
        Pending.wait = waiting  # type: ignore[method-assign]
        ended.set()
        guard.stop()
    assert asked == [2.0]


@pytest.mark.rare
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="a system without SIGSTOP")
def test_a_process_that_was_stopped_asks_before_it_accepts(service: Service) -> None:
    """⚑ A real one, by SIGSTOP. The poll was answered before the session ended, and lies unread; the next is slow."""
    service.silence = 0.2
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, service.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.fspath(ROOT)},
    )
    assert child.stdin is not None
    assert child.stdout is not None

    def ask() -> str:
        child.stdin.write(f"{token}\n")
        child.stdin.flush()
        return child.stdout.readline().strip()

    def slowly(handler: Any) -> None:
        time.sleep(0.3)
        handler.say(service.page(handler.path.partition("after=")[2].partition("&")[0] or None))

    try:
        assert child.stdout.readline().strip() == "ready"
        token = service.token(session_id="s1")
        assert [ask(), ask()] == ["ok", "ok"]
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(1)
        service.misbehave[FEED] = slowly
        service.revoke("session", "s1")
        time.sleep(16)
        os.kill(child.pid, signal.SIGCONT)
        assert ask() == "token_revoked"
    finally:
        child.kill()
        child.stdin.close()
        child.stdout.close()
        child.wait(10)


# The rule ------------------------------------------------------------------------------------------------------------


def awake() -> tuple[Awake, list[float]]:
    times = [0.0, 1_800_000_000.0]
    return Awake(30.0, now=lambda: times[0], wall=lambda: times[1]), times


def test_only_an_attempt_without_a_pause_counts() -> None:
    """By either clock; and one in vain counts as well."""
    for elapsed, wall in ((LONGEST_ATTEMPT + 1, 0), (0, LONGEST_ATTEMPT + 1), (3600, 3600)):
        rule, times = awake()
        assert rule.asleep()
        began = rule.moment()
        times[0] += elapsed
        times[1] += wall
        rule.attempt_ended(began)
        assert rule.asleep()
        began = rule.moment()
        times[0] += 10
        times[1] += 10
        rule.attempt_ended(began)
        assert not rule.asleep()


def test_what_was_asked_before_is_no_answer_to_what_is_asked_now() -> None:
    rule, times = awake()
    before = rule.moment()
    times[0] += 1
    first, pending = rule.want(give_up=False)
    assert first
    assert pending is not None
    assert rule.want(give_up=False) == (False, pending)
    rule.attempt_ended(before)
    assert rule.asleep()
    rule.attempt_ended(rule.moment())
    assert not rule.asleep()
    assert rule.want(give_up=False) == (False, None)


def test_a_crowd_is_not_let_in_because_it_is_one() -> None:
    """Where too many wait already, the others do not: they go on before there can be news."""
    rule, times = awake()
    assert rule.want(give_up=True)[1] is not None
    times[0] += 1.9
    assert rule.want(give_up=True)[1] is not None
    times[0] += 0.2
    assert rule.want(give_up=False)[1] is not None
    assert rule.want(give_up=True) == (False, None)
    assert rule.until == Moment(times[0] + 30, times[1] + 30)


# Time that a test stops ----------------------------------------------------------------------------------------------


def test_a_frozen_time_hangs_no_wait(service: Service) -> None:
    """With freezegun: nothing waits for ever, neither for a service that is there nor for one that is not."""
    with freezegun.freeze_time():
        gone = Guard("http://127.0.0.1:9", audience="x")
        assert not gone.wait_until_ready(0.2)
        assert code(gone, service.token()) == "guard_not_ready"
        gone.stop()
        guard = service.guard()
        assert guard.wait_until_ready(20)
        assert code(guard, service.token()) == "ok"
        pending = Pending()
        pending.wait(0.05)
        asyncio.run(pending.wait_async(0.05))
        guard.stop()


def test_a_frozen_time_stops_no_guard_from_hearing_news(service: Service, guarded: MakeGuard) -> None:
    with freezegun.freeze_time():
        guard = guarded()
        token = service.token(session_id="s1")
        assert code(guard, token) == "ok"
        service.revoke("session", "s1")
        for _ in range(500):
            if code(guard, token) != "ok":
                break
            threading.Event().wait(0.02)
        assert code(guard, token) == "token_revoked"


def test_the_clock_of_waits_goes_on() -> None:
    before = clocks.elapsed()
    with freezegun.freeze_time("2001-01-01"):
        threading.Event().wait(0.01)
        assert clocks.elapsed() > before
