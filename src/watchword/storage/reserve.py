"""Reserved space: a file beside the database, deleted when the disk is full.

Then only what takes rights away (log-outs) is stored, until the file fits again. Call this in a thread: it may block.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from watchword.platforms import allocate

RESERVE_BYTES = 8 * 1024 * 1024
"""For SQLite's log (4 MiB) and ten thousand log-outs."""

_A_LITTLE = 1024 * 1024
_CHUNK = bytes(64 * 1024)


class Reserve:
    """One database's file; the first process with a full disk deletes it."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + "-reserve")
        self._room = database.parent

    def keep(self) -> bool:
        """Make the file if twice its size is free; return whether it exists."""
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
        """Return whether the file and a little more fit again."""
        try:
            beside = shutil.disk_usage(self._room).free
        except OSError:
            return False
        return self.keep() and (beside >= _A_LITTLE)

    def _write(self) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            if not allocate(handle, RESERVE_BYTES):
                # A sparse file reserves nothing.
                for _ in range(RESERVE_BYTES // len(_CHUNK)):
                    file.write(_CHUNK)

    def release(self) -> None:
        """Delete the file."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
