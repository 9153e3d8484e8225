"""The time. Nothing else in the package reads it.

Times are whole seconds since 1970 UTC (NumericDate, RFC 7519 section 2). What needs a `Clock` is given one;
tests pass a `FixedClock`, which stands still until it is told to move.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

STEP_BACK: Final = 10
"""Seconds by which the machine's clock may be set back without being followed."""


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> int:
        """Whole seconds since 1970 UTC."""
        ...


class SystemClock:
    """The machine's clock, which stands still while it is set back by a little.

    Time servers set clocks back by a second or two now and then. A token issued just before would be "not valid yet",
    and one that has expired would come back to life; so within ten seconds the latest time counts. A larger step means
    that the time before was wrong, and is followed.
    """

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        self.read = read
        """The clock as it is, with its fraction: it does not stand still."""
        self._latest = 0

    def now(self) -> int:
        """Whole seconds since 1970 UTC."""
        now, latest = int(self.read()), self._latest
        if now == latest or 0 < latest - now <= STEP_BACK:
            return latest
        self._latest = now
        return now


class FixedClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, at: int = 1_800_000_000) -> None:
        self._at = at

    def now(self) -> int:
        """Whole seconds since 1970 UTC."""
        return self._at

    def advance(self, seconds: int) -> None:
        """Move on by that many seconds (back, if negative)."""
        self._at += seconds


def monotonic() -> float:
    """Seconds on a clock that never goes back: for measuring, never for a date."""
    return time.monotonic()


def elapsed() -> float:
    """Seconds on a clock that never goes back, and goes on while the machine sleeps or a test stops the time."""
    return _ELAPSED[0]()


def _sleepless() -> Callable[[], float]:
    # Linux has CLOCK_BOOTTIME; macOS's CLOCK_MONOTONIC goes on in sleep, unlike `time.monotonic`; on Windows that does.
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        number = getattr(time, name, None)
        if number is None or not hasattr(time, "clock_gettime"):
            continue
        with suppress(OSError):
            time.clock_gettime(number)
            return partial(time.clock_gettime, number)
    return time.monotonic


_ELAPSED: Final = (_sleepless(),)
# In a tuple, because tools that stop the time for tests exchange the functions that they find in modules.


def rfc3339(seconds: int) -> str:
    """A time as RFC 3339 UTC text: `2026-11-20T06:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
