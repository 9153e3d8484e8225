"""Short-lived state in memory, lost at a restart.

A *class* holds `capacity` entries of one kind and lifetime (up to 1 s, 2 s, 4 s, …). A full class drops what has ended,
then its oldest entry. So floods are bounded:

* Memory stays below classes x capacity x 500 bytes. No client chooses a kind or lifetime.
* A flood of accounts cannot push out addresses, which are another class.
* Refused attempts make no counter. Pushing one out takes `capacity` *counted* attempts in its window: 50,000 failed
  log-ins, each with a password hash, from 500 addresses (their limit is 100).
* A dropped value fails closed. Refusing new ones would let a flood lock everyone out.
"""

from __future__ import annotations

from collections import OrderedDict  # a dict is slow to find its first entry
from collections.abc import Sequence

from watchword.storage.ephemeral import SWEEP_ROWS, Counted, Exhausted, Quota, Reservation

CAPACITY = 50_000  # in one class


class _Entry:
    __slots__ = ("amount", "expires_at", "peers", "value")

    def __init__(self, value: str, amount: int, expires_at: int, peers: OrderedDict[str, _Entry]) -> None:
        self.value = value
        self.amount = amount
        self.expires_at = expires_at
        self.peers = peers  # its class, oldest first


class MemoryEphemeral:
    """The `Ephemeral` contract in memory. Not thread-safe."""

    shared = False

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: dict[str, _Entry] = {}
        self._classes: dict[tuple[str, int], OrderedDict[str, _Entry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def put(self, name: str, value: str, lifetime: int, now: int) -> None:
        """Store a value."""
        self._add(f"value:{name}", value, 0, lifetime, now)

    async def get(self, name: str, now: int) -> str | None:
        """Return the value, if any."""
        entry = self._live(f"value:{name}", now)
        return None if entry is None else entry.value

    async def take(self, name: str, now: int) -> str | None:
        """Take the value."""
        entry = self._live(f"value:{name}", now)
        if entry is None:
            return None
        self._drop(f"value:{name}")
        return entry.value

    async def count(self, name: str, *, by: int = 1, lifetime: int, now: int) -> Counted:
        """Count."""
        entry = self._live(f"count:{name}", now)
        if entry is None and by == 0:
            return Counted(0, now)
        if entry is None:
            entry = self._add(f"count:{name}", "", 0, lifetime, now)
        entry.amount += by
        return Counted(entry.amount, entry.expires_at)

    async def reserve(self, quotas: Sequence[Quota], now: int) -> list[Reservation] | Exhausted:
        """Count on each, or on none."""
        for place, quota in enumerate(quotas):
            entry = self._live(f"count:{quota.name}", now)
            if entry is not None and entry.amount >= quota.quota:
                return Exhausted(place, entry.expires_at)
        counted = [await self.count(quota.name, lifetime=quota.lifetime, now=now) for quota in quotas]
        return [Reservation(quota.name, count.expires_at) for quota, count in zip(quotas, counted, strict=True)]

    async def give_back(self, held: Sequence[Reservation], now: int) -> None:
        """Undo reservations."""
        for name, until in held:
            entry = self._live(f"count:{name}", now)
            if entry is None or entry.expires_at != until:
                continue
            entry.amount -= 1
            if entry.amount <= 0:
                self._drop(f"count:{name}")

    async def sweep(self, now: int) -> int:
        """Delete ended entries."""
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
    what, _, name = key.partition(":")
    kind, colon, _ = name.partition(":")
    # A lifetime may be negative.
    return what + colon + (kind if colon else ""), (max(lifetime, 1) - 1).bit_length()
