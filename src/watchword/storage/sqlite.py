"""SQLite behind the `Database` contract: one file, one writer per process, group commit.

Three connections: the writer (`sqlite_units`), a reader for look-ups by key that runs on the event loop because such a
read takes microseconds, and one for scans that runs in a thread. In WAL mode none of them holds up another.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from watchword.clock import monotonic
from watchword.errors import StorageUnavailable
from watchword.ids import new_id
from watchword.storage.database import INSIDE, PROBE, PROBE_SECONDS, Row, Tx, Unit, Value
from watchword.storage.sqlite_backup import copy_to
from watchword.storage.sqlite_connection import close, connect, patiently
from watchword.storage.sqlite_faults import code, is_busy, is_fault_of_the_file, unavailable
from watchword.storage.sqlite_lock import let_go, share
from watchword.storage.sqlite_units import Writer
from watchword.threads import Threads

PATIENCE = 5.0  # seconds that a request waits for a lock before it is "not available"
T = TypeVar("T")


class SQLite:
    """A SQLite database. Make one with `await SQLite.open(path)`; it belongs to the event loop that opened it."""

    def __init__(self, path: Path, writer: Writer, patience: float) -> None:
        """Use `open`."""
        self._path = path
        self._writer = writer
        self._patience = patience
        self._reader: sqlite3.Connection | None = None
        self._scanner: sqlite3.Connection | None = None
        self._thread = Threads(1, "watchword-sqlite-scan")
        self._seen: int | None = None  # data_version at the last call of changed()
        self._lock: int | None = None
        self._closed = False
        self._probe_at = float("-inf")

    @classmethod
    async def open(cls, path: Path, *, processes: int = 1, patience: float = PATIENCE, reserve: bool = False) -> SQLite:
        """Open the file, or make it (mode 0600).

        :param processes: how many processes write to this file; with several each pauses between its commits.
        :param reserve: keep space back until this is closed, so that rights can be taken away when the disk is full.
        :param patience: seconds to wait for a lock that another process holds.

        Raises `StorageUnavailable`.
        """
        writer = Writer(Path(path), processes=processes, patience=patience, keeps_reserve=reserve)
        database = cls(Path(path), writer, patience)
        try:
            database._lock = await database._in_thread(lambda: share(Path(path)))
            await writer.open()
            database._reader = await database._in_thread(database._connect)
        except BaseException:
            await database.close()
            raise
        return database

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """Read the first row by a key; sees everything acknowledged so far. Refuses to write."""
        rows = await self._read(sql, values)
        return rows[0] if rows else None

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """Read a handful of rows by a key. Refuses to write."""
        return await self._read(sql, values)

    async def scan(self, sql: str, /, **values: Value) -> list[Row]:
        """Read many rows in a thread, one scan at a time. Refuses to write."""
        self._refuse_inside_unit()
        return await self._in_thread(lambda: self._scan(sql, values))

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute one statement as a unit of its own; how many rows were changed, once it is durable."""

        async def unit(tx: Tx) -> int:
            return await tx.run(sql, **values)

        return await self.transact(unit)

    async def change(self, sql: str, /, **values: Value) -> Row | None:
        """Execute one `… RETURNING` as a unit of its own; its first row, once it is durable."""
        return await self.transact(lambda tx: tx.one(sql, **values))

    async def transact(self, unit: Unit[T], *, ends: bool = False, upkeep: bool = False) -> T:  # noqa: ARG002 - one writer
        """Run a unit together with those that wait, and return once it is durable.

        Raises what the unit raises; `UniqueViolation`; `StorageUnavailable`; `RuntimeError` if the unit awaits anything
        but `tx`. A statement that fails ends its unit even if the unit catches the error, as on PostgreSQL.
        """
        self._refuse_inside_unit()
        return await self._writer.transact(unit, ends=ends)

    async def changed(self) -> bool:
        """Return whether any process has committed since the last call; True at first."""
        rows = await self._read("PRAGMA data_version", {})
        before, self._seen = self._seen, int(str(rows[0][0]))
        return self._seen != before

    async def writable(self) -> bool:
        """Whether writes are stored: once a group was lost, a small write of our own finds out, one a second at most.

        Another's success says less: a unit that changed nothing is stored on a full disk, too.
        """
        if self._writer.failed and monotonic() >= self._probe_at:
            self._probe_at = monotonic() + PROBE_SECONDS
            try:
                await self.run(PROBE, value=new_id())
            except StorageUnavailable:
                return False
            self._writer.failed = False
        return not self._writer.failed

    async def backup(self, target: Path) -> int:
        """Copy everything committed so far to a new file, mode 0600, synced; how many bytes it has.

        Goes on beside reads and writes, also of other processes; scans wait for it.
        Raises `FileExistsError`, other `OSError`s, and `StorageUnavailable`.
        """
        self._refuse_inside_unit()
        return await self._in_thread(lambda: self._backup(target))

    async def close(self) -> None:
        """Finish what is under way and let go of everything. May be called again."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        await self._thread.run(self._let_go)
        self._thread.close()
        let_go(self._lock)  # last: who may replace the file meets no connection to it

    async def _read(self, sql: str, values: dict[str, Value]) -> list[Row]:
        self._refuse_inside_unit()
        give_up_at: float | None = None
        while True:
            try:
                return self._rows(sql, values)
            except sqlite3.Error as error:
                # Readers wait in WAL mode only for another process that recovers or closes the log.
                give_up_at = give_up_at or monotonic() + self._patience
                if not is_busy(error) or monotonic() >= give_up_at:
                    raise self._meaning(error) from error
            await asyncio.sleep(0.001)

    def _rows(self, sql: str, values: dict[str, Value]) -> list[Row]:
        if self._reader is None:
            self._reader = self._reopened()
        # All rows at once: a cursor left open would pin the snapshot and keep the log from shrinking.
        return self._reader.execute(sql, values).fetchall()

    def _reopened(self) -> sqlite3.Connection:
        if self._closed:
            raise StorageUnavailable("The database has been closed.")
        return connect(self._path, patience=0, query_only=True)

    def _meaning(self, error: sqlite3.Error) -> Exception:
        """What to raise. A connection that met a broken file is not used again."""
        written = code(error) == sqlite3.SQLITE_READONLY  # by `query_only`: a fault of the program
        if written or not is_fault_of_the_file(error):
            return error
        if not is_busy(error):
            close(self._reader)
            self._reader = self._seen = None
        return unavailable(error)

    def _scan(self, sql: str, values: dict[str, Value]) -> list[Row]:
        if self._scanner is None:
            self._scanner = self._connect()
        scanner = self._scanner
        try:
            return patiently(lambda: scanner.execute(sql, values).fetchall(), self._patience)
        except sqlite3.Error as error:
            if code(error) == sqlite3.SQLITE_READONLY or not is_fault_of_the_file(error):
                raise
            close(scanner)
            self._scanner = None
            raise unavailable(error) from error

    def _backup(self, target: Path) -> int:
        connection = connect(self._path, patience=self._patience)
        try:
            return patiently(lambda: copy_to(connection, target), self._patience)
        except sqlite3.Error as error:
            raise unavailable(error) from error
        finally:
            close(connection)

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, patience=self._patience, query_only=True)

    def _let_go(self) -> None:
        close(self._reader)
        close(self._scanner)
        self._reader = self._scanner = None

    def _refuse_inside_unit(self) -> None:
        if self._writer.inside_unit:
            raise RuntimeError(INSIDE)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StorageUnavailable("The database has been closed.")
        return await self._thread.run(work)
