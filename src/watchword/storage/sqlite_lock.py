"""A lock beside the database, held longer than any connection.

SQLite's own locks end with connections. This one lets a command replace the file while no other process uses it.
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
# The bytes that SQLite locks in WAL mode (https://sqlite.org/fileformat2.html, lock-byte page).
_FIRST_BYTE, _BYTES = 0x40000000, 512


class InUse(Exception):
    """Another process has the database open."""


class BeingReplaced(StorageUnavailable):
    """Another process is replacing the database."""


def share(path: Path) -> int:
    """Share the lock; return what `let_go` takes.

    :raises StorageUnavailable: there is no lock; `BeingReplaced` during a restore.
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
    """Release what `share` took."""
    if descriptor is not None:
        os.close(descriptor)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Exclude all other processes.

    Never with the database open: closing the file would drop its own SQLite locks.

    :raises InUse: another process has it open.
    """
    descriptor = _descriptor(path)
    try:
        if not lock(descriptor, alone=True) or held_by_sqlite(path):
            raise InUse
        yield
    finally:
        os.close(descriptor)


def held_by_sqlite(path: Path) -> bool:
    """Return whether SQLite's locks show another process."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # missing, or not writable
        return False
    try:
        return is_range_locked(descriptor, _FIRST_BYTE, _BYTES)
    finally:
        os.close(descriptor)


def _descriptor(path: Path) -> int:
    """Open the lock file. It is never removed: two processes could lock two files."""
    real = Path(os.path.realpath(path))
    descriptor = os.open(real.with_name(real.name + _SUFFIX), os.O_RDONLY | os.O_CREAT, 0o600)
    # Root may come first; the service's user must open it too.
    give_to_owner(descriptor, real if real.exists() else real.parent)
    return descriptor
