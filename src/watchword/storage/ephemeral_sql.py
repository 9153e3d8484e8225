"""Short-lived state in the table `ww_ephemeral`: survives a restart and is shared by every process on the database."""

from __future__ import annotations

from collections.abc import Sequence

from watchword.storage.database import Database, Row, Tx, Value
from watchword.storage.ephemeral import SWEEP_ROWS, Counted

_PUT = """
    INSERT INTO ww_ephemeral (name, value, amount, expires_at) VALUES (:name, :value, 0, :until)
    ON CONFLICT (name) DO UPDATE SET value = :value, expires_at = :until"""
_GET = "SELECT value FROM ww_ephemeral WHERE name = :name AND expires_at > :now"
_TAKE = "DELETE FROM ww_ephemeral WHERE name = :name AND expires_at > :now RETURNING value"
# An expired window is overwritten where it stands, so a sweep that has not run yet changes nothing.
_COUNT = """
    INSERT INTO ww_ephemeral (name, value, amount, expires_at)
    VALUES (:name, '', CAST(:by AS BIGINT), CAST(:until AS BIGINT))
    ON CONFLICT (name) DO UPDATE SET
        amount = CASE WHEN ww_ephemeral.expires_at > :now THEN ww_ephemeral.amount ELSE 0 END + CAST(:by AS BIGINT),
        expires_at = CASE WHEN ww_ephemeral.expires_at > :now THEN ww_ephemeral.expires_at
            ELSE CAST(:until AS BIGINT) END
    RETURNING amount, expires_at"""
_GIVE_BACK = """
    UPDATE ww_ephemeral SET
        amount = CASE WHEN amount + CAST(:by AS BIGINT) > 0 THEN amount + CAST(:by AS BIGINT) ELSE 0 END
    WHERE name = :name AND expires_at > :now RETURNING amount, expires_at"""
# The time is asked twice: a row that was counted on again between the two looks is alive, and must stay (E-12).
_SWEEP = """
    DELETE FROM ww_ephemeral WHERE expires_at <= :now AND name IN (
        SELECT name FROM ww_ephemeral WHERE expires_at <= :now ORDER BY expires_at LIMIT :most)"""


class SQLEphemeral:
    """The `Ephemeral` contract on a database that has been migrated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, name: str, value: str, lifetime: int, now: int) -> None:
        """Keep a value for `lifetime` seconds."""
        await self._database.run(_PUT, name=_value(name), value=value, until=now + lifetime)

    async def get(self, name: str, now: int) -> str | None:
        """The value, or None."""
        return _text(await self._database.one(_GET, name=_value(name), now=now))

    async def take(self, name: str, now: int) -> str | None:
        """The value, for one taker."""

        async def unit(tx: Tx) -> str | None:
            return _text(await tx.one(_TAKE, name=_value(name), now=now))

        return await self._database.transact(unit)

    async def count(self, name: str, *, by: int = 1, lifetime: int, now: int) -> Counted:
        """Count, and say what it makes."""

        async def unit(tx: Tx) -> Counted:
            return await _count(tx, name, by, lifetime, now)

        return await self._database.transact(unit)

    async def count_all(self, names: Sequence[tuple[str, int]], now: int) -> list[Counted]:
        """Count one on each, all or none."""

        async def unit(tx: Tx) -> list[Counted]:
            answers: dict[int, Counted] = {}
            # In one order for everybody, so that two who count on the same rows never wait for each other in a circle.
            for place in sorted(range(len(names)), key=lambda place: names[place][0]):
                name, lifetime = names[place]
                answers[place] = await _count(tx, name, 1, lifetime, now)
            return [answers[place] for place in range(len(names))]

        return await self._database.transact(unit)

    async def sweep(self, now: int) -> int:
        """Delete at most `SWEEP_ROWS` rows that are gone anyway."""
        return await self._database.run(_SWEEP, now=now, most=SWEEP_ROWS)


async def _count(tx: Tx, name: str, by: int, lifetime: int, now: int) -> Counted:
    values: dict[str, Value] = {"name": _counter(name), "by": by, "now": now}
    if by > 0:
        row = await tx.one(_COUNT, **values, until=now + lifetime)
    else:
        row = await tx.one(_GIVE_BACK, **values)
    if row is None:
        return Counted(0, now)
    return Counted(int(str(row["amount"])), int(str(row["expires_at"])))


def _value(name: str) -> str:
    return f"value:{name}"


def _counter(name: str) -> str:
    return f"count:{name}"


def _text(row: Row | None) -> str | None:
    return None if row is None else str(row["value"])
