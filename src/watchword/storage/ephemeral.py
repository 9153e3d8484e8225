"""The contract of short-lived state: counters for limits, and values that may be used once.

`now` and every `expires_at` are whole seconds; at `expires_at` an entry is gone, whether or not a sweep has run.
A name is what the caller made of the thing it stands for: hashed, so that it has a fixed size and nothing of a user
can be read from the store. Values and counters have separate names: `put("x", …)` and `count("x", …)` never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SWEEP_ROWS = 500  # most entries that one sweep deletes


@dataclass(frozen=True, slots=True)
class Counted:
    """What a counter says after counting: the amount, and when its window ends."""

    amount: int
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
        A negative `by` gives back, never below 0. It opens no window, nor does 0 (which only looks): without one the
        answer is `Counted(0, now)`.
        """
        ...

    async def count_all(self, names: Sequence[tuple[str, int]], now: int) -> list[Counted]:
        """Count one on each of `(name, lifetime)`, all or none; the answers stand in the same order."""
        ...

    async def sweep(self, now: int) -> int:
        """Delete at most `SWEEP_ROWS` entries that are gone anyway; how many it were."""
        ...
