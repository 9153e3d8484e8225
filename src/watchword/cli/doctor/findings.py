"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple


class Outcome(Enum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - the word for it
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Seen(NamedTuple):
    """What one look showed.

    :param text: what was seen; for a skip, why nothing was.
    :param fix: a better fix than the check's own.
    """

    outcome: Outcome
    text: str
    fix: str = ""


class Check(NamedTuple):
    """One row of the table.

    :param name: in the report and in `--json`; it never changes.
    :param why: what an attacker or an accident does with the fault.
    :param fix: the setting or the page that mends it.
    :param look: takes the `Visit` (outside), or the `Inside` and is awaited.
    """

    name: str
    why: str
    fix: str
    look: Callable[[Any], Any]


class Finding(NamedTuple):
    """A check and what it saw."""

    name: str
    outcome: Outcome
    seen: str
    why: str
    fix: str

    @classmethod
    def of(cls, check: Check, seen: Seen) -> Finding:
        """Put the two together."""
        return cls(check.name, seen.outcome, seen.text, check.why, seen.fix or check.fix)


class Unseen(Exception):
    """A check could not look: its message says why."""


def passed(text: str) -> Seen:
    """Return that all is well."""
    return Seen(Outcome.PASS, text)


def warned(text: str, fix: str = "") -> Seen:
    """Return what is no hole, but should be looked at."""
    return Seen(Outcome.WARN, text, fix)


def failed(text: str, fix: str = "") -> Seen:
    """Return a hole, or what will stop the service."""
    return Seen(Outcome.FAIL, text, fix)


def skipped(text: str, fix: str = "") -> Seen:
    """Return why nothing was looked at."""
    return Seen(Outcome.SKIP, text, fix)
