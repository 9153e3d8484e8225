"""The time. Nothing else in the package reads it.

Times are whole seconds since 1970 UTC (NumericDate, RFC 7519 section 2). What needs a `Clock` is given one;
tests pass a `FixedClock`, which stands still until it is told to move.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
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


def rfc3339(seconds: int) -> str:
    """A time as RFC 3339 UTC text: `2026-11-20T06:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
