"""Which processes use a database file: a lock in a file beside it, held from before opening until after the last close.

SQLite's own locks come and go with its connections. This one lasts, so that a command which replaces the file knows
that no process is about to open it, and none still writes to the one before.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from watchword.errors import StorageUnavailable
from watchword.platforms import give_to_owner, is_range_locked, lock
from watchword.storage.sqlite_faults import unavailable

_SUFFIX = ".lock"
# The bytes that SQLite locks (https://sqlite.org/fileformat2.html, the lock-byte page): every open connection in WAL
# mode holds some of them.
_FIRST_BYTE, _BYTES = 0x40000000, 512


class InUse(Exception):
    """Another process has the database open."""


class BeingReplaced(StorageUnavailable):
    """Another process has the database for itself, and is about to put another in its place."""


def share(path: Path) -> int:
    """Say that this process uses the database; answers what `let_go` takes.

    :raises StorageUnavailable: the lock cannot be made; `BeingReplaced`, while that goes on.
    """
    try:
        descriptor = _descriptor(path)
    except OSError as error:
        raise unavailable(error) from error
    if lock(descriptor, alone=False):
        return descriptor
    os.close(descriptor)
    raise BeingReplaced("The database is being replaced by `watchword restore`.")


def let_go(descriptor: int | None) -> None:
    """Give up what `share` took."""
    if descriptor is not None:
        os.close(descriptor)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep every other process of Watchword from the database meanwhile.

    Not for a process that has the database open itself: looking at SQLite's locks would give up its own.

    :raises InUse: a process holds it, be it one of ours or another that uses SQLite.
    """
    descriptor = _descriptor(path)
    try:
        if not lock(descriptor, alone=True) or held_by_sqlite(path):
            raise InUse
        yield
    finally:
        os.close(descriptor)


def held_by_sqlite(path: Path) -> bool:
    """Return whether another process has it open, also one of a version that knows no lock beside the file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # not there, or not ours to write
        return False
    try:
        return is_range_locked(descriptor, _FIRST_BYTE, _BYTES)
    finally:
        os.close(descriptor)


def _descriptor(path: Path) -> int:
    """The lock's file, made if need be: never removed, or two processes could hold two of them."""
    real = Path(os.path.realpath(path))
    descriptor = os.open(real.with_name(real.name + _SUFFIX), os.O_RDONLY | os.O_CREAT, 0o600)
    # Root may run a command beside a service of another user, who has to be able to open this file as well.
    give_to_owner(descriptor, real if real.exists() else real.parent)
    return descriptor
