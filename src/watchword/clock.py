"""The time: nothing else in the package reads it.

Times are whole seconds since 1970 UTC (NumericDate, RFC 7519 section 2).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

STEP_BACK: Final = 10
"""Seconds by which a step back is not followed."""


class Clock(Protocol):
    """A source of the time."""

    def now(self) -> int:
        """Return seconds since 1970 UTC."""
        ...


class SystemClock:
    """The machine's clock, which stands still while it is set back a little.

    Time servers step back a second or two: new tokens would be "not valid yet", expired ones valid again. A larger step
    is followed.
    """

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        self.read = read
        """The clock as it is, with its fraction."""
        self._latest = 0

    def now(self) -> int:
        """Return seconds since 1970 UTC."""
        now, latest = int(self.read()), self._latest
        if now == latest or 0 < latest - now <= STEP_BACK:
            return latest
        self._latest = now
        return now


class FixedClock:
    """A clock that only `advance` moves."""

    def __init__(self, at: int = 1_800_000_000) -> None:
        self._at = at

    def now(self) -> int:
        """Return seconds since 1970 UTC."""
        return self._at

    def advance(self, seconds: int) -> None:
        """Move by seconds, also negative."""
        self._at += seconds


def monotonic() -> float:
    """Return seconds of a clock that never goes back."""
    return time.monotonic()


def elapsed() -> float:
    """Return seconds, also of sleep and of tests that stop the time."""
    return _ELAPSED[0]()


def _sleepless() -> Callable[[], float]:
    # `time.monotonic` counts sleep on Windows only.
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        number = getattr(time, name, None)
        if number is None or not hasattr(time, "clock_gettime"):
            continue
        with suppress(OSError):
            time.clock_gettime(number)
            return partial(time.clock_gettime, number)
    return time.monotonic


_ELAPSED: Final = (_sleepless(),)
# In a tuple: tests that stop the time replace modules' functions.


def rfc3339(seconds: int) -> str:
    """Return RFC 3339 UTC text: `2026-11-20T06:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def minute(seconds: int) -> str:
    """Return a time for people: `2026-11-28 09:30 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
