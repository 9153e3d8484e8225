"""When signing keys change: one pure function of which keys there are, what time it is, and the schedule.

    next ──→ active ──→ retired ──→ removed      by schedule
      └─────────┴──────────┴──────→ revoked      in an emergency, by hand, at once

* **next** is published and not used yet. There is always one: it is made as soon as there is an active key, so that
  a verifier that keeps the key set for a day knows it long before it signs, also when an emergency makes it sign today.
* **active** signs. One per algorithm.
* **retired** signs no more and is published until every token that it signed has expired.
* **removed** is a row that remembers, nothing else.

Nothing here does anything. A process that does what is due may be killed between two steps, or be overtaken by another
process that read the same rows: what is due next follows from what is there then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400

KEY_SET_MAX_AGE: Final = 5 * MINUTE
"""Seconds for which a published key set may be kept: its `Cache-Control`."""

PUBLISHED_BEFORE_USE: Final = max(DAY, 2 * KEY_SET_MAX_AGE) + KEY_SET_MAX_AGE
"""Seconds that a key is `next` at least (B9): a day for verifiers that keep the set as long as that, whatever its
`Cache-Control` says, and a max-age for the cache in front of us from which they may have had it."""

LONGEST_TOKEN: Final = DAY
"""Seconds: no setting lets an access token live longer."""

PUBLISHED_AFTER_USE: Final = LONGEST_TOKEN + 2 * MINUTE + KEY_SET_MAX_AGE
"""Seconds that a retired key stays published. The longest life that a token can have, and not the one that is set
now: another process may have another setting, and this one had another one yesterday. Two minutes for clocks that
differ; a max-age for a process that signs with the old key for a moment longer, because it has not heard yet."""

BESIDE_EACH_OTHER: Final = HOUR
"""Seconds for which the keys of two algorithms stay active side by side: while a changed setting reaches one process
after the other, each needs its own, and none must retire that of another."""

Status = Literal["next", "active", "retired", "removed", "revoked"]
PUBLISHED: Final[tuple[Status, ...]] = ("next", "active", "retired")


class KeyState(NamedTuple):
    """What a key's row says of its life. Times are seconds since 1970 UTC; None: not yet."""

    kid: str
    algorithm: str
    status: Status
    created_at: int
    activated_at: int | None = None
    retired_at: int | None = None


class Schedule(NamedTuple):
    """What the settings ask for.

    :param algorithm: which the service signs with; None when it signs with a shared secret, which is no key of ours.
    :param every: seconds after which the active key is replaced; None: only by hand.
    """

    algorithm: str | None
    every: int | None


class Make(NamedTuple):
    """Make a key: `next`, or `active` at once where there is none that could sign."""

    algorithm: str
    status: Literal["next", "active"]


class Promote(NamedTuple):
    """Let the next key sign, and retire the one that does, together."""

    kid: str
    retiring: str | None


class Retire(NamedTuple):
    """Let an active key sign no more, without another in its place."""

    kid: str


class Remove(NamedTuple):
    """Take a key out of the published set."""

    kid: str
    status: Literal["next", "retired"]


Change = Make | Promote | Retire | Remove


def due(keys: Iterable[KeyState], now: int, schedule: Schedule) -> tuple[Change, ...]:
    """What is to be done now, in this order. Nothing, most of the time.

    :param keys: every key that is published; others do not matter.
    :param now: seconds since 1970 UTC.
    """
    listed = sorted(keys, key=lambda key: (key.created_at, key.kid))
    ours = [key for key in listed if key.algorithm == schedule.algorithm]
    others = [key for key in listed if key.algorithm != schedule.algorithm]
    return (*_succession(ours, now, schedule), *_farewell(ours, others, now, schedule), *_removals(listed, now))


def published_long_enough(key: KeyState, now: int) -> bool:
    """Whether everyone who verifies has had the time to learn of a key before it signs."""
    return now - key.created_at >= PUBLISHED_BEFORE_USE


def published_until(key: KeyState) -> int | None:
    """When a retired key leaves, or left, the published set; None where no time has been set."""
    return None if key.retired_at is None else key.retired_at + PUBLISHED_AFTER_USE


def _succession(ours: list[KeyState], now: int, schedule: Schedule) -> tuple[Change, ...]:
    """One key signs and the next is known, always."""
    if schedule.algorithm is None:
        return ()
    active = _first(ours, "active")
    upcoming = _first(ours, "next")
    another = Make(schedule.algorithm, "next")
    if active is None:
        # First start, or the active key was revoked by hand in the database. One that is known already is better.
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
    """The algorithm was changed: what belongs to others goes, once a change of the setting has reached everyone."""
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
