"""Deletes in small batches what no longer matters, with pauses for waiting requests.

No decision depends on a sweep. A sweep continues until nothing is left: with a ceiling, the database could grow
without end. No statement visits more rows than a batch has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from watchword.storage.database import Database, Row, Tx

ROWS = 500
"""Rows of one batch."""

BATCHES = 20
"""Batches of one turn of the patrol."""

_PAUSE = 0.01
_RETENTION = 24 * 3600
"""Seconds that an ended session stays, for its owner's questions and for `refresh_token_reused` to be told apart."""

_FORGET_REVOCATIONS = """
DELETE FROM ww_revocations WHERE seq IN
    (SELECT seq FROM ww_revocations WHERE expires_at <= :now ORDER BY expires_at LIMIT :rows)
"""
# Not before its last access token has expired: the row tells how long its revocation stays.
_DEAD = "access_until + :retention <= :now AND {} + :retention <= :now"
# Each walks an index and visits no live rows.
_FIND_ENDED = """
SELECT id, ended_at AS at FROM ww_sessions WHERE ended_at IS NOT NULL AND (ended_at, id) > (:at, :after)
    AND ended_at <= CAST(:now AS BIGINT) - :retention ORDER BY ended_at, id LIMIT :rows
"""
_FIND_EXPIRED = """
SELECT id, expires_at AS at FROM ww_sessions WHERE ended_at IS NULL AND (expires_at, id) > (:at, :after)
    AND expires_at <= CAST(:now AS BIGINT) - :retention ORDER BY expires_at, id LIMIT :rows
"""
_FORGET_ENDED = f"DELETE FROM ww_sessions WHERE id = :id AND {_DEAD.format('ended_at')}"
_FORGET_EXPIRED = f"DELETE FROM ww_sessions WHERE id = :id AND {_DEAD.format('expires_at')}"
# Every refresh moves the idle end, so no index holds it: each turn visits some.
_WALK = """
SELECT id, idle_expires_at AS at FROM ww_sessions WHERE id > :after ORDER BY id LIMIT :rows
"""
_FORGET_IDLE = f"DELETE FROM ww_sessions WHERE id = :id AND {_DEAD.format('idle_expires_at')}"
# Ids are in order of creation, so the oldest records come first.
_FIND_RECORDS = "SELECT id, at FROM ww_audit WHERE id > '' ORDER BY id LIMIT :rows"


async def sweep(database: Database, now: int, *, audit_retention: timedelta | None = None) -> int:
    """Delete all that no longer matters; return how many rows. Raises `StorageUnavailable`.

    :param audit_retention: how long audit records stay; None keeps them for ever.
    """

    async def unit(tx: Tx) -> int:
        return await tx.run(_FORGET_REVOCATIONS, now=now, rows=ROWS)

    async def revocations() -> int:
        return await database.transact(unit, upkeep=True)

    deleted = await in_batches(revocations, ROWS) + await _forget_sessions(database, now)
    if audit_retention is not None:
        deleted += await _forget_records(database, now - int(audit_retention.total_seconds()))
    return deleted


async def in_batches(batch: Callable[[], Awaitable[int]], rows: int) -> int:
    """Call `batch` until it deletes fewer than `rows`; return the sum."""
    deleted = last = await batch()
    while last >= rows:
        await asyncio.sleep(_PAUSE)
        last = await batch()
        deleted += last
    return deleted


async def _forget_sessions(database: Database, now: int) -> int:
    ended = await _forget(database, _FIND_ENDED, _FORGET_ENDED, now)
    return ended + await _forget(database, _FIND_EXPIRED, _FORGET_EXPIRED, now)


async def _forget(database: Database, find: str, forget: str, now: int) -> int:
    deleted, at, after, rows = 0, -1, "", ROWS
    while rows >= ROWS:
        dead = await database.scan(find, at=at, after=after, now=now, rows=ROWS, retention=_RETENTION)
        deleted += await _delete(database, forget, dead, now=now, retention=_RETENTION)
        rows = len(dead)
        if dead:
            at, after = int(dead[-1]["at"]), str(dead[-1]["id"])
        await asyncio.sleep(_PAUSE)
    return deleted


class Patrol:
    """Goes round all sessions, deletes idle ones and remembers its place.

    A turn may end early: a user has at most a hundred live sessions, and each expires in any case.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._after = ""

    async def turn(self, now: int) -> int:
        """Look at about ten thousand rows; return how many were deleted. Raises `StorageUnavailable`."""
        deleted = 0
        for _ in range(BATCHES):
            rows = await self._database.scan(_WALK, after=self._after, rows=ROWS)
            idle = [row for row in rows if row["at"] + _RETENTION <= now]
            deleted += await _delete(self._database, _FORGET_IDLE, idle, now=now, retention=_RETENTION)
            self._after = str(rows[-1]["id"]) if len(rows) == ROWS else ""
            if not self._after:
                break
            await asyncio.sleep(_PAUSE)
        return deleted


async def _forget_records(database: Database, until: int) -> int:
    async def batch() -> int:
        oldest = await database.scan(_FIND_RECORDS, rows=ROWS)
        old = [row for row in oldest if row["at"] <= until]
        return await _delete(database, "DELETE FROM ww_audit WHERE id = :id", old)

    return await in_batches(batch, ROWS)


async def _delete(database: Database, sql: str, rows: list[Row], **values: int) -> int:
    async def unit(tx: Tx) -> int:
        deleted = 0
        for row in rows:
            deleted += await tx.run(sql, id=row["id"], **values)
        return deleted

    return await database.transact(unit, upkeep=True) if rows else 0
