"""Notices that this process was suspended so long that the list may be old.

After a pause an old answer in a socket looks new. So only an attempt without a pause counts, for `max_stale` seconds.
Two clocks detect a pause: one that goes on while the machine sleeps, and the wall clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from watchword.guard.following.waiting import WAIT, Pending

LONGEST_ATTEMPT: Final = 15.0
"""Seconds. A longer attempt was interrupted by a pause."""


class Moment(NamedTuple):
    """Holds one time by both clocks."""

    elapsed: float
    wall: float


class Awake:
    """Keeps until when the process counts as awake. Threads may share it.

    :param max_stale: seconds for which an attempt counts.
    """

    def __init__(self, max_stale: float, *, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self._max_stale = max_stale
        self._now = now
        self._wall = wall
        self.found_this_process()

    def found_this_process(self) -> None:
        """Start anew in a forked child, where the lock may be taken for ever, and the list is that of the fork."""
        self._asked_at: float | None = None
        self.until = Moment(float("-inf"), float("-inf"))
        self._lock = threading.Lock()
        self._news = Pending()

    def moment(self) -> Moment:
        """Return the time."""
        return Moment(self._now(), self._wall())

    def asleep(self) -> bool:
        """Return whether the last attempt is too long ago."""
        now = self.moment()
        return now.elapsed >= self.until.elapsed or now.wall >= self.until.wall

    @property
    def asked(self) -> bool:
        """Return whether a request waits: an attempt must end at once, even without news."""
        return self._asked_at is not None

    def want(self, *, give_up: bool) -> tuple[bool, Pending | None]:
        """Return whether this request is the first to wait, and what for: a later attempt.

        :param give_up: whether to go on without news after `WAIT` seconds.
        """
        with self._lock:
            if not self.asleep():
                return False, None
            now = self._now()
            first = self._asked_at is None
            if self._asked_at is None:
                self._asked_at = now
            if not (give_up and now - self._asked_at >= WAIT):
                return first, self._news
            self._go_on()
        return False, None

    def attempt_ended(self, began: Moment) -> None:
        """Count an attempt, also a failed one, if it had no pause and began after a request waited."""
        with self._lock:
            now = self.moment()
            paused = now.elapsed - began.elapsed > LONGEST_ATTEMPT or now.wall - began.wall > LONGEST_ATTEMPT
            if not paused and (self._asked_at is None or began.elapsed >= self._asked_at):
                self._go_on()

    def _go_on(self) -> None:
        now = self.moment()
        self._asked_at = None
        self.until = Moment(now.elapsed + self._max_stale, now.wall + self._max_stale)
        done, self._news = self._news, Pending()
        done.finish()
