"""Group commit: the one writer of a SQLite file within this process.

Units that arrive during a commit share the next. A *group* is one transaction; a unit is a savepoint in it.

    queue → BEGIN IMMEDIATE → unit, unit, unit (on the loop, never interleaved) → COMMIT (in a thread) → answers

* No answer comes before COMMIT: even a failed unit may have read what another wrote.
* The writer has its own task: a cancelled request only stops waiting.
"""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from watchword.clock import monotonic
from watchword.errors import StorageUnavailable
from watchword.meters import COMMIT_GROUP, UNMETERED, Meters
from watchword.storage.database import Load, Row, Unit, Value
from watchword.storage.reserve import Reserve
from watchword.storage.sqlite_connection import close, connect, patiently
from watchword.storage.sqlite_faults import is_busy, is_full, translated, unavailable
from watchword.threads import Threads

GROUP_UNITS = 256  # in one group
GROUP_SECONDS = 0.005  # for starting units, so that readers get their turn
ASK_SECONDS = 1.0  # between looks for space
PAUSE = 0.0005  # seconds between groups, with other processes
T = TypeVar("T")

_AWAITED = (
    "a unit awaited something other than tx.one, tx.all or tx.run; nothing of it was stored. Inside a unit there is no "
    "sleeping, no I/O and no other database call: do that before or after transact()"
)
_ENDED = "this unit has ended: `tx` may only be used inside it"


