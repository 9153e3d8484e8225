"""Threads for an event loop: what is asked for is done once, in order, and whoever waits hears of it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from watchword.threads import Threads

pytestmark = pytest.mark.anyio


class Gate:
    """Work that says that it has begun and goes on when it is let."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def work(self) -> str:
        self.begun.set()
        assert self.go.wait(5)
        return "done"


@pytest.fixture
def one() -> Iterator[Threads]:
    threads = Threads(1, "one")
    yield threads
    threads.close(drop=True)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.go.set()


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 5)


def alive(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def ended(name: str) -> bool:
    for thread in alive(name):
        thread.join(5)
    return not alive(name)


async def test_the_result_comes_back(one: Threads) -> None:
    """With its arguments, from another thread than the loop's."""
    assert await one.run(divmod, 17, 5) == (3, 2)
    assert await one.run(threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("error", [LookupError("gone"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()])
async def test_an_exception_travels(one: Threads, error: BaseException) -> None:
    """Whatever it is: it belongs to whoever asked, and the thread goes on."""
    caught: list[BaseException] = []

    def fails() -> None:
        raise error

    async def asks() -> None:
        try:
            await one.run(fails)
        except BaseException as seen:  # noqa: BLE001 - the loop itself would stop at some of them
            caught.append(seen)

    await asks()
    assert [type(seen) for seen in caught] == [type(error)]
    assert await one.run(lambda: "next") == "next"


async def test_stop_iteration_does_not_strand_who_waits(one: Threads) -> None:
    """⚑ No future can hold it; set as it is, it would end in the loop's log and the waiter would wait for ever."""

    def stops() -> None:
        next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(asyncio.ensure_future(one.run(stops)), 5)


async def test_one_thread_does_one_thing_after_another(one: Threads) -> None:
    """In the order of asking."""
    done: list[int] = []
    await asyncio.gather(*[one.run(done.append, number) for number in range(200)])
    assert done == list(range(200))
    assert len(alive("one-")) == 1


async def test_several_work_at_once_and_no_more_than_there_are() -> None:
    threads = Threads(3, "three")
    gates = [Gate() for _ in range(4)]
    futures = [threads.run(gate.work) for gate in gates]
    for gate in gates[:3]:
        await until(gate.begun)
    assert not gates[3].begun.wait(0.05)
    for gate in gates:
        gate.go.set()
    assert await asyncio.gather(*futures) == ["done"] * 4
    assert len(alive("three-")) == 3
    threads.close()
    assert await asyncio.to_thread(ended, "three-")


async def test_no_thread_is_started_before_there_is_work() -> None:
    threads = Threads(2, "idle")
    assert alive("idle-") == []
    await threads.run(int)
    assert len(alive("idle-")) == 1
    threads.close()


async def test_who_gives_up_while_waiting_is_passed_over(one: Threads, gate: Gate) -> None:
    """What has not begun never begins; the next in the queue is served."""
    done: list[str] = []
    first = one.run(gate.work)
    await until(gate.begun)
    given_up, last = one.run(done.append, "given up"), one.run(done.append, "last")
    given_up.cancel()
    gate.go.set()
    await last
    assert await first == "done"
    assert done == ["last"]


async def test_who_gives_up_in_the_middle_disturbs_nobody(one: Threads, gate: Gate) -> None:
    """What has begun goes on to its end, and what it ends with is thrown away, an error too."""
    ends: list[str] = []

    def fails() -> None:
        gate.work()
        ends.append("reached")
        raise LookupError

    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    task = asyncio.ensure_future(one.run(fails))
    await until(gate.begun)
    task.cancel()
    gate.go.set()
    assert await one.run(lambda: "next") == "next"
    await asyncio.sleep(0)
    assert ends == ["reached"]
    assert faults == []


def test_a_loop_that_was_closed_meanwhile_does_not_end_the_thread(one: Threads, gate: Gate) -> None:
    """Nobody is left to hear of it; another loop is served by the same thread."""

    async def leaves() -> None:
        one.run(gate.work)
        await until(gate.begun)

    asyncio.run(leaves())
    gate.go.set()

    async def comes() -> str:
        return await one.run(lambda: "served")

    assert asyncio.run(comes()) == "served"


async def test_what_is_posted_is_done_without_a_loop_and_may_fail(one: Threads) -> None:
    done = threading.Event()

    def fails() -> None:
        raise LookupError

    def outside() -> None:
        one.post(fails)
        one.post(done.set)

    await asyncio.to_thread(outside)
    await until(done)


async def test_close_lets_what_is_queued_be_done(gate: Gate) -> None:
    """It waits for nobody itself, and refuses what comes after it."""
    threads = Threads(2, "closing")
    futures = [threads.run(gate.work), threads.run(gate.work), threads.run(lambda: "queued")]
    await until(gate.begun)
    threads.close()
    threads.close()
    for ask in (threads.run, threads.post):
        with pytest.raises(RuntimeError, match="closed"):
            ask(int)
    gate.go.set()
    assert await asyncio.gather(*futures) == ["done", "done", "queued"]
    assert await asyncio.to_thread(ended, "closing-")


async def test_close_with_drop_tells_those_who_wait(gate: Gate) -> None:
    """What is under way is finished; the rest is cancelled, not forgotten."""
    threads = Threads(1, "dropping")
    done: list[str] = []
    first = threads.run(gate.work)
    await until(gate.begun)
    dropped = threads.run(done.append, "dropped")
    threads.close(drop=True)
    with pytest.raises(asyncio.CancelledError):
        await dropped
    gate.go.set()
    assert await first == "done"
    assert await asyncio.to_thread(ended, "dropping-")
    assert done == []


def test_close_with_drop_after_the_loop_has_gone(gate: Gate) -> None:
    threads = Threads(1, "late")

    async def leaves() -> None:
        threads.run(gate.work)
        threads.run(int)
        await until(gate.begun)

    asyncio.run(leaves())
    threads.close(drop=True)
    gate.go.set()
    assert ended("late-")


async def test_threads_that_nobody_holds_end() -> None:
    """Forgetting to close costs no thread."""
    threads = Threads(2, "forgotten")
    await asyncio.gather(threads.run(int), threads.run(int))
    assert alive("forgotten-")
    del threads
    gc.collect()
    assert await asyncio.to_thread(ended, "forgotten-")


async def test_nothing_is_kept_of_what_was_done(one: Threads) -> None:
    """⚑ Neither arguments nor results, which may be passwords: not until the collector comes, nor after an error."""

    class Secret:
        pass

    def fails(_: Secret) -> None:
        raise LookupError

    async def asks(work: Callable[[Secret], object]) -> weakref.ref[Secret]:
        secret = Secret()
        try:
            await one.run(work, secret)
        except LookupError as error:
            error.__traceback__ = None
        return weakref.ref(secret)

    gc.disable()
    try:
        for work in (id, lambda secret: secret, fails):
            kept = await asks(work)
            await one.run(int)
            await asyncio.sleep(0)
            assert kept() is None, work
    finally:
        gc.enable()


async def test_what_was_made_for_a_cancelled_caller_is_unmade(one: Threads, gate: Gate) -> None:
    """Before what is asked for then. Nothing that was handed over, and nothing that was not begun."""
    unmade: list[str] = []
    assert await one.make(lambda: "taken", unmade.append) == "taken"
    making = [asyncio.create_task(one.make(work, unmade.append)) for work in (gate.work, lambda: "later")]
    await until(gate.begun)
    for task in making:
        task.cancel()
    assert [type(each) for each in await asyncio.gather(*making, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2
    gate.go.set()
    assert await one.run(unmade.copy) == ["done"]


async def test_what_is_made_when_its_caller_is_cancelled_is_unmade(one: Threads) -> None:
    """The work is done, and the caller has not heard of it."""
    unmade: list[str] = []
    done = threading.Event()
    making = asyncio.create_task(one.make(lambda: "made", unmade.append))
    await asyncio.sleep(0)
    one.post(done.set)
    assert done.wait(5)  # the loop stands still
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert await one.run(unmade.copy) == ["made"]


async def test_what_could_not_be_made_is_not_unmade(one: Threads, gate: Gate) -> None:
    def fails() -> str:
        raise OSError(gate.work())

    unmade: list[str] = []
    making = asyncio.create_task(one.make(fails, unmade.append))
    await until(gate.begun)
    making.cancel()
    gate.go.set()
    with pytest.raises(asyncio.CancelledError):
        await making
    with pytest.raises(ZeroDivisionError):
        await one.make(lambda: str(1 / 0), unmade.append)
    assert await one.run(unmade.copy) == []


_AT_EXIT = """
import asyncio, sys, time
from watchword import threads

threads.EXIT_PATIENCE = 1.0

def commits():
    print("begun", flush=True)
    time.sleep(float(sys.argv[1]))
    print("committed", flush=True)

async def main():
    keep.run(commits)
    keep.post(lambda: print("queued", flush=True))
    await asyncio.sleep(0.1)

keep = threads.Threads(1, "exit")
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("seconds", "said"), [("0.4", ["begun", "committed", "queued"]), ("30", ["begun"])], ids=["finishes", "hangs"]
)
def test_the_interpreter_waits_for_work_at_its_exit_but_not_for_ever(seconds: str, said: list[str]) -> None:
    """A COMMIT is not cut off without need, and a disk that hangs does not keep a process that was told to end."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _AT_EXIT, seconds], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == said
    assert time.monotonic() - started < 28, "thirty seconds of work were waited for"
