"""Short-lived state with a Valkey: it counts, the database keeps values, and counts while Valkey is away.

Values stay in the database because they may be taken once. A Valkey that restarts from an older state, or fails over
to a replica that is behind, brings back what was taken; one command that is not answered in time may have had its
effect or not. So no value is ever in two places.

Counters are worth less: what was counted in one store is not known in the other, so a limit may be used up once in
each.
"""

from __future__ import annotations

from collections.abc import Sequence

from watchword.errors import StorageUnavailable
from watchword.storage.ephemeral import Counted, Ephemeral, Exhausted, Quota, Reservation
from watchword.storage.ephemeral_redis import RedisCounters
from watchword.storage.valkey import Away


class _InDatabase(Reservation):
    """A place that was taken in the database while Valkey was away: it is given back there."""

    __slots__ = ()


class FallbackEphemeral:
    """The `Ephemeral` contract.

    :param database: has the values, and counts while Valkey is away.
    """

    shared = True

    def __init__(self, counters: RedisCounters, database: Ephemeral) -> None:
        self._counters = counters
        self._database = database

    async def put(self, name: str, value: str, lifetime: int, now: int) -> None:
        """Store a value."""
        await self._database.put(name, value, lifetime, now)

    async def get(self, name: str, now: int) -> str | None:
        """Return the value, if any."""
        return await self._database.get(name, now)

    async def take(self, name: str, now: int) -> str | None:
        """Take the value."""
        return await self._database.take(name, now)

    async def count(self, name: str, *, by: int = 1, lifetime: int, now: int) -> Counted:
        """Count."""
        try:
            return await self._counters.count(name, by=by, lifetime=lifetime, now=now)
        except Away:
            return await self._database.count(name, by=by, lifetime=lifetime, now=now)

    async def reserve(self, quotas: Sequence[Quota], now: int) -> list[Reservation] | Exhausted:
        """Count on each, or on none, of one store."""
        try:
            return await self._counters.reserve(quotas, now)
        except Away:
            outcome = await self._database.reserve(quotas, now)
        return outcome if isinstance(outcome, Exhausted) else [_InDatabase(*one) for one in outcome]

    async def give_back(self, held: Sequence[Reservation], now: int) -> None:
        """Undo reservations where they were made.

        :raises StorageUnavailable: Valkey is away and was not asked: they can be given back later. When it was asked
            and did not answer they stay counted, since giving back twice would undo another attempt's count.
        """
        try:
            await self._counters.give_back([one for one in held if not isinstance(one, _InDatabase)], now)
        except Away as away:
            if not away.asked:
                raise StorageUnavailable("Valkey is away") from away
        await self._database.give_back([one for one in held if isinstance(one, _InDatabase)], now)

    async def sweep(self, now: int) -> int:
        """Delete ended rows; Valkey forgets by itself."""
        return await self._database.sweep(now)
