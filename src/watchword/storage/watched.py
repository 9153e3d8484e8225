"""A database whose calls are timed, counted and traced. It stands before the real one only while someone looks."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from watchword.clock import monotonic
from watchword.errors import StorageUnavailable
from watchword.meters import DATABASE_FAILURES, DATABASE_SECONDS, Meters
from watchword.storage.database import Database, Load, Row, Unit, Value
from watchword.tracing import Tracer

T = TypeVar("T")


class WatchedDatabase:
    """Passes every call on."""

    def __init__(self, database: Database, meters: Meters, tracer: Tracer) -> None:
        self._database = database
        self._meters = meters
        self._tracer = tracer

    @property
    def one_writer(self) -> bool:
        """Return whether units run one after the other."""
        return self._database.one_writer

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """Read one row by key."""
        return await self._timed("one", self._database.one(sql, **values))

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """Read a few rows by key."""
        return await self._timed("all", self._database.all(sql, **values))

    async def scan(self, sql: str, /, **values: Value) -> list[Row]:
        """Read many rows without delaying other requests."""
        return await self._timed("scan", self._database.scan(sql, **values))

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute a statement as a unit."""
        return await self._timed("run", self._database.run(sql, **values))

    async def change(self, sql: str, /, **values: Value) -> Row | None:
        """Execute one `… RETURNING` as a unit; return its first row."""
        return await self._timed("change", self._database.change(sql, **values))

    async def transact(self, unit: Unit[T], *, ends: bool = False, upkeep: bool = False) -> T:
        """Run a unit; return its result once it is durable."""
        return await self._timed("transact", self._database.transact(unit, ends=ends, upkeep=upkeep))

    async def changed(self) -> bool:
        """Return whether there may be new writes."""
        return await self._database.changed()

    async def writable(self) -> bool:
        """Return whether writes are stored, as far as known."""
        return await self._database.writable()

    def load(self) -> Load:
        """Return how busy this process's part of it is."""
        return self._database.load()

    async def close(self) -> None:
        """Finish what is pending, then close."""
        await self._database.close()

    async def _timed(self, call: str, work: Awaitable[T]) -> T:
        began_at = monotonic()
        try:
            with self._tracer.step(f"database {call}"):
                return await work
        except StorageUnavailable:
            self._meters.count(DATABASE_FAILURES, call)
            raise
        finally:
            self._meters.observe(DATABASE_SECONDS, monotonic() - began_at, call)
