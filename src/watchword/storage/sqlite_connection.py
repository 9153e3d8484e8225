"""Opening SQLite files the way the service needs them. Everything here may wait for the disk: call it in a thread."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from watchword.clock import monotonic
from watchword.errors import StorageUnavailable
from watchword.platforms import create_private, durable_pragmas
from watchword.storage.sqlite_faults import is_busy, unavailable

OLDEST = (3, 37, 0)
# Seconds between two attempts. Short at first: a neighbour holds the lock for about a millisecond and then leaves a gap
# of half of one.
_SOON, _LATER, _AT_FIRST = 0.000_25, 0.002, 0.05
T = TypeVar("T")

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # an answered commit survives a power cut; NORMAL would not sync the log at commit
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",  # savepoints spill to memory, not into a temporary directory that may be full
    "PRAGMA cache_size = -16384",  # KiB
    "PRAGMA journal_size_limit = 67108864",  # bytes the log keeps after it had to grow
    *durable_pragmas(),
)


def connect(path: Path, *, patience: float, query_only: bool = False) -> sqlite3.Connection:
    """An open connection in autocommit, rows as `sqlite3.Row`; `query_only` refuses every write.

    `busy_timeout` is 0, so that no statement ever waits for a lock on the event loop. Raises `StorageUnavailable`.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise StorageUnavailable(f"SQLite 3.37 or newer is needed; this Python has {sqlite3.sqlite_version}.")
    try:
        _create_private(path)
        return patiently(lambda: _open(path, query_only), patience)
    except (OSError, sqlite3.DatabaseError) as error:
        raise unavailable(error) from error


def patiently(attempt: Callable[[], T], patience: float) -> T:
    """Repeat an attempt that finds the file busy, for at most `patience` seconds. Blocks its thread."""
    give_up_at = monotonic() + patience
    started = monotonic()
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or monotonic() >= give_up_at:
                raise
        time.sleep(_SOON if monotonic() - started < _AT_FIRST else _LATER)


def close(connection: sqlite3.Connection | None) -> None:
    """Let go of a connection, whatever state it is in; an open transaction is rolled back."""
    if connection is None:
        return
    with suppress(sqlite3.Error):  # it is of no use any more, and SQLite lets go of its locks with the file
        connection.close()


def _create_private(path: Path) -> None:
    """A new file is the owner's alone; the log files beside it get the same mode from SQLite."""
    # Never opened and closed when it exists: that would drop every POSIX lock this process holds on the file.
    with suppress(FileExistsError):
        os.close(create_private(path))


def _open(path: Path, query_only: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=1024)
    try:
        _prepare(connection, query_only)
    except BaseException:
        close(connection)
        raise
    return connection


def _prepare(connection: sqlite3.Connection, query_only: bool) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma).fetchall()
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        raise StorageUnavailable("The database's file system does not allow SQLite's write-ahead log.")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # opens the log now, not under a request
    if query_only:
        connection.execute("PRAGMA query_only = ON").fetchall()
    connection.row_factory = sqlite3.Row
