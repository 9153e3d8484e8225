"""SQLite connections. Call this in a thread: it may block."""

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
# Seconds between attempts: another process holds the lock for about a millisecond.
_SOON, _LATER, _AT_FIRST = 0.000_25, 0.002, 0.05
T = TypeVar("T")

PAGE_CACHE_KIB = 16_384
"""KiB of the database that each connection keeps in memory at most."""

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # commits survive a power cut; NORMAL does not sync the log
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",  # a full disk stops no savepoint
    "PRAGMA journal_size_limit = 67108864",  # bytes
    *durable_pragmas(),
)


def connect(path: Path, *, patience: float, query_only: bool = False) -> sqlite3.Connection:
    """Return a connection in autocommit with `sqlite3.Row`. Raises `StorageUnavailable`.

    `busy_timeout` is 0: no statement blocks the event loop.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise StorageUnavailable(f"SQLite 3.37 or newer is needed; this Python has {sqlite3.sqlite_version}.")
    try:
        _create_private(path)
        return patiently(lambda: _open(path, query_only), patience)
    except (OSError, sqlite3.DatabaseError) as error:
        raise unavailable(error) from error


def patiently(attempt: Callable[[], T], patience: float) -> T:
    """Repeat an attempt while the file is busy, for `patience` seconds. May block."""
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
    """Close a connection in any state; roll its transaction back."""
    if connection is None:
        return
    with suppress(sqlite3.Error):  # its locks end anyway
        connection.close()


def _create_private(path: Path) -> None:
    # Never reopen an existing file: closing it would drop this process's POSIX locks.
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
    for pragma in (*_PRAGMAS, f"PRAGMA cache_size = -{PAGE_CACHE_KIB}"):
        connection.execute(pragma).fetchall()
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        raise StorageUnavailable("The database's file system does not allow SQLite's write-ahead log.")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # opens the log now
    if query_only:
        connection.execute("PRAGMA query_only = ON").fetchall()
    connection.row_factory = sqlite3.Row
