"""Rows that wait to be handed over: claimed by one process, tried again after growing waits, given up, repeated.

Mails and webhooks wait in a table each. However many processes send, one sends a row: claiming it is one conditional
UPDATE that moves the time at which it is due. A process that ends in between leaves the row to the next claim, so that
it may be sent twice and is never lost. `tries` tells claims apart: one that has ended changes nothing any more.
"""

from __future__ import annotations

import random
from typing import Final, Protocol

from watchword.storage.database import Database, Row, Tx, Value

CLAIMED_SECONDS: Final = 180
"""How long a claim lasts: three times what handing over a batch may take."""

AT_ONCE: Final = 10
"""Rows of one claim."""

KEPT_SECONDS: Final = 30 * 86_400
"""How long what was given up can be looked at."""

_WAITS = "due_at <= :now AND failed_at IS NULL"


class _Runs(Protocol):
    """A database, or a unit of it."""

    async def run(self, sql: str, /, **values: Value) -> int: ...


class Queue:
    """The rows of one table.

    :param table: it has the columns `id`, `due_at`, `tries`, `failed_at` and `fault`.
    :param columns: of a claimed row.
    :param waits: seconds before each further try. After the last one the row is given up.
    :param part: a column that parts the table: each claim is of one part.
    :param jitter: by which share of a wait it may be shorter or longer, so that not all try at the same moment.
    """

    def __init__(
        self, table: str, columns: str, *, waits: tuple[int, ...], part: str | None = None, jitter: float = 0.0
    ) -> None:
        of_part = "" if part is None else f" AND {part} = :part"
        waiting, order = _WAITS + of_part, "ORDER BY due_at, id LIMIT"
        self._due = f"SELECT id FROM {table} WHERE {waiting} {order} 1"
        self._claim = (
            f"UPDATE {table} SET due_at = :until, tries = tries + 1 WHERE {waiting}"
            f" AND id IN (SELECT id FROM {table} WHERE {waiting} {order} :rows) RETURNING {columns}"
        )
        self._put_off = (
            f"UPDATE {table} SET due_at = :due, fault = :fault, failed_at = CAST(:failed AS BIGINT)"
            f" WHERE id = :id AND tries = :tries AND failed_at IS NULL{of_part}"
        )
        self._waits = waits
        self._jitter = jitter

    async def is_due(self, database: Database, *, now: int, **part: str) -> bool:
        """Tell whether a claim would find anything."""
        return await database.one(self._due, now=now, **part) is not None

    async def claim(self, database: Database, *, now: int, rows: int = AT_ONCE, **part: str) -> list[Row]:
        """Claim what is due, oldest first, and count a try of each. With nothing due, nothing is written."""
        if not await self.is_due(database, now=now, **part):
            return []

        async def unit(tx: Tx) -> list[Row]:
            return await tx.all(self._claim, now=now, until=now + CLAIMED_SECONDS, rows=rows, **part)

        return await database.transact(unit)

    def wait(self, tries: int) -> int | None:
        """Return the seconds until the next try, or None when there is none."""
        if tries > len(self._waits):
            return None
        wait = self._waits[tries - 1]
        return round(wait * random.uniform(1 - self._jitter, 1 + self._jitter))  # noqa: S311 - no secret

    async def put_off(
        self, runs: _Runs, row_id: str, tries: int, fault: str, *, now: int, wait: int | None, **part: str
    ) -> bool:
        """Note why a row was not taken, and when it is tried again; return whether the claim still stood.

        :param wait: seconds; None gives it up.
        """
        changed = await runs.run(
            self._put_off,
            due=now + (wait or 0),
            fault=fault,
            failed=now if wait is None else None,
            id=row_id,
            tries=tries,
            **part,
        )
        return changed > 0
