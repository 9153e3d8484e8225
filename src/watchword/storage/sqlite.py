"""SQLite behind the `Database` contract: one file, one writer per process.

In WAL mode three connections do not block each other: the writer (`sqlite_units`), a reader on the event loop, and one
in a thread for scans.
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
from watchword.meters import UNMETERED, Meters
from watchword.storage.database import INSIDE, PROBE, PROBE_SECONDS, Load, Row, Tx, Unit, Value
from watchword.storage.sqlite_backup import copy_to
from watchword.storage.sqlite_connection import close, connect, patiently
from watchword.storage.sqlite_faults import code, is_busy, is_fault_of_the_file, unavailable
from watchword.storage.sqlite_lock import let_go, share
from watchword.storage.sqlite_units import Writer
from watchword.threads import Threads

PATIENCE = 5.0  # seconds
T = TypeVar("T")


class SQLite:
    """A SQLite database, for the event loop that opened it. Reads refuse to write."""

    one_writer = True

    def __init__(self, path: Path, writer: Writer, patience: float) -> None:
        """Use `open`."""
        self._path = path
        self._writer = writer
        self._patience = patience
        self._reader: sqlite3.Connection | None = None
        self._scanner: sqlite3.Connection | None = None
        self._thread = Threads(1, "watchword-sqlite-scan")
        self._seen: int | None = None  # by `changed`
        self._lock: int | None = None
        self._closed = False
        self._probe_at = float("-inf")

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        processes: int = 1,
        patience: float = PATIENCE,
        reserve: bool = False,
        meters: Meters = UNMETERED,
    ) -> SQLite:
        """Open or make the file (mode 0600). Raises `StorageUnavailable`.

        :param processes: how many write; several pause between commits.
        :param reserve: keep space to take rights away on a full disk.
        :param patience: seconds to wait for another process's lock.
        """
        writer = Writer(Path(path), processes=processes, patience=patience, keeps_reserve=reserve, meters=meters)
        database = cls(Path(path), writer, patience)
        try:
            database._lock = await database._thread.make(lambda: share(Path(path)), let_go)
            await writer.open()
            database._reader = await database._thread.make(database._connect, close)
        except BaseException:
            await database.close()
            raise
        return database

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """Read one row by key."""
        rows = await self._read(sql, values)
        return rows[0] if rows else None

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """Read a few rows by key."""
        return await self._read(sql, values)

    async def scan(self, sql: str, /, **values: Value) -> list[Row]:
        """Read many rows in a thread."""
        self._refuse_inside_unit()
        return await self._in_thread(lambda: self._scan(sql, values))

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute a statement as a unit."""

        async def unit(tx: Tx) -> int:
            return await tx.run(sql, **values)

        return await self.transact(unit)

    async def change(self, sql: str, /, **values: Value) -> Row | None:
        """Execute one `… RETURNING` as a unit; return its first row."""
        return await self.transact(lambda tx: tx.one(sql, **values))

    async def transact(self, unit: Unit[T], *, ends: bool = False, upkeep: bool = False) -> T:  # noqa: ARG002 - one writer
        """Run a unit; return its result once it is durable.

        Raises also `RuntimeError`, if it awaits anything but `tx`. A failed statement ends it, as on PostgreSQL.
        """
        self._refuse_inside_unit()
        return await self._writer.transact(unit, ends=ends)

    async def changed(self) -> bool:
        """Return whether any process has committed; True at first."""
        rows = await self._read("PRAGMA data_version", {})
        before, self._seen = self._seen, int(str(rows[0][0]))
        return self._seen != before

    async def writable(self) -> bool:
        """Return whether writes are stored; after a lost group, test once a second.

        Other units prove less: an unchanged row is "stored" on a full disk too.
        """
        if self._writer.failed and monotonic() >= self._probe_at:
            self._probe_at = monotonic() + PROBE_SECONDS
            try:
                await self.run(PROBE, value=new_id())
            except StorageUnavailable:
                return False
            self._writer.failed = False
        return not self._writer.failed

    def load(self) -> Load:
        """Return whether this process writes, and how many units wait."""
        return self._writer.load()

    async def backup(self, target: Path) -> int:
        """Copy everything committed to a new file, mode 0600; return its bytes.

        Only scans wait meanwhile. Raises `OSError`, `StorageUnavailable`.
        """
        self._refuse_inside_unit()
        return await self._in_thread(lambda: self._backup(target))

    async def close(self) -> None:
        """Finish what is pending, then close."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        await self._thread.run(self._let_go)
        self._thread.close()
        let_go(self._lock)  # last, before another process may replace the file

    async def _read(self, sql: str, values: dict[str, Value]) -> list[Row]:
        self._refuse_inside_unit()
        give_up_at: float | None = None
        while True:
            try:
                return self._rows(sql, values)
            except sqlite3.Error as error:
                # In WAL mode only recovery or closing the log makes readers wait.
                give_up_at = give_up_at or monotonic() + self._patience
                if not is_busy(error) or monotonic() >= give_up_at:
                    raise self._meaning(error) from error
            await asyncio.sleep(0.001)

    def _rows(self, sql: str, values: dict[str, Value]) -> list[Row]:
        if self._reader is None:
            self._reader = self._reopened()
        # An open cursor would keep the log from shrinking.
        return self._reader.execute(sql, values).fetchall()

    def _reopened(self) -> sqlite3.Connection:
        if self._closed:
            raise StorageUnavailable("The database has been closed.")
        return connect(self._path, patience=0, query_only=True)

    def _meaning(self, error: sqlite3.Error) -> Exception:
        """Return the error to raise; drop a broken connection."""
        written = code(error) == sqlite3.SQLITE_READONLY  # `query_only`: the program's fault
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
