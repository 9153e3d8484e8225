"""PostgreSQL behind the `Database` contract: several connections, READ COMMITTED, a deadline for every call.

* A request that is cancelled ends its connection: what it asked for has happened as a whole or not at all.
* A deadline ends a connection instead of cancelling what it does: a server that stands still answers nothing, a cancel
  request neither.
* A unit is run again when others were faster, when a migration made a plan stale, and when the connection was lost
  before COMMIT was sent. A connection that is lost during COMMIT leaves open whether the unit was stored: that is
  "not available", and those who ask again find out.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from watchword.clock import monotonic
from watchword.errors import StorageUnavailable
from watchword.ids import new_id
from watchword.settings import postgres_url
from watchword.storage import postgres_connection
from watchword.storage.database import INSIDE, PROBE, PROBE_SECONDS, Load, Row, Tx, Unit, Value
from watchword.storage.postgres_connection import Frame
from watchword.storage.postgres_faults import is_elsewhere, is_lost, is_overtaken, state_of, translated
from watchword.storage.postgres_hosts import Hosts
from watchword.storage.postgres_pool import Connection, Pool
from watchword.storage.postgres_units import Failed, run_alone, run_unit

DEADLINE = 2.5
"""Seconds that a request waits, for a connection and all statements of a unit together: then it is answered."""

SCAN_DEADLINE = 30.0
UPKEEP_DEADLINE = 900.0
ATTEMPTS = 12
_PAUSE, _LONGEST_PAUSE = 0.002, 0.1
_CLOSING_SECONDS = 5.0
_ALONE = "SELECT pg_advisory_xact_lock(7305808)"  # a number of ours, the same in every process
_HAS_NO_LOCKS = frozenset({"0A000", "42883", "42501"})  # not supported, no such function, not allowed
_inside_unit: contextvars.ContextVar[bool] = contextvars.ContextVar("watchword_inside_unit", default=False)

T = TypeVar("T")
Attempt = Callable[[Connection], Awaitable[T]]


class Postgres:
    """A PostgreSQL database. Make one with `await Postgres.open(url)`; it belongs to the event loop that opened it."""

    one_writer = False

    def __init__(self, pool: Pool, frame: Frame, deadline: float) -> None:
        """Use `open`."""
        self._pool = pool
        self._frame = frame
        self._deadline = deadline
        self._has_locks = True
        self._failed = False  # a write was not stored; stays so until the probe of `writable` was
        self._probe_at = float("-inf")
        self._closed = False

    @classmethod
    async def open(cls, url: str, *, deadline: float = DEADLINE) -> Postgres:
        """Connect, and look at what stands behind the URL.

        :param deadline: seconds that a request waits at most.
        :raises SettingsError: the URL names what cannot be used.
        :raises StorageUnavailable:
        """
        found = postgres_url.read(url)
        hosts = Hosts(found)
        frame = await postgres_connection.examine(found, hosts)
        pool = Pool(lambda: postgres_connection.connect(found, hosts, frame), found.connections)
        return cls(pool, frame, deadline)

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """Read the first row by a key; sees everything acknowledged so far."""
        return await self._owned(self._single(lambda tx: tx.one(sql, **values)), self._deadline)

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """Read a handful of rows by a key."""
        return await self._owned(self._single(lambda tx: tx.all(sql, **values)), self._deadline)

    async def scan(self, sql: str, /, **values: Value) -> list[Row]:
        """Read many rows, for which more time is given."""

        async def attempt(connection: Connection) -> list[Row]:
            return await run_unit(connection, lambda tx: tx.all(sql, **values), self._frame.begin_scan)

        return await self._owned(attempt, SCAN_DEADLINE)

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute one statement as a unit of its own; how many rows were changed, once it is durable."""
        attempt = self._single(lambda tx: tx.run(sql, **values), committing=True)
        return await self._owned(attempt, self._deadline, writes=True)

    async def change(self, sql: str, /, **values: Value) -> Row | None:
        """Execute one `… RETURNING` as a unit of its own; its first row, once it is durable."""
        attempt = self._single(lambda tx: tx.one(sql, **values), committing=True)
        return await self._owned(attempt, self._deadline, writes=True)

    async def transact(self, unit: Unit[T], *, ends: bool = False, upkeep: bool = False) -> T:  # noqa: ARG002 - SQLite's
        """Run a unit, again where it may be, and return once it is durable.

        Raises what the unit raises; `UniqueViolation`; `StorageUnavailable`. A statement that fails ends its unit even
        if the unit catches the error.
        """

        async def attempt(connection: Connection) -> T:
            return await run_unit(connection, _marked(unit), self._frame.begin)

        async def patient(connection: Connection) -> T:
            first = _ALONE if self._has_locks else None
            return await run_unit(connection, _marked(unit), self._frame.begin_upkeep, first=first)

        if not upkeep:
            return await self._owned(attempt, self._deadline, writes=True)
        try:
            return await self._owned(patient, UPKEEP_DEADLINE, writes=True)
        except _NoLocks:
            self._has_locks = False  # what upkeep does excludes others by its rows as well, only less gently
            return await self._owned(patient, UPKEEP_DEADLINE, writes=True)

    async def changed(self) -> bool:
        """Return True: PostgreSQL has no sign of a commit that could not be seen too early."""
        return True

    async def writable(self) -> bool:
        """Whether writes are stored: once one was not, a small write of our own finds out, one a second at most."""
        if self._failed and monotonic() >= self._probe_at:
            self._probe_at = monotonic() + PROBE_SECONDS
            try:
                await self.run(PROBE, value=new_id())
            except StorageUnavailable:
                return False
            self._failed = False
        return not self._failed

    def load(self) -> Load:
        """Connections in use, and calls that wait for one."""
        return self._pool.load()

    async def close(self) -> None:
        """Finish what is under way and let go of everything. May be called again."""
        if self._closed:
            return
        self._closed = True
        await self._pool.close(_CLOSING_SECONDS)

    def _single(self, ask: Unit[T], *, committing: bool = False) -> Attempt[T]:
        """One statement, which is a transaction by itself.

        :param committing: the server may have stored it where the connection is lost, so that it is not run again.
        """
        if self._frame.always:
            return lambda connection: run_unit(connection, ask, self._frame.begin)
        return lambda connection: run_alone(connection, ask, committing=committing)

    async def _owned(self, attempt: Attempt[T], seconds: float, *, writes: bool = False) -> T:
        """Work within so many seconds, again where that may help, unless called from inside a unit or after the end.

        :param writes: whether something is stored, so that `writable` learns of a failure.
        """
        if _inside_unit.get():
            raise RuntimeError(INSIDE)
        if self._closed:
            raise StorageUnavailable("The database has been closed.")
        give_up_at = monotonic() + seconds
        for number in range(ATTEMPTS):
            try:
                return await self._once(attempt, give_up_at)
            except Failed as failed:
                self._judge(failed, last=number == ATTEMPTS - 1 or monotonic() >= give_up_at, writes=writes)
            await asyncio.sleep(random.uniform(0, min(_PAUSE * 2**number, _LONGEST_PAUSE)))  # noqa: S311 - no secret
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, attempt: Attempt[T], give_up_at: float) -> T:
        began = monotonic()
        connection = self._pool.take(began, give_up_at) or await self._waited(began, give_up_at)
        try:
            return await attempt(connection)
        except asyncio.CancelledError:
            connection.terminate()  # in the middle of something: the server rolls back
            raise
        finally:
            now = monotonic()
            self._pool.release(connection, now)
            if now >= give_up_at:
                self._pool.expire_unused(began)

    async def _waited(self, began: float, give_up_at: float) -> Connection:
        try:
            return await self._pool.acquire(max(give_up_at, began + 0.001))
        except Exception as error:
            raise Failed(error, connecting=True) from error

    def _judge(self, failed: Failed, *, last: bool, writes: bool) -> None:
        """Return where another attempt may go better; raise what the caller is told otherwise."""
        error = failed.error
        if is_elsewhere(error):
            self._pool.expire()  # the next ones are made to whichever server is right now
        if failed.first and state_of(error) in _HAS_NO_LOCKS:
            raise _NoLocks from error
        if last or not _again(failed):
            meant = translated(error)
            self._failed = self._failed or (writes and isinstance(meant, StorageUnavailable))
            raise meant from error


class _NoLocks(Exception):
    """The engine has no advisory locks."""


def _again(failed: Failed) -> bool:
    """Whether nothing was stored, and another attempt may go better."""
    if is_overtaken(failed.error):
        return True
    return is_lost(failed.error) and not failed.committing and not failed.connecting


def _marked(unit: Unit[T]) -> Unit[T]:
    """The unit, inside which the database itself refuses to be called."""

    async def marked(tx: Tx) -> T:
        before = _inside_unit.set(True)
        try:
            return await unit(tx)
        finally:
            _inside_unit.reset(before)

    return marked
