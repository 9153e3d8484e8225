"""Short-lived state in `ww_ephemeral`, shared by all processes."""

from __future__ import annotations

from collections.abc import Sequence

from watchword.storage.database import Database, Row, Tx
from watchword.storage.ephemeral import SWEEP_ROWS, Counted, Exhausted, Quota, Reservation

_PUT = """
    INSERT INTO ww_ephemeral (name, value, amount, expires_at) VALUES (:name, :value, 0, :until)
    ON CONFLICT (name) DO UPDATE SET value = :value, expires_at = :until"""
_GET = "SELECT value FROM ww_ephemeral WHERE name = :name AND expires_at > :now"
_TAKE = "DELETE FROM ww_ephemeral WHERE name = :name AND expires_at > :now RETURNING value"
# An ended window is overwritten, so no result depends on sweeps.
_COUNT = """
    INSERT INTO ww_ephemeral (name, value, amount, expires_at)
    VALUES (:name, '', CAST(:by AS BIGINT), CAST(:until AS BIGINT))
    ON CONFLICT (name) DO UPDATE SET
        amount = CASE WHEN ww_ephemeral.expires_at > :now THEN ww_ephemeral.amount ELSE 0 END + CAST(:by AS BIGINT),
        expires_at = CASE WHEN ww_ephemeral.expires_at > :now THEN ww_ephemeral.expires_at
            ELSE CAST(:until AS BIGINT) END
    RETURNING amount, expires_at"""
_LOOK = "SELECT name, amount, expires_at FROM ww_ephemeral WHERE expires_at > :now AND name IN ({})"
_GIVE_BACK = "UPDATE ww_ephemeral SET amount = amount - 1 WHERE name = :name AND expires_at = :until"
# The UPDATE has locked the row: no one counts in between.
_FORGET = "DELETE FROM ww_ephemeral WHERE name = :name AND expires_at = :until AND amount <= 0"
# Found first and deleted by their names: for a DELETE … IN (SELECT … LIMIT) PostgreSQL walks through the whole table.
# The time is compared twice: a row counted on again in between must stay (E-12).
_FIND_ENDED = "SELECT name FROM ww_ephemeral WHERE expires_at <= :now ORDER BY expires_at LIMIT :most"
_FORGET_ENDED = "DELETE FROM ww_ephemeral WHERE name = :name AND expires_at <= :now"


class SQLEphemeral:
    """The `Ephemeral` contract on a migrated database."""

    shared = True

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, name: str, value: str, lifetime: int, now: int) -> None:
        """Store a value."""
        await self._database.run(_PUT, name=_value(name), value=value, until=now + lifetime)

    async def get(self, name: str, now: int) -> str | None:
        """Return the value, if any."""
        return _text(await self._database.one(_GET, name=_value(name), now=now))

    async def take(self, name: str, now: int) -> str | None:
        """Take the value."""

        async def unit(tx: Tx) -> str | None:
            return _text(await tx.one(_TAKE, name=_value(name), now=now))

        return await self._database.transact(unit)

    async def count(self, name: str, *, by: int = 1, lifetime: int, now: int) -> Counted:
        """Count."""
        if by == 0:
            return (await self._look([name], now)).get(name, Counted(0, now))

        async def unit(tx: Tx) -> Counted:
            return await _count(tx, name, by, lifetime, now)

        return await self._database.transact(unit)

    async def reserve(self, quotas: Sequence[Quota], now: int) -> list[Reservation] | Exhausted:
        """Count on each, or on none."""
        stands = await self._look([quota.name for quota in quotas], now)
        for place, quota in enumerate(quotas):
            if quota.name in stands and stands[quota.name].amount >= quota.quota:
                return Exhausted(place, stands[quota.name].expires_at)

        async def unit(tx: Tx) -> list[Reservation]:
            held: dict[int, Reservation] = {}
            # Everyone locks rows in this order, against deadlocks.
            for place, quota in sorted(enumerate(quotas), key=lambda one: one[1].name):
                counted = await _count(tx, quota.name, 1, quota.lifetime, now)
                if counted.amount > quota.quota:
                    raise _Passed(Exhausted(place, counted.expires_at))
                held[place] = Reservation(quota.name, counted.expires_at)
            return [held[place] for place in range(len(quotas))]

        try:
            return await self._database.transact(unit) if quotas else []
        except _Passed as passed:
            return passed.full

    async def give_back(self, held: Sequence[Reservation], now: int) -> None:
        """Undo reservations whose windows have not ended."""
        live = sorted(one for one in held if one.expires_at > now)

        async def unit(tx: Tx) -> None:
            for name, until in live:
                await tx.run(_GIVE_BACK, name=_counter(name), until=until)
                await tx.run(_FORGET, name=_counter(name), until=until)

        if live:
            await self._database.transact(unit)

    async def _look(self, names: Sequence[str], now: int) -> dict[str, Counted]:
        keys = {f"name{place}": _counter(name) for place, name in enumerate(names)}
        if not keys:
            return {}
        sql = _LOOK.format(", ".join(f":{key}" for key in keys))
        rows = await self._database.all(sql, now=now, **keys)
        return {str(row[0]).removeprefix(_COUNTER): Counted(int(str(row[1])), int(str(row[2]))) for row in rows}

    async def sweep(self, now: int) -> int:
        """Delete ended rows."""
        ended = await self._database.scan(_FIND_ENDED, now=now, most=SWEEP_ROWS)

        async def unit(tx: Tx) -> int:
            return sum([await tx.run(_FORGET_ENDED, name=row["name"], now=now) for row in ended])

        return await self._database.transact(unit, upkeep=True) if ended else 0


class _Passed(Exception):
    """Another request took the last place: rolls the unit back."""

    def __init__(self, full: Exhausted) -> None:
        super().__init__()
        self.full = full


async def put_in(tx: Tx, name: str, value: str, *, until: int) -> None:
    """Store a value in a unit of the caller's."""
    await tx.run(_PUT, name=_value(name), value=value, until=until)


async def _count(tx: Tx, name: str, by: int, lifetime: int, now: int) -> Counted:
    row = await tx.one(_COUNT, name=_counter(name), by=by, now=now, until=now + lifetime)
    assert row is not None, "an INSERT … ON CONFLICT DO UPDATE … RETURNING has a row"
    return Counted(int(str(row["amount"])), int(str(row["expires_at"])))


_COUNTER = "count:"


def _value(name: str) -> str:
    return f"value:{name}"


def _counter(name: str) -> str:
    return _COUNTER + name


def _text(row: Row | None) -> str | None:
    return None if row is None else str(row["value"])
