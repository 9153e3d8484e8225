"""Group commit: the one writer of a SQLite file within this process.

Waiting for the disk is what a small transaction costs, so everyone who arrives while the disk is busy shares the next
wait. A *group* is one SQLite transaction; each unit in it has a savepoint of its own.

    queue → BEGIN IMMEDIATE → unit, unit, unit (on the loop, never interleaved) → COMMIT (in a thread) → answers

* A unit's coroutine is driven from start to end without a pause, so nothing else runs in between.
* Nothing touches the connection while COMMIT runs; no request is answered before it has returned: not even a unit that
  failed, since what it saw may have been written by a neighbour in the same group.
* All of it belongs to a task of this writer. A request that is cancelled only stops waiting.
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
from watchword.storage.database import Row, Unit, Value
from watchword.storage.reserve import Reserve
from watchword.storage.sqlite_connection import close, connect, patiently
from watchword.storage.sqlite_faults import is_busy, is_full, translated, unavailable
from watchword.threads import Threads

GROUP_UNITS = 256  # units in one group at most
GROUP_SECONDS = 0.005  # a group starts no further unit after that, so that a long queue does not hold up readers
ASK_SECONDS = 1.0  # between two looks whether there is space again
PAUSE = 0.0005  # seconds between two groups if other processes write as well
T = TypeVar("T")

_AWAITED = (
    "a unit awaited something other than tx.one, tx.all or tx.run; nothing of it was stored. Inside a unit there is no "
    "sleeping, no I/O and no other database call: do that before or after transact()"
)
_ENDED = "this unit has ended: `tx` may only be used inside it"


class SQLiteTx:
    """What a unit talks to. Its methods are coroutines that never suspend."""

    __slots__ = ("_connection", "_cursor", "_refusal", "fault")

    def __init__(self, connection: sqlite3.Connection, cursor: sqlite3.Cursor) -> None:
        self._connection = connection
        self._cursor = cursor
        self._refusal: BaseException | None = None
        self.fault: Exception | None = None  # of the first statement that failed

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """The first row, or None."""
        rows = self._execute(sql, values)
        return rows[0] if rows else None

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """All rows."""
        return self._execute(sql, values)

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute; how many rows were changed."""
        self._execute(sql, values)
        return max(self._cursor.rowcount, 0)

    def end(self) -> None:
        """Refuse whatever comes now."""
        self._refusal = RuntimeError(_ENDED)

    def _execute(self, sql: str, values: dict[str, Value]) -> list[Row]:
        if self._refusal is not None:
            raise self._refusal
        try:
            # Every row is fetched: a statement left half-way would keep COMMIT from happening.
            return self._cursor.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            # From here on the unit is lost even if it catches this, because on PostgreSQL it would be.
            self.fault = self._refusal = translated(error, self._connection)
            if self.fault is error:
                raise
            raise self.fault from error


class _Request:
    """A unit that waits to be run, and then what came of it."""

    __slots__ = ("answer", "context", "ends", "error", "queued_anew", "result", "unit")

    def __init__(self, unit: Unit[Any], answer: asyncio.Future[Any], *, ends: bool) -> None:
        self.unit = unit
        self.ends = ends  # takes rights away: may use the reserve
        self.queued_anew = False
        self.answer = answer
        self.context = contextvars.copy_context()  # the unit runs in the context of its request
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        """Tell the requester, if they still wait."""
        if self.answer.done():
            return
        if self.error is None:
            self.answer.set_result(self.result)
        else:
            self.answer.set_exception(self.error)

    def fail(self, cause: BaseException | None) -> None:
        """Nothing of it was stored."""
        self.error = unavailable(cause)
        self.settle()


class _GroupLost(Exception):
    """The transaction is gone, and everyone's work with it."""


