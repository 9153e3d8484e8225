"""A few threads that do one thing after another for event loops: waiting for the disk, computing hashes.

`loop.run_in_executor` with a `ThreadPoolExecutor` is two futures, two locks and a dozen calls for each piece of work,
which is more than the rest of a commit costs on the loop. Here a piece of work is one entry of a queue and one
`call_soon_threadsafe`.

Threads begin when there is work, and end when they are closed or no one holds the `Threads` any more. They are daemons,
so that no work can keep the interpreter from ending for ever; at its exit what has been asked for is waited for, up to
`EXIT_PATIENCE`, so that a COMMIT is not cut off half-way without need.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, TypeVarTuple, Unpack

from watchword.clock import monotonic

EXIT_PATIENCE = 10.0  # seconds, for all threads together
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The future that waits and the loop it belongs to, both None where no one does; what to do, and with what.
_Job = tuple["asyncio.Future[Any] | None", asyncio.AbstractEventLoop | None, Callable[..., Any], tuple[Any, ...]]
_Jobs = SimpleQueue[_Job | None]

_started: weakref.WeakKeyDictionary[threading.Thread, _Jobs] = weakref.WeakKeyDictionary()


class Threads:
    """At most `count` threads, which share one queue in the order of asking.

    Its methods are for one thread at a time: that of an event loop.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: _Jobs = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False
        weakref.finalize(self, _end, self._jobs, self._threads).atexit = False

    def run(self, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> asyncio.Future[T]:
        """Ask for work, from a running event loop; the future has its result, or what it raised.

        Cancelling the future keeps work that has not begun from ever beginning; what has begun goes on to its end.
        Raises `RuntimeError` when closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put((future, loop, work, arguments))
        return future

    def post(self, work: Callable[[Unpack[Ts]], object], *arguments: *Ts) -> None:
        """Ask for work whose end no one waits for, with or without an event loop. What it raises is lost."""
        self._put((None, None, work, arguments))

    def close(self, *, drop: bool = False) -> None:
        """Let the threads end after what they have been asked for; with `drop`, after what they are doing.

        Waits for no one. Who waits for work that is dropped gets `CancelledError`.
        """
        if self._closed:
            return
        self._closed = True
        if drop:
            _drop(self._jobs)
        _end(self._jobs, self._threads)

    def _put(self, job: _Job) -> None:
        if self._closed:
            raise RuntimeError("these threads have been closed")
        if len(self._threads) < self._count:
            self._start()
        self._jobs.put(job)

    def _start(self) -> None:
        # Given the queue and not this object, which could otherwise never be let go of.
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)
        _started[thread] = self._jobs


def _work(jobs: _Jobs) -> None:
    """What a thread does all its life."""
    while (job := jobs.get()) is not None:
        _do(*job)
        del job  # neither arguments nor results live on while the thread waits for more


def _do(
    future: asyncio.Future[Any] | None,
    loop: asyncio.AbstractEventLoop | None,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    if loop is None or future is None:
        with suppress(BaseException):  # no one waits, and the thread has more to do
            work(*arguments)
    elif not future.cancelled():
        result, failure = _outcome(work, arguments)
        with suppress(RuntimeError):  # the loop has been closed meanwhile: no one is left to hear of it
            loop.call_soon_threadsafe(_settle, future, result, failure)


def _outcome(work: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[T | None, BaseException | None]:
    """In a frame of its own, which the traceback keeps: one that knew the error would keep that, and itself, alive."""
    try:
        return work(*arguments), None
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the one who asked
        return None, error


def _settle(future: asyncio.Future[Any], result: object, failure: BaseException | None) -> None:
    """On the loop: tell the one who waits, unless they have given up."""
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    elif isinstance(failure, StopIteration):  # which no future can hold, as little as a coroutine may raise it
        future.set_exception(RuntimeError("StopIteration was raised in a thread"))
    else:
        future.set_exception(failure)


def _drop(jobs: _Jobs) -> None:
    with suppress(Empty):
        while True:
            job = jobs.get_nowait()
            if job is not None and job[0] is not None and job[1] is not None:
                with suppress(RuntimeError):  # as above
                    job[1].call_soon_threadsafe(job[0].cancel)


def _end(jobs: _Jobs, threads: list[threading.Thread]) -> None:
    for _ in threads:
        jobs.put(None)


def _finish() -> None:
    """At the interpreter's exit: threads still run now, and stand still for ever as soon as this has returned."""
    give_up_at = monotonic() + EXIT_PATIENCE
    threads = [(thread, jobs) for thread, jobs in _started.items() if thread.is_alive()]
    for _, jobs in threads:
        jobs.put(None)
    for thread, _ in threads:
        thread.join(max(0.0, give_up_at - monotonic()))


atexit.register(_finish)
