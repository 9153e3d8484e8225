"""Lets threads and coroutines wait for a short while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

MOST_WAITING = 256
WAIT = 2.0
"""Seconds that a request waits at most: for the first keys, its token's key, or news after a pause."""


class Pending:
    """Stands for one thing under way. At most 256 requests wait, so that made-up tokens cannot pile up more."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._waiting = 0
        self._callbacks: list[Callable[[], None]] = []

    @property
    def over(self) -> bool:
        """Return whether it is over."""
        return self._over.is_set()

    def finish(self) -> None:
        """Wake everyone."""
        with self._lock:
            self._over.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def begin(self) -> None:
        """Begin it without waiting, unless it has begun. What the followers' own threads do has begun by itself."""

    def go_on_with(self, rest: Callable[[], object]) -> None:
        """Do something once it is over, where no check waits for it and the answer would be lost."""

    def wait(self, seconds: float) -> None:
        """Block until it is over, or for so long."""
        if not self._enter():
            return
        try:
            self._over.wait(seconds)
        finally:
            self._leave()

    async def wait_async(self, seconds: float) -> None:
        """Wait likewise on an event loop."""
        import asyncio  # APIs without it need not load it

        if not self._enter():
            return
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(over.set)

        # Not the loop's time-out: tests stop its clock.
        timer = threading.Timer(seconds, wake)
        timer.daemon = True
        try:
            timer.start()
            self._call_when_over(wake)
            await over.wait()
        finally:
            timer.cancel()
            self._drop(wake)
            self._leave()

    def _call_when_over(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if not self._over.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def _drop(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def _enter(self) -> bool:
        with self._lock:
            if self._over.is_set() or self._waiting >= MOST_WAITING:
                return False
            self._waiting += 1
            return True

    def _leave(self) -> None:
        with self._lock:
            self._waiting -= 1
