"""Short-lived state: counters for limits, and values that may be used once.

Times are whole seconds; an entry is gone at `expires_at`, swept or not. A name is `kind:rest` or has no kind; the
caller hashes the rest, so the store reveals no user. Values and counters have separate names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

SWEEP_ROWS = 500  # in one sweep


class Counted(NamedTuple):
    """A counter's amount and its window's end."""

    amount: int
    expires_at: int


class Quota(NamedTuple):
    """A counter, its window's seconds, its limit."""

    name: str
    lifetime: int
    quota: int


class Reservation(NamedTuple):
    """What was taken of a counter, and the window that it was taken in."""

    name: str
    expires_at: int


class Exhausted(NamedTuple):
    """The place of the first full counter, and its window's end."""

    place: int
    expires_at: int


class Ephemeral(Protocol):
    """A store. A method that raises `StorageUnavailable` has had no effect."""

    shared: bool
    """Whether other processes use the same entries, so that one of them sweeps for all."""

    async def put(self, name: str, value: str, lifetime: int, now: int) -> None:
        """Store a value for `lifetime` seconds."""
        ...

    async def get(self, name: str, now: int) -> str | None:
        """Return the value, if any."""
        ...

    async def take(self, name: str, now: int) -> str | None:
        """Return and delete the value, for one caller."""
        ...

    async def count(self, name: str, *, by: int = 1, lifetime: int, now: int) -> Counted:
        """Add to a counter; return its state.

        The first count opens a window of `lifetime` seconds. `by=0` writes nothing.
        """
        ...

    async def reserve(self, quotas: Sequence[Quota], now: int) -> list[Reservation] | Exhausted:
        """Count one on each, or on none if one is full.

        However many reserve at once, no counter passes its quota. A refusal writes nothing.
        """
        ...

    async def give_back(self, held: Sequence[Reservation], now: int) -> None:
        """Undo reservations together. A counter at 0 is deleted; later windows are not changed."""
        ...

    async def sweep(self, now: int) -> int:
        """Delete up to `SWEEP_ROWS` ended entries; return how many."""
        ...


async def is_first(store: Ephemeral, name: str, *, lifetime: int, now: int) -> bool:
    """Return whether this is the first call in `lifetime` seconds."""
    if (await store.count(name, by=0, lifetime=lifetime, now=now)).amount:
        return False
    return (await store.count(name, lifetime=lifetime, now=now)).amount == 1
