"""Short-lived state in this process's memory: for tests and for a single process. A restart forgets it.

**Bounded, and what a flood of names can do.** Entries are kept in *classes* by the kind of their name
and by lifetime (up to 1 s, 2 s, 4 s, …), each with room for `capacity` entries in the order in which they came, which
is nearly the order in which they end. A full class drops what has ended and then its oldest entry. Hence:

* Memory stays below classes in use x capacity x about 500 bytes. Kinds come from the program and lifetimes from the
  settings, a handful of each; no client chooses one.
* A flood of names of one kind, or with one lifetime, cannot push out another kind or counters with a shorter life: the
  counters of addresses are out of reach of a flood of accounts.
* A counter exists while something is counted on it, not for having been asked: an attempt that is refused makes none,
  and one that is given back leaves none. So what pushes out a victim's counter is `capacity` attempts *that stay
  counted*, made within one window after it. For log-ins that is 50,000 failed ones, each paid for with a password hash,
  from 500 addresses at the least (their limit is 100), in fifteen minutes; it makes one victim's limit start afresh,
  and the next time costs as much again. From one address it cannot be done.
* A value that is pushed out is gone, and its holder begins again: that fails closed. Refusing new entries instead would
  let a flood lock everyone out.
* Who needs more than that uses the SQL or Redis store.
"""

from __future__ import annotations

from collections import OrderedDict  # its first entry is found at once; a dict that lost its first ones searches
from collections.abc import Sequence

from watchword.storage.ephemeral import SWEEP_ROWS, Counted, Exhausted, Quota, Reservation

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
        self._classes: dict[tuple[str, int], OrderedDict[str, _Entry]] = {}

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
        entry = self._live(f"count:{name}", now)
        if entry is None and by == 0:
            return Counted(0, now)
        if entry is None:
            entry = self._add(f"count:{name}", "", 0, lifetime, now)
        entry.amount += by
        return Counted(entry.amount, entry.expires_at)

    async def reserve(self, quotas: Sequence[Quota], now: int) -> list[Reservation] | Exhausted:
        """Count one on each, or on none. Nothing else runs in between."""
        for place, quota in enumerate(quotas):
            entry = self._live(f"count:{quota.name}", now)
            if entry is not None and entry.amount >= quota.quota:
                return Exhausted(place, entry.expires_at)
        counted = [await self.count(quota.name, lifetime=quota.lifetime, now=now) for quota in quotas]
        return [Reservation(quota.name, count.expires_at) for quota, count in zip(quotas, counted, strict=True)]

    async def give_back(self, held: Sequence[Reservation], now: int) -> None:
        """Uncount; what falls to 0 is forgotten."""
        for name, until in held:
            entry = self._live(f"count:{name}", now)
            if entry is None or entry.expires_at != until:
                continue
            entry.amount -= 1
            if entry.amount <= 0:
                self._drop(f"count:{name}")

    async def sweep(self, now: int) -> int:
        """Forget at most `SWEEP_ROWS` entries that are gone anyway."""
        before = len(self._entries)
        for peers in self._classes.values():
            room = SWEEP_ROWS - (before - len(self._entries))
            self._forget_ended(peers, now, most=room)
        return before - len(self._entries)

    def _live(self, key: str, now: int) -> _Entry | None:
        entry = self._entries.get(key)
        return entry if entry is not None and entry.expires_at > now else None

    def _add(self, key: str, value: str, amount: int, lifetime: int, now: int) -> _Entry:
        self._drop(key)
        peers = self._classes.setdefault(_class(key, lifetime), OrderedDict())
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


def _class(key: str, lifetime: int) -> tuple[str, int]:
    """Counters or values, the kind of the name, and the power of two that the lifetime fits into."""
    what, _, name = key.partition(":")
    kind, colon, _ = name.partition(":")
    # max(): a lifetime that is over before it begins has a class, too.
    return what + colon + (kind if colon else ""), (max(lifetime, 1) - 1).bit_length()
