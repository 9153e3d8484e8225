"""Copy a SQLite database in use."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from watchword.platforms import create_private, sync_directory, sync_file

_unfinished: set[Path] = set()
"""Removed when a signal ends the process."""


def remove_unfinished() -> None:
    """Remove unfinished copies, in a signal handler."""
    for path in tuple(_unfinished):
        with suppress(OSError):
            path.unlink()


def copy_to(connection: sqlite3.Connection, target: Path) -> int:
    """Copy the database to a new file, mode 0600; return its bytes. Blocks no writer.

    The name appears when the copy is on the disk; it replaces no file.

    :param connection: in autocommit, not `query_only`.
    :raises FileExistsError: the name is taken.
    :raises OSError: the file cannot be made.
    :raises sqlite3.Error: reading or writing failed.
    """
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists already")
    unfinished = target.with_name(f".{target.name}.{token_hex(8)}")
    _unfinished.add(unfinished)
    try:
        # VACUUM INTO accepts an empty file, so others can never read it.
        os.close(create_private(unfinished))
        # One read transaction; deleted data is not copied.
        connection.execute("VACUUM INTO :path", {"path": os.path.abspath(unfinished)}).fetchall()
        sync_file(unfinished)  # SQLite does not
        size = unfinished.stat().st_size
        _name(unfinished, target)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()
        _unfinished.discard(unfinished)
    sync_directory(target.parent)
    return size


def _name(unfinished: Path, target: Path) -> None:
    try:
        os.link(unfinished, target)  # a rename would replace a file
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists already") from None
        unfinished.rename(target)
