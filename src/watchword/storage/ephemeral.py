"""The contract of short-lived state: counters for limits, and values that may be used once.

`now` and every `expires_at` are whole seconds; at `expires_at` an entry is gone, whether or not a sweep has run.
A name is `kind:rest`, or has no kind. Kinds are few and come from the program; the rest is what the caller made of the
thing that it stands for: hashed, so that it has a fixed size and nothing of a user can be read from the store. Values
and counters have separate names: `put("x", …)` and `count("x", …)` never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

SWEEP_ROWS = 500  # most entries that one sweep deletes


class Counted(NamedTuple):
    """What a counter says after counting: the amount, and when its window ends."""

    amount: int
    expires_at: int


class Quota(NamedTuple):
    """One of a quota: the counter, the length of its window in seconds, how many fit into it."""

    name: str
    lifetime: int
    quota: int


class Reservation(NamedTuple):
    """A claim that was granted: which counter, and in which of its windows."""

    name: str
    expires_at: int


class Exhausted(NamedTuple):
    """A claim that could not be granted: its place among those asked for, and when its window ends."""

    place: int
    expires_at: int


class Ephemeral(Protocol):
    """A store of short-lived state. Every method may raise `StorageUnavailable`, and then has had no effect."""

    async def put(self, name: str, value: str, lifetime: int, now: int) -> None:
        """Keep a value for `lifetime` seconds, in place of the one that may be there."""
        ...

    async def get(self, name: str, now: int) -> str | None:
        """The value, or None if there never was one or it is gone."""
        ...

    async def take(self, name: str, now: int) -> str | None:
        """The value, which is gone with this: of several who take at once, one gets it."""
        ...

    async def count(self, name: str, *, by: int = 1, lifetime: int, now: int) -> Counted:
        """Count, and say what it makes.

        The first count opens a window of `lifetime` seconds; later ones do not extend it; after it a new one opens.
        0 only looks, and writes nothing: without a window the answer is `Counted(0, now)`.
        """
        ...

    async def reserve(self, quotas: Sequence[Quota], now: int) -> list[Reservation] | Exhausted:
        """Count one on each, or on none if any counter stands at its quota: the first of those is the answer then.

        However many claim at once, no counter passes its quota. What is refused writes nothing and makes no entry.
        """
        ...

    async def give_back(self, held: Sequence[Reservation], now: int) -> None:
        """Uncount quotas that were granted, in one go. A counter that falls to 0 is gone.

        What belongs to a window that is over changes nothing in the next one.
        """
        ...

    async def sweep(self, now: int) -> int:
        """Delete at most `SWEEP_ROWS` entries that are gone anyway; how many it were. Fewer means that none is left."""
        ...


async def is_first(store: Ephemeral, name: str, *, lifetime: int, now: int) -> bool:
    """Whether this was not asked within `lifetime` seconds. Of several at once it is so for one; others only look."""
    if (await store.count(name, by=0, lifetime=lifetime, now=now)).amount:
        return False
    return (await store.count(name, lifetime=lifetime, now=now)).amount == 1
