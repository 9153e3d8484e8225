"""Threads that work for event loops in order: disk waits, hashes.

`ThreadPoolExecutor` costs more than the rest of a commit; here work costs one queue entry and one
`call_soon_threadsafe`.

Threads end when closed or collected, and as daemons with the interpreter. At its exit queued work gets `EXIT_PATIENCE`,
so that no COMMIT is cut off.
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

# None, None: no one waits
_Job = tuple["asyncio.Future[Any] | None", asyncio.AbstractEventLoop | None, Callable[..., Any], tuple[Any, ...]]
_Jobs = SimpleQueue[_Job | None]

_started: weakref.WeakKeyDictionary[threading.Thread, _Jobs] = weakref.WeakKeyDictionary()


class Threads:
    """At most `count` threads with one queue, for one event loop.

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
        """Queue work; return a future of its result. Raises `RuntimeError` when closed.

        Cancelling it stops only work that has not begun.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put((future, loop, work, arguments))
        return future

    async def make(self, work: Callable[[], T], unmake: Callable[[T], object]) -> T:
        """Do work that makes something. It is unmade where the caller is cancelled before they have it.

        Before anything that is queued from then on, if there is one thread.
        """
        made: list[T] = []
        turn = threading.Lock()
        wanted = True

        def making() -> None:
            result = work()
            with turn:
                if wanted:
                    made.append(result)
                    return
            unmake(result)

        try:
            await self.run(making)
        except asyncio.CancelledError:
            with turn:
                wanted = False
            if made and self._closed:
                unmake(made.pop())
            elif made:
                self.post(unmake, made.pop())
            raise
        return made.pop()

    def post(self, work: Callable[[Unpack[Ts]], object], *arguments: *Ts) -> None:
        """Queue work that no one waits for; its errors are lost."""
        self._put((None, None, work, arguments))

    def close(self, *, drop: bool = False) -> None:
        """End the threads after what is queued; with `drop`, after what they are doing.

        Returns at once. Dropped futures are cancelled.
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
        # The queue, not this object, which must be collectable.
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
        with suppress(BaseException):  # no one waits
            work(*arguments)
    elif not future.cancelled():
        result, failure = _outcome(work, arguments)
        with suppress(RuntimeError):  # the loop has been closed meanwhile: no one is left to hear of it
            loop.call_soon_threadsafe(_settle, future, result, failure)


def _outcome(work: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[T | None, BaseException | None]:
    """Run in a frame of its own: a frame that holds `error` would keep itself alive."""
    try:
        return work(*arguments), None
    except BaseException as error:  # noqa: BLE001 - it belongs to the caller
        return None, error


def _settle(future: asyncio.Future[Any], result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    elif isinstance(failure, StopIteration):  # no future holds it
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
    """Wait at the interpreter's exit, after which threads stand still."""
    give_up_at = monotonic() + EXIT_PATIENCE
    threads = [(thread, jobs) for thread, jobs in _started.items() if thread.is_alive()]
    for _, jobs in threads:
        jobs.put(None)
    for thread, _ in threads:
        thread.join(max(0.0, give_up_at - monotonic()))


atexit.register(_finish)
