"""A unit on one connection: BEGIN, its statements, COMMIT."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar

from watchword.storage.database import Row, Unit, Value
from watchword.storage.postgres_faults import translated
from watchword.storage.postgres_sql import numbered

T = TypeVar("T")
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_ENDED = "this unit has ended: `tx` may only be used inside it"


class Failed(Exception):
    """A statement failed, or the connection.

    :param committing: it may have been stored all the same.
    :param connecting: there was no connection yet.
    :param first: it was the lock that the unit takes first.
    """

    def __init__(
        self, error: Exception, *, committing: bool = False, connecting: bool = False, first: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.committing = committing
        self.connecting = connecting
        self.first = first


class PostgresTx:
    """What a unit talks to."""

    __slots__ = ("_connection", "_refusal", "fault")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._refusal: Exception | None = None
        self.fault: Exception | None = None  # of the first statement that failed

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """The first row, or None."""
        text = self._text(sql)
        try:
            row: Row | None = await self._connection.fetchrow(text.sql, *text.values(values))
        except Exception as error:
            raise self._failed(error) from error
        return row

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """All rows."""
        text = self._text(sql)
        try:
            rows: list[Row] = await self._connection.fetch(text.sql, *text.values(values))
        except Exception as error:
            raise self._failed(error) from error
        return rows

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute; how many rows were changed."""
        text = self._text(sql)
        try:
            status: str = await self._connection.execute(text.sql, *text.values(values))
        except Exception as error:
            raise self._failed(error) from error
        words = status.split()  # INSERT 0 1, UPDATE 3, CREATE TABLE
        return int(words[-1]) if words and words[0] in _CHANGES else 0

    def end(self) -> None:
        """Refuse whatever comes now."""
        self._refusal = RuntimeError(_ENDED)

    def _text(self, sql: str) -> Any:
        if self._refusal is not None:
            raise self._refusal
        return numbered(sql)

    def _failed(self, error: Exception) -> Exception:
        """What the unit is told. From here on it is lost, even if it catches this."""
        self.fault = error = _meant(self._connection, error)
        self._refusal = translated(error)
        return self._refusal


async def run_alone(connection: Any, ask: Unit[T], *, committing: bool) -> T:
    """Run one statement without a transaction around it. Raises `Failed` for what the server did.

    :param committing: it may have been stored all the same.
    """
    tx = PostgresTx(connection)
    try:
        return await ask(tx)
    except Exception as error:
        if tx.fault is None:
            raise
        raise Failed(tx.fault, committing=committing) from error


async def run_unit(connection: Any, unit: Unit[T], begin: str, *, first: str | None = None) -> T:
    """Run a unit in a transaction. Raises `Failed` for what the server did, and what the unit raises.

    :param first: a statement before the unit.
    """
    await _said(connection, begin)
    if first is not None:
        await _said(connection, first, first=True)
    tx = PostgresTx(connection)
    try:
        result = await unit(tx)
    except BaseException as error:
        await _rolled_back(connection, tx)
        if tx.fault is not None:
            raise Failed(tx.fault) from error
        raise
    if tx.fault is not None:
        await _rolled_back(connection, tx)
        raise Failed(tx.fault)
    tx.end()
    await _said(connection, "COMMIT", committing=True)
    return result


async def _said(connection: Any, text: str, *, committing: bool = False, first: bool = False) -> None:
    try:
        await connection.execute(text)
    except Exception as error:
        if not committing:
            await _rolled_back(connection)
        raise Failed(_meant(connection, error), committing=committing, first=first) from error


def _meant(connection: Any, error: Exception) -> Exception:
    """The driver loses its protocol object when a deadline ends the connection between two of its steps."""
    ended = isinstance(error, AttributeError) and connection.is_closed()
    return ConnectionResetError("the connection was ended") if ended else error


async def _rolled_back(connection: Any, tx: PostgresTx | None = None) -> None:
    if tx is not None:
        tx.end()
    with suppress(Exception):  # the connection is closed then, and the server rolls back by itself
        await connection.execute("ROLLBACK")
