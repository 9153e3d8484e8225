"""Sweeping: what can no longer matter is deleted, in small batches, with a pause after each for whoever waits.

Nothing is decided by whether it has run. A sweep goes on until nothing is left: a ceiling for each turn would be what
somebody has to exceed for the database to grow without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from watchword.storage.database import Database, Row, Tx

ROWS = 500
"""Rows of one batch."""

_PAUSE = 0.01
_RETENTION = 24 * 3600
"""Seconds that an ended session stays, for its owner's questions and for `refresh_token_reused` to be told apart."""

_FORGET_REVOCATIONS = """
DELETE FROM ww_revocations WHERE seq IN
    (SELECT seq FROM ww_revocations WHERE expires_at <= :now ORDER BY seq LIMIT :rows)
"""
# Not before its last access token has expired: a revocation's expiry is computed from these rows.
_DEAD = """
access_until + :retention <= :now
    AND (ended_at + :retention <= :now OR expires_at + :retention <= :now OR idle_expires_at + :retention <= :now)
"""
# Finding dead sessions goes through all of them, once, and holds up nobody in a scan; deleting is by key.
_FIND_SESSIONS = f"SELECT id FROM ww_sessions WHERE id > :after AND {_DEAD} ORDER BY id LIMIT :rows"
_FORGET_SESSION = f"DELETE FROM ww_sessions WHERE id = :id AND {_DEAD}"
# Ids are in the order in which they were made, so the oldest records are the first of them.
_FIND_RECORDS = "SELECT id, at FROM ww_audit ORDER BY id LIMIT :rows"


async def sweep(database: Database, now: int, *, audit_retention: timedelta | None = None) -> int:
    """Delete all that can no longer matter; how many rows it were. Raises `StorageUnavailable`.

    :param audit_retention: how long audit records stay; None keeps them for ever.
    """

    async def revocations() -> int:
        return await database.run(_FORGET_REVOCATIONS, now=now, rows=ROWS)

    deleted = await in_batches(revocations, ROWS) + await _forget_sessions(database, now)
    if audit_retention is not None:
        deleted += await _forget_records(database, now - int(audit_retention.total_seconds()))
    return deleted


async def in_batches(batch: Callable[[], Awaitable[int]], rows: int) -> int:
    """Call `batch` until it deletes fewer than `rows`; how many it were in all."""
    deleted = last = await batch()
    while last >= rows:
        await asyncio.sleep(_PAUSE)
        last = await batch()
        deleted += last
    return deleted


async def _forget_sessions(database: Database, now: int) -> int:
    deleted, after, rows = 0, "", ROWS
    while rows >= ROWS:
        dead = await database.scan(_FIND_SESSIONS, after=after, now=now, rows=ROWS, retention=_RETENTION)
        deleted += await _delete(database, _FORGET_SESSION, dead, now=now, retention=_RETENTION)
        rows = len(dead)
        after = str(dead[-1]["id"]) if dead else after
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

    return await database.transact(unit) if rows else 0
