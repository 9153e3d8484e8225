"""Short-lived state in this process's memory: for tests and for a single process. A restart forgets it.

**Bounded, and what somebody who floods it with names can do.** Entries are kept in *classes* by lifetime (up to 1 s,
2 s, 4 s, …), each with room for `capacity` entries in the order in which they came, which is nearly the order in which
they end. A full class drops what has ended and then its oldest entry. Hence:

* Memory stays below classes in use x capacity x about 400 bytes. The product uses a handful of lifetimes, all of them
  from settings; nobody outside chooses one.
* A flood of names with a long lifetime cannot push out counters with a short one (with one common order it could:
  whatever ends soonest would be the fresh per-minute counters, for as long as the flood's entries live).
* A flood within one class makes its oldest counters start afresh, so `capacity` fresh names (each an address or account
  that has its own limit to pass) buy one more window on one victim. A value that is pushed out is gone, and its holder
  begins again: that fails closed. Refusing new entries instead would let a flood lock everybody out.
* Who needs more than that uses the SQL or Redis store.
"""

from __future__ import annotations

from collections import OrderedDict  # its first entry is found at once; a dict that lost its first ones searches
from collections.abc import Sequence

from watchword.storage.ephemeral import SWEEP_ROWS, Counted

CAPACITY = 50_000  # entries of one class


class _Entry:
    __slots__ = ("amount", "expires_at", "peers", "value")

    def __init__(self, value: str, amount: int, expires_at: int, peers: OrderedDict[str, _Entry]) -> None:
        self.value = value
        self.amount = amount
        self.expires_at = expires_at
        self.peers = peers  # the class it is kept in, oldest first


class MemoryEphemeral:
    """The `Ephemeral` contract in memory. Each call takes amortised constant time. Not for several threads."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: dict[str, _Entry] = {}
        self._classes: dict[int, OrderedDict[str, _Entry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def put(self, name: str, value: str, lifetime: int, now: int) -> None:
        """Keep a value for `lifetime` seconds."""
        self._add(f"value:{name}", value, 0, lifetime, now)

    async def get(self, name: str, now: int) -> str | None:
        """The value, or None."""
        entry = self._live(f"value:{name}", now)
        return None if entry is None else entry.value

    async def take(self, name: str, now: int) -> str | None:
        """The value, for one taker."""
        entry = self._live(f"value:{name}", now)
        if entry is None:
            return None
        self._drop(f"value:{name}")
        return entry.value

    async def count(self, name: str, *, by: int = 1, lifetime: int, now: int) -> Counted:
        """Count, and say what it makes."""
        return self._count(name, by, lifetime, now)

    async def count_all(self, names: Sequence[tuple[str, int]], now: int) -> list[Counted]:
        """Count one on each. Nothing else runs in between."""
        return [self._count(name, 1, lifetime, now) for name, lifetime in names]

    async def sweep(self, now: int) -> int:
        """Forget at most `SWEEP_ROWS` entries that are gone anyway."""
        before = len(self._entries)
        for peers in self._classes.values():
            room = SWEEP_ROWS - (before - len(self._entries))
            self._forget_ended(peers, now, most=room)
        return before - len(self._entries)

    def _count(self, name: str, by: int, lifetime: int, now: int) -> Counted:
        key = f"count:{name}"
        entry = self._live(key, now)
        if entry is None and by <= 0:
            return Counted(0, now)
        if entry is None:
            entry = self._add(key, "", 0, lifetime, now)
        entry.amount = max(entry.amount + by, 0)
        return Counted(entry.amount, entry.expires_at)

    def _live(self, key: str, now: int) -> _Entry | None:
        entry = self._entries.get(key)
        return entry if entry is not None and entry.expires_at > now else None

    def _add(self, key: str, value: str, amount: int, lifetime: int, now: int) -> _Entry:
        self._drop(key)
        # max(): a lifetime that is over before it begins has a class, too.
        peers = self._classes.setdefault((max(lifetime, 1) - 1).bit_length(), OrderedDict())
        if len(peers) >= self._capacity:
            self._forget_ended(peers, now, most=SWEEP_ROWS)
        if len(peers) >= self._capacity:
            self._drop(next(iter(peers)))
        entry = _Entry(value, amount, now + lifetime, peers)
        self._entries[key] = peers[key] = entry
        return entry

    def _forget_ended(self, peers: OrderedDict[str, _Entry], now: int, *, most: int) -> None:
        """From the oldest on, as far as they have ended."""
        ended: list[str] = []
        for key, entry in peers.items():
            if entry.expires_at > now or len(ended) >= most:
                break
            ended.append(key)
        for key in ended:
            self._drop(key)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            del entry.peers[key]
