"""Sweeping: what can no longer matter is deleted, a few rows at a time. Nothing is decided by whether it has run."""

from __future__ import annotations

from watchword.storage.database import Database, Tx

_ROWS = 500
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


async def sweep(database: Database, now: int) -> int:
    """Delete at most 500 rows of each kind; how many were deleted. Raises `StorageUnavailable`."""
    deleted = await database.run(_FORGET_REVOCATIONS, now=now, rows=_ROWS)
    # Finding dead sessions goes through all of them, and holds up nobody in a scan; deleting is by key.
    dead = await database.scan(
        f"SELECT id FROM ww_sessions WHERE {_DEAD} LIMIT :rows", now=now, rows=_ROWS, retention=_RETENTION
    )

    async def unit(tx: Tx) -> int:
        deleted = 0
        for row in dead:
            deleted += await tx.run(
                f"DELETE FROM ww_sessions WHERE id = :id AND {_DEAD}", id=row["id"], now=now, retention=_RETENTION
            )
        return deleted

    return deleted + (await database.transact(unit) if dead else 0)
