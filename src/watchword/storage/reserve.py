"""Space kept back: a file beside the database that is given up when the disk is full.

Then what takes rights away (log-out, ending sessions, disabling) is still stored, and nothing else is, until there is
room for the file again. Everything here may wait for the disk: call it in a thread.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from watchword.platforms import allocate

RESERVE_BYTES = 8 * 1024 * 1024
"""Enough for the log of SQLite to come round (4 MiB) and for ten thousand log-outs."""

_A_LITTLE = 1024 * 1024
_CHUNK = bytes(64 * 1024)


class Reserve:
    """The file beside one database. Several processes may share it: the first that meets the full disk gives it up."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + "-reserve")
        self._room = database.parent

    def keep(self) -> bool:
        """Make the file unless it is there; whether it is. Not where it would take most of what is left."""
        if self.path.exists():
            return True
        try:
            if shutil.disk_usage(self._room).free < 2 * RESERVE_BYTES:
                return False
            self._write()
        except OSError:
            self.release()
            return False
        return True

    def has_room(self) -> bool:
        """Return whether there is space again: for the file, and for a little beside it."""
        try:
            beside = shutil.disk_usage(self._room).free
        except OSError:
            return False
        return self.keep() and (beside >= _A_LITTLE)

    def _write(self) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            if not allocate(handle, RESERVE_BYTES):
                # Written, not made sparse: a hole keeps no space.
                for _ in range(RESERVE_BYTES // len(_CHUNK)):
                    file.write(_CHUNK)

    def release(self) -> None:
        """Give the space up."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