class SQLiteTx:
    """A unit's statements; they never suspend."""

    __slots__ = ("_connection", "_cursor", "_refusal", "fault")

    def __init__(self, connection: sqlite3.Connection, cursor: sqlite3.Cursor) -> None:
        self._connection = connection
        self._cursor = cursor
        self._refusal: BaseException | None = None
        self.fault: Exception | None = None  # the first statement's

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """Return the first row, if any."""
        rows = self._execute(sql, values)
        return rows[0] if rows else None

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """Return all rows."""
        return self._execute(sql, values)

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute a statement."""
        self._execute(sql, values)
        return max(self._cursor.rowcount, 0)

    def end(self) -> None:
        """Refuse further statements."""
        self._refusal = RuntimeError(_ENDED)

    def _execute(self, sql: str, values: dict[str, Value]) -> list[Row]:
        if self._refusal is not None:
            raise self._refusal
        try:
            # An unfinished statement would block COMMIT.
            return self._cursor.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            # The unit is lost even if it catches this, as on PostgreSQL.
            self.fault = self._refusal = translated(error, self._connection)
            if self.fault is error:
                raise
            raise self.fault from error


class _Request:
    __slots__ = ("answer", "context", "ends", "error", "queued_anew", "result", "unit")

    def __init__(self, unit: Unit[Any], answer: asyncio.Future[Any], *, ends: bool) -> None:
        self.unit = unit
        self.ends = ends  # may use the reserve
        self.queued_anew = False
        self.answer = answer
        self.context = contextvars.copy_context()  # of the request
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        if self.answer.done():
            return
        if self.error is None:
            self.answer.set_result(self.result)
        else:
            self.answer.set_exception(self.error)

    def fail(self, cause: BaseException | None) -> None:
        self.error = unavailable(cause)
        self.settle()


class _GroupLost(Exception):
    """Every unit of the transaction is lost."""


class Writer:
    """The writing connection and its queue."""

    def __init__(
        self,
        path: Path,
        *,
        processes: int,
        patience: float,
        keeps_reserve: bool = False,
        meters: Meters = UNMETERED,
    ) -> None:
        self._meters = meters
        self._path = path
        self._reserve = Reserve(path)
        self._keeps_reserve = keeps_reserve
        self._alone = processes == 1
        self._short = False  # of space: only log-outs are written
        self._asked_at = float("-inf")
        self._patience = patience
        self._pause = PAUSE if processes > 1 else 0.0
        self._queue: deque[_Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._thread = Threads(1, "watchword-sqlite-commit")
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._closed = False
        self.inside_unit = False
        self.failed = False  # until `writable` finds otherwise

    async def open(self) -> None:
        """Open the connection, to find bad paths early. Raises `StorageUnavailable`."""
        await self._opened()
        if self._keeps_reserve:
            await self._thread.run(self._reserve.keep)

    async def transact(self, unit: Unit[T], *, ends: bool = False) -> T:
        """Queue a unit; wait until it is durable or has failed.

        :param ends: it may use the reserve.
        """
        if self._closed:
            raise StorageUnavailable("The database has been closed.")
        if self._short and not ends and not await self._has_room_again():
            raise StorageUnavailable("There is no space left but for log-outs.")
        loop = asyncio.get_running_loop()
        request = _Request(unit, loop.create_future(), ends=ends)
        self._queue.append(request)
        if self._task is None:
            self._task = loop.create_task(self._work(), context=contextvars.Context())
        answer: T = await request.answer
        return answer

    def load(self) -> Load:
        """Return whether this process writes, and how many units wait."""
        return Load(0 if self._task is None else 1, len(self._queue))

    async def close(self) -> None:
        """Finish the queue, then close."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._discard()
        if self._keeps_reserve and self._alone:
            await self._thread.run(self._reserve.release)
        self._thread.close()

    async def _work(self) -> None:
        group: list[_Request] = []
        try:
            while self._queue:
                await self._write(group)
                group.clear()
                await self._let_others_in()
        except BaseException as error:  # cancellation or a fault here: leave no request waiting
            connection, self._connection, self._cursor = self._connection, None, None
            self._abandon(group, error)
            self._thread.post(close, connection)  # after a running commit
            raise
        finally:
            self._task = None

    async def _write(self, group: list[_Request]) -> None:
        try:
            connection = await self._begun()
        except (StorageUnavailable, sqlite3.Error) as error:
            self.failed = True
            await self._discard()
            if any(request.ends for request in self._queue) and await self._gave_up_reserve(error):
                return None  # the next turn uses that space
            return self._abandon(group, error)
        try:
            self._run_units(connection, group)
            await self._thread.run(self._commit, connection)
        except (_GroupLost, sqlite3.Error, MemoryError) as error:
            self.failed = True
            await self._discard()
            again = await self._with_reserve(group, error)
            for request in group:
                if request not in again:
                    request.fail(error.__cause__ or error)
            return None
        self._meters.observe(COMMIT_GROUP, len(group))
        for request in group:
            request.settle()
        return None

    async def _with_reserve(self, group: list[_Request], error: BaseException) -> list[_Request]:
        """Requeue once the units that may use the reserve, delete it, and return them.

        Nothing else deletes it: what fills the disk would take that space first.
        """
        # Another process may have deleted it.
        if not is_full(error) or not (self._keeps_reserve or self._reserve.path.exists()):
            return []
        self._short = True
        again = [request for request in group if request.ends and not (request.queued_anew or request.answer.done())]
        if again:
            await self._thread.run(self._reserve.release)
        for request in reversed(again):
            request.error, request.queued_anew = None, True
            self._queue.appendleft(request)
        return again

    async def _gave_up_reserve(self, error: BaseException) -> bool:
        """Delete the reserve if the disk is full; return whether it did."""
        if not is_full(error) or not await self._thread.run(self._reserve.path.exists):
            return False
        self._short = True
        await self._thread.run(self._reserve.release)
        return True

    async def _has_room_again(self) -> bool:
        if monotonic() >= self._asked_at + ASK_SECONDS:
            self._asked_at = monotonic()
            self._short = not await self._thread.run(self._reserve.has_room)
        return not self._short

    async def _begun(self) -> sqlite3.Connection:
        connection = self._connection or await self._opened()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            await self._thread.run(self._begin_patiently, connection)
        return connection

    def _run_units(self, connection: sqlite3.Connection, group: list[_Request]) -> None:
        stop_at = monotonic() + GROUP_SECONDS
        queue = self._queue
        while queue and len(group) < GROUP_UNITS:
            request = queue.popleft()
            if request.answer.done():
                continue  # cancelled while it waited
            if self._short and not request.ends:
                request.fail(None)  # queued before
                continue
            group.append(request)
            self._run_unit(connection, request)
            if monotonic() > stop_at:
                return

    def _run_unit(self, connection: sqlite3.Connection, request: _Request) -> None:
        """Run one unit in its savepoint. Raises `_GroupLost`, `sqlite3.Error`."""
        assert self._cursor is not None
        execute = self._cursor.execute  # `connection.execute` makes a cursor each time
        execute("SAVEPOINT unit")
        tx = SQLiteTx(connection, self._cursor)
        self.inside_unit = True
        try:
            request.result = request.context.run(_driven, request.unit, tx)
        except BaseException as error:  # noqa: BLE001 - it belongs to the requester
            request.error = error
        finally:
            self.inside_unit = False
            tx.end()
        if tx.fault is not None:
            request.error = tx.fault
        # A full disk may have ended the transaction. Even if not, the file is no longer trusted.
        if isinstance(tx.fault, StorageUnavailable) or not connection.in_transaction:
            raise _GroupLost from request.error
        if request.error is not None:
            execute("ROLLBACK TO unit")
        execute("RELEASE unit")

    def _begin_patiently(self, connection: sqlite3.Connection) -> None:
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"), self._patience)

    def _commit(self, connection: sqlite3.Connection) -> None:
        patiently(lambda: connection.execute("COMMIT"), self._patience)

    async def _let_others_in(self) -> None:
        """Let readers and other processes run, which would starve."""
        if self._pause:
            # In the thread: uvloop would round this down to 0.
            await self._thread.run(time.sleep, self._pause)
        else:
            await asyncio.sleep(0)

    def _abandon(self, group: list[_Request], cause: BaseException) -> None:
        for request in group:
            request.fail(cause)
        while self._queue:
            self._queue.popleft().fail(cause)

    async def _opened(self) -> sqlite3.Connection:
        self._connection = await self._thread.make(self._connect, close)
        self._cursor = self._connection.cursor()
        return self._connection

    async def _discard(self) -> None:
        """Close the connection in its thread, never during a commit."""
        connection, self._connection, self._cursor = self._connection, None, None
        await self._thread.run(close, connection)

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, patience=self._patience)


def _driven(unit: Unit[T], tx: SQLiteTx) -> T:
    steps = unit(tx).__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    _close_early(steps)
    raise RuntimeError(_AWAITED)


def _close_early(steps: Any) -> None:
    with suppress(Exception):  # the unit is lost anyway
        steps.close()
