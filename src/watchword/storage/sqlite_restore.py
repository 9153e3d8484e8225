"""Put a backup in a database's place, in one step: the name always means one whole database."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

from watchword.platforms import POSIX, give_to_owner, sync, sync_directory, sync_file
from watchword.storage.sqlite_connection import close
from watchword.storage.sqlite_faults import is_busy
from watchword.storage.sqlite_lock import InUse

_TABLES = ("ww_meta", "ww_schema", "ww_users")
_BESIDE = ("-wal", "-shm", "-journal")


class Unusable(Exception):
    """The file cannot be restored; the text says why."""


@contextlib.contextmanager
def prepared(backup: Path, path: Path) -> Iterator[Path]:
    """Yield a checked copy of the backup beside the database, mode 0600; remove it unless put in place.

    Removes older copies too, so the process must have the database to itself.

    :raises Unusable: it is damaged, or not Watchword's.
    :raises OSError: a file cannot be read or written.
    """
    _remove_unfinished(path)
    backup = Path(os.path.realpath(backup))  # SQLite's log is beside the file, not a link
    copy = path.with_name(f".{path.name}.restoring-{token_hex(8)}")
    log = backup.with_name(f"{backup.name}-wal")
    try:
        _copy(backup, copy)
        if log.exists() and _has_log(copy):
            _copy(log, copy.with_name(f"{copy.name}-wal"))
        _check(copy)
        yield copy
    except sqlite3.DatabaseError as error:  # our tables' names, other columns
        raise Unusable(str(error)) from error
    finally:
        _remove_unfinished(path)


def put_in_place(copy: Path, path: Path, kept: str) -> Path | None:
    """Give the copy the database's name; return the former database's new path, if any.

    :param kept: its name; a number is added if taken.
    :raises InUse: a process has opened it.
    :raises OSError: all is done, or nothing.
    """
    _own(copy, path)
    with contextlib.closing(sqlite3.connect(copy, timeout=0, isolation_level=None)) as connection:
        _fold(connection)
    sync_file(copy)
    with _folded(path):
        former = _keep(path, kept)
        sync_directory(path.parent)
        os.replace(copy, path)
    sync_directory(path.parent)
    return former


def _copy(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        sync(writer.fileno())


def _has_log(copy: Path) -> bool:
    """Return whether the copy can have a log (byte 19, https://sqlite.org/fileformat2.html).

    `watchword backup` makes none, yet SQLite would apply another database's.
    """
    with copy.open("rb") as file:
        return file.read(20)[19:] == b"\x02"


def _check(copy: Path) -> None:
    """Refuse a damaged or foreign copy."""
    connection = sqlite3.connect(copy, timeout=0, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF").fetchall()
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        columns = {row[1] for row in connection.execute("PRAGMA table_info(ww_schema)")}
    except sqlite3.DatabaseError as error:
        raise Unusable(str(error)) from error
    finally:
        close(connection)
    if found != ["ok"]:
        raise Unusable(" ".join(found[0].split()))
    if not names.issuperset(_TABLES) or not columns.issuperset({"version", "name"}):
        raise Unusable("it is no database of Watchword")


def _fold(connection: sqlite3.Connection) -> None:
    """Write the log into the file, which SQLite does for an only connection."""
    connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    connection.execute("BEGIN EXCLUSIVE")


@contextlib.contextmanager
def _folded(path: Path) -> Iterator[None]:
    """Lock the former database as one file, if readable."""
    if not path.exists():
        yield
        return
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        _fold(connection)
    except sqlite3.DatabaseError as error:  # damaged: kept as it is
        if is_busy(error):
            close(connection)
            raise InUse from error
    if not POSIX:  # Windows replaces no open file
        close(connection)
    try:
        yield
    finally:
        close(connection)


def _keep(path: Path, kept: str) -> Path | None:
    """Link the former database and its log under a free name; unlink the log here."""
    former = _free(path.with_name(kept))
    there = [suffix for suffix in ("", *_BESIDE) if path.with_name(path.name + suffix).exists()]
    for suffix in there:
        _second_name(path.with_name(path.name + suffix), former.with_name(former.name + suffix))
    sync_directory(path.parent)
    for suffix in there:
        if suffix:  # SQLite would apply it
            path.with_name(path.name + suffix).unlink()
    return former if "" in there else None


def _second_name(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError:  # no hard links here
        _copy(path, name)


def _free(path: Path) -> Path:
    number, found = 1, path
    while any(os.path.lexists(found.with_name(found.name + suffix)) for suffix in ("", *_BESIDE)):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def _own(copy: Path, path: Path) -> None:
    """Give the copy the former owner; root restores for the service's user."""
    with copy.open("rb") as file:
        give_to_owner(file.fileno(), path if path.exists() else path.parent)


def _remove_unfinished(path: Path) -> None:
    for each in path.parent.iterdir():
        if each.name.startswith(f".{path.name}.restoring-"):
            with contextlib.suppress(OSError):
                each.unlink()
