"""Lets one request ask for all others, in its own thread.

On an event loop a thread asks, which ends with its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from watchword.guard.following.waiting import Pending

ASK_WITHIN: Final = 5.0
"""Seconds that a request takes at most to ask, and others wait for it: metadata, keys and the list."""


class Flight(Pending):
    """Asks once: the first to wait does it, the others wait for it."""

    def __init__(self, ask: Callable[[], None]) -> None:
        super().__init__()
        self._ask = ask
        self._taken = threading.Lock()

    def wait(self, _: float) -> None:
        """Ask, or block until that is over."""
        if self._taken.acquire(blocking=False):
            self._fly()
        else:
            super().wait(ASK_WITHIN)

    async def wait_async(self, _: float) -> None:
        """Ask in a thread, or wait likewise, without blocking the event loop."""
        self.begin()
        await super().wait_async(ASK_WITHIN)

    @property
    def begun(self) -> bool:
        """Return whether the service is being asked, or was."""
        return self._taken.locked()

    def begin(self) -> None:
        """Ask in a thread, unless that has begun."""
        if self._taken.acquire(blocking=False):
            asking = threading.Thread(target=self._fly, name="watchword-guard-asks", daemon=True)
            try:
                asking.start()
            except RuntimeError:  # no threads: an event loop cannot ask
                self.finish()
                raise

    def go_on_with(self, rest: Callable[[], object]) -> None:
        """Do something in the thread that asked, once it is over. Counts among the waiting checks."""

        def finish() -> None:
            self._leave()
            rest()

        if self._enter():
            self._call_when_over(finish)

    def _fly(self) -> None:
        try:
            self._ask()
        finally:
            self.finish()
