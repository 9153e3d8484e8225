"""The life of signing keys, as a pure function.

    next ──→ active ──→ retired ──→ removed      by schedule
      └─────────┴──────────┴──────→ revoked      in an emergency, by hand, at once

* **next** is published. One always exists, so that verifiers know it before it signs, even in an emergency.
* **active** signs. One per algorithm.
* **retired** is published until its tokens have expired.
* **removed** is only a row.

What is due follows from what is stored, even if a process is killed or overtaken between steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400

KEY_SET_MAX_AGE: Final = 5 * MINUTE
"""Seconds for which a published key set may be cached."""

PUBLISHED_BEFORE_USE: Final = max(DAY, 2 * KEY_SET_MAX_AGE) + KEY_SET_MAX_AGE
"""Least seconds as `next` (B9): a day for verifiers that ignore `Cache-Control`, and a max-age for a cache in front."""

LONGEST_TOKEN: Final = DAY
"""Seconds: no setting lets an access token live longer."""

PUBLISHED_AFTER_USE: Final = LONGEST_TOKEN + 2 * MINUTE + KEY_SET_MAX_AGE
"""Seconds that a retired key stays published: the longest possible token life, since settings differ between processes
and days; two minutes for clocks that differ; a max-age for a process that still signs with it.
"""

BESIDE_EACH_OTHER: Final = HOUR
"""Seconds for which two algorithms' keys stay active side by side, while a changed setting reaches every process."""

Status = Literal["next", "active", "retired", "removed", "revoked"]
PUBLISHED: Final[tuple[Status, ...]] = ("next", "active", "retired")


class KeyState(NamedTuple):
    """A key's life. Times are seconds since 1970 UTC."""

    kid: str
    algorithm: str
    status: Status
    created_at: int
    activated_at: int | None = None
    retired_at: int | None = None


class Schedule(NamedTuple):
    """What the settings ask for.

    :param algorithm: None for a shared secret.
    :param every: seconds until the active key is replaced; None: only by hand.
    """

    algorithm: str | None
    every: int | None


class Make(NamedTuple):
    """Make a key: `active` where none could sign."""

    algorithm: str
    status: Literal["next", "active"]


class Promote(NamedTuple):
    """Let the next key sign; retire the active one."""

    kid: str
    retiring: str | None


class Retire(NamedTuple):
    """Stop an active key without a successor."""

    kid: str


class Remove(NamedTuple):
    """Unpublish a key."""

    kid: str
    status: Literal["next", "retired"]


Change = Make | Promote | Retire | Remove


def due(keys: Iterable[KeyState], now: int, schedule: Schedule) -> tuple[Change, ...]:
    """Return what to do now, in order.

    :param keys: every published key.
    :param now: seconds since 1970 UTC.
    """
    listed = sorted(keys, key=lambda key: (key.created_at, key.kid))
    ours = [key for key in listed if key.algorithm == schedule.algorithm]
    others = [key for key in listed if key.algorithm != schedule.algorithm]
    return (*_succession(ours, now, schedule), *_farewell(ours, others, now, schedule), *_removals(listed, now))


def published_long_enough(key: KeyState, now: int) -> bool:
    """Return whether every verifier has had time to learn of a key."""
    return now - key.created_at >= PUBLISHED_BEFORE_USE


def signing_pair(keys: list[KeyState], algorithm: str) -> tuple[KeyState, KeyState | None] | None:
    """Return the active key and the next one; None without an active one.

    During a change of algorithm two are active: that of the settings counts, else the newer one.
    """
    signing = [key for key in keys if key.status == "active"]
    if not signing:
        return None
    active = max(signing, key=lambda key: (key.algorithm == algorithm, key.activated_at or 0))
    return active, _first([key for key in keys if key.algorithm == active.algorithm], "next")


def published_until(key: KeyState) -> int | None:
    """Return when a retired key leaves the published set, or None."""
    return None if key.retired_at is None else key.retired_at + PUBLISHED_AFTER_USE


def _succession(ours: list[KeyState], now: int, schedule: Schedule) -> tuple[Change, ...]:
    """Keep one key signing and the next known."""
    if schedule.algorithm is None:
        return ()
    active = _first(ours, "active")
    upcoming = _first(ours, "next")
    another = Make(schedule.algorithm, "next")
    if active is None:
        # First start, or the active key was revoked by hand. A known key is better.
        first = Make(schedule.algorithm, "active") if upcoming is None else Promote(upcoming.kid, None)
        return first, another
    if upcoming is None:
        return (another,)
    if schedule.every is None or not _has_signed_for(active, schedule.every, now):
        return ()
    return (Promote(upcoming.kid, active.kid), another) if published_long_enough(upcoming, now) else ()


def _farewell(
    ours: list[KeyState], others: list[KeyState], now: int, schedule: Schedule
) -> tuple[Retire | Remove, ...]:
    """Retire other algorithms' keys, once a changed setting has reached every process."""
    active = _first(ours, "active")
    if schedule.algorithm is not None and (active is None or not _has_signed_for(active, BESIDE_EACH_OTHER, now)):
        return ()
    steps: list[Retire | Remove] = []
    for key in others:
        if key.status == "active" and _has_signed_for(key, BESIDE_EACH_OTHER, now):
            steps.append(Retire(key.kid))
        elif key.status == "next" and now - key.created_at >= BESIDE_EACH_OTHER:
            steps.append(Remove(key.kid, "next"))
    return tuple(steps)


def _removals(keys: list[KeyState], now: int) -> tuple[Remove, ...]:
    return tuple(
        Remove(key.kid, "retired")
        for key in keys
        if key.status == "retired" and key.retired_at is not None and now - key.retired_at >= PUBLISHED_AFTER_USE
    )


def _has_signed_for(key: KeyState, seconds: int, now: int) -> bool:
    return key.activated_at is not None and now - key.activated_at >= seconds


def _first(keys: list[KeyState], status: Status) -> KeyState | None:
    return next((key for key in keys if key.status == status), None)
