"""The time. Nobody else in the package reads it.

Times are whole seconds since 1970 UTC (NumericDate, RFC 7519 section 2). A `Clock` is passed to whoever needs one;
tests pass a `FixedClock`, which stands still until it is told to move.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> int:
        """Whole seconds since 1970 UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Whole seconds since 1970 UTC."""
        return int(time.time())


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
