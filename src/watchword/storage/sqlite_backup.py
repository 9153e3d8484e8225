"""A copy of a SQLite database while it is in use: everything committed before it began, in one file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from watchword.platforms import create_private, sync_directory, sync_file

_unfinished: set[Path] = set()
"""What this process is writing just now: a signal handler that ends it removes that first."""


def remove_unfinished() -> None:
    """Remove what `copy_to` has begun: for a signal handler that is about to end the process."""
    for path in tuple(_unfinished):
        with suppress(OSError):
            path.unlink()


def copy_to(connection: sqlite3.Connection, target: Path) -> int:
    """Write a copy of the connection's database; how many bytes it has. Blocks its thread, and no writer.

    The name appears when the copy is complete and on the disk, and never replaces what is there. Mode 0600.

    :param connection: in autocommit and not `query_only`, which would refuse to write the copy as well.
    :raises FileExistsError: there is something of this name.
    :raises OSError: it cannot be made there.
    :raises sqlite3.Error: it cannot be read, or written.
    """
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists already")
    unfinished = target.with_name(f".{target.name}.{token_hex(8)}")
    _unfinished.add(unfinished)
    try:
        # VACUUM INTO accepts an empty file, so the copy is never readable by others, not even at first.
        os.close(create_private(unfinished))
        # One read transaction: WAL mode shows it one state, however much is written meanwhile. What was deleted is not
        # copied, and the copy needs no log beside it.
        connection.execute("VACUUM INTO :path", {"path": os.path.abspath(unfinished)}).fetchall()
        sync_file(unfinished)  # SQLite does not, for a file that no one knows yet
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
        os.link(unfinished, target)  # fails when there is something, where a rename would replace it
    except FileExistsError:
        raise
    except OSError:  # a disk for backups may have a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists already") from None
        unfinished.rename(target)
