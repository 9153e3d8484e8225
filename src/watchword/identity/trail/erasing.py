"""Erases where a deleted user's requests came from. What happened, and when, stays.

Deleting a user writes one row; the records, of which there may be many, are erased afterwards in batches.
"""

from __future__ import annotations

import asyncio
from typing import Final

from watchword.storage.database import Database, Row, Tx

ROWS: Final = 200
AFTER_CLOSING: Final = 30 * 86_400
"""Seconds that the records of a closed account stay whole: someone who took it over may have closed it."""

STILL_WRITTEN: Final = 2 * 86_400
"""Seconds during which a late use of an old token may still write a record of the user."""

_PAUSE = 0.01
_DUE = "SELECT user_id, last_at FROM ww_audit_erasures WHERE due_at <= :now ORDER BY due_at, user_id LIMIT :rows"
_LATER = "UPDATE ww_audit_erasures SET due_at = last_at WHERE user_id = :user AND last_at > :now"
_DONE = "DELETE FROM ww_audit_erasures WHERE user_id = :user AND last_at <= :now"
_OF_USER = "SELECT id FROM ww_audit WHERE user_id = :user AND id > :after ORDER BY id LIMIT :rows"
_DONE_TO_OTHERS = """
SELECT id FROM ww_audit WHERE actor_id = :user AND (user_id IS NULL OR actor_id <> user_id) AND id > :after
ORDER BY id LIMIT :rows
"""
_ERASE = """
UPDATE ww_audit SET address = '', agent = '', salt = NULL WHERE id = :id AND (address <> '' OR agent <> '')
"""
# What another user did to this one holds that one's address. Such records are passed over here and not when they are
# looked for: a query would visit any number of them.
_ERASE_OWN = f"{_ERASE} AND (actor_id IS NULL OR actor_id = user_id)"


async def ask(tx: Tx, user_id: str, *, now: int, after: int) -> None:
    """Have a user's records erased `after` seconds from now, in the unit that deletes the user."""
    await tx.run(
        "INSERT INTO ww_audit_erasures (user_id, due_at, last_at) VALUES (:user, :due, :last)"
        " ON CONFLICT (user_id) DO NOTHING",
        user=user_id,
        due=now + after,
        last=now + after + STILL_WRITTEN,
    )


async def erase(database: Database, now: int) -> int:
    """Erase what is due; return how many records. Raises `StorageUnavailable`; the next turn does it again."""
    erased = 0
    for row in await database.scan(_DUE, now=now, rows=ROWS):
        for find, change in ((_OF_USER, _ERASE_OWN), (_DONE_TO_OTHERS, _ERASE)):
            erased += await _erase(database, find, change, row["user_id"])
        await database.run(_LATER, user=row["user_id"], now=now)
        await database.run(_DONE, user=row["user_id"], now=now)
    return erased


async def _erase(database: Database, find: str, change: str, user_id: str) -> int:
    erased, after = 0, ""
    while rows := await database.scan(find, user=user_id, after=after, rows=ROWS):

        async def unit(tx: Tx, rows: list[Row] = rows) -> int:
            return sum([await tx.run(change, id=row["id"]) for row in rows])

        erased += await database.transact(unit, upkeep=True)
        after = rows[-1]["id"]
        await asyncio.sleep(_PAUSE)
    return erased