class Writer:
    """The writing connection and the queue in front of it. Belongs to one event loop."""

    def __init__(self, path: Path, *, processes: int, patience: float, keeps_reserve: bool = False) -> None:
        self._path = path
        self._reserve = Reserve(path)
        self._keeps_reserve = keeps_reserve
        self._alone = processes == 1
        self._short = False  # of space: only what ends something is written
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
        self.failed = False  # a group was lost; stays so until a check that has looked into it says otherwise

    async def open(self) -> None:
        """Open the connection now, so that a bad path is found at start. Raises `StorageUnavailable`."""
        await self._opened()
        if self._keeps_reserve:
            await self._thread.run(self._reserve.keep)

    async def transact(self, unit: Unit[T], *, ends: bool = False) -> T:
        """Queue a unit and wait until it is durable (or has failed).

        :param ends: it takes rights away, and is stored also where the space is only just enough for that.
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

    async def close(self) -> None:
        """Finish what is queued, then let go of the connection."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._discard()
        if self._keeps_reserve and self._alone:
            await self._thread.run(self._reserve.release)
        self._thread.close()

    async def _work(self) -> None:
        """Run groups until no unit waits. Ends by itself, so that an idle database has no task."""
        group: list[_Request] = []
        try:
            while self._queue:
                await self._write(group)
                group.clear()
                await self._let_others_in()
        except BaseException as error:  # a cancelled loop, or a fault in this file: strand no request
            connection, self._connection, self._cursor = self._connection, None, None
            self._abandon(group, error)
            self._thread.post(close, connection)  # behind a commit that may still be under way
            raise
        finally:
            self._task = None

    async def _write(self, group: list[_Request]) -> None:
        """One group from BEGIN to the answers."""
        try:
            connection = await self._begun()
        except (StorageUnavailable, sqlite3.Error) as error:
            self.failed = True
            await self._discard()
            if any(request.ends for request in self._queue) and await self._gave_up_reserve(error):
                return None  # the next turn opens the connection with that space
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
        for request in group:
            request.settle()
        return None

    async def _with_reserve(self, group: list[_Request], error: BaseException) -> list[_Request]:
        """The disk is full: give up the reserve for what may use it, and queue that anew, once; which these are.

        Whatever else meets the full disk leaves the reserve where it is: a program that goes on filling the disk would
        take that space before a log-out needed it.
        """
        # Another process may have given it up already, for this one as well.
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
        """Give the reserve up if the disk is full; return whether that made space."""
        if not is_full(error) or not await self._thread.run(self._reserve.path.exists):
            return False
        self._short = True
        await self._thread.run(self._reserve.release)
        return True

    async def _has_room_again(self) -> bool:
        """Return whether there is space beside the reserve; looked at once a second."""
        if monotonic() >= self._asked_at + ASK_SECONDS:
            self._asked_at = monotonic()
            self._short = not await self._thread.run(self._reserve.has_room)
        return not self._short

    async def _begun(self) -> sqlite3.Connection:
        """The connection with a write transaction open. Waiting for another's lock happens in the thread."""
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
                continue  # cancelled while it waited: it has not happened
            if self._short and not request.ends:
                request.fail(None)  # it was queued before the disk was full
                continue
            group.append(request)
            self._run_unit(connection, request)
            if monotonic() > stop_at:
                return

    def _run_unit(self, connection: sqlite3.Connection, request: _Request) -> None:
        """One unit inside its savepoint; what it raises is kept for later. Raises `_GroupLost`, `sqlite3.Error`."""
        assert self._cursor is not None
        execute = self._cursor.execute  # of one cursor: `connection.execute` makes a new one each time
        execute("SAVEPOINT unit")
        tx = SQLiteTx(connection, self._cursor)
        self.inside_unit = True
        try:
            request.result = request.context.run(_driven, request.unit, tx)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the requester, not to this task
            request.error = error
        finally:
            self.inside_unit = False
            tx.end()
        if tx.fault is not None:
            request.error = tx.fault
        # A full disk or an I/O error may have ended the transaction, and then there is nothing left to keep. We do not
        # go on after one that did not, either: the file cannot be trusted to take the rest.
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
        """The answered go first; so do other processes, which cannot see our queue and would starve."""
        if self._pause:
            # In the thread, because uvloop's timers count whole milliseconds and would round this one down to nothing.
            await self._thread.run(time.sleep, self._pause)
        else:
            await asyncio.sleep(0)

    def _abandon(self, group: list[_Request], cause: BaseException) -> None:
        """Fail everyone who waits."""
        for request in group:
            request.fail(cause)
        while self._queue:
            self._queue.popleft().fail(cause)

    async def _opened(self) -> sqlite3.Connection:
        self._connection = await self._thread.run(self._connect)
        self._cursor = self._connection.cursor()
        return self._connection

    async def _discard(self) -> None:
        """Close the connection; the next group opens another. In the same thread, so never during a commit."""
        connection, self._connection, self._cursor = self._connection, None, None
        await self._thread.run(close, connection)

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, patience=self._patience)


def _driven(unit: Unit[T], tx: SQLiteTx) -> T:
    """Run a unit's coroutine to its end in one go."""
    steps = unit(tx).__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    _close_early(steps)
    raise RuntimeError(_AWAITED)


def _close_early(steps: Any) -> None:
    with suppress(Exception):  # its clean-up failed or tried to wait again; the unit is lost either way
        steps.close()
