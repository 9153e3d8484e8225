"""A clock that reads in a file how far it is moved: tests write it, the service's processes read it."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

VARIABLE = "RELIABILITY_CLOCK"
SWEEPS = "RELIABILITY_SWEEP_SECONDS"
"""How often the service deletes what has expired; by default each minute, of the machine's time."""
CHEAP_HASHES = "RELIABILITY_CHEAP_HASHES"
"""Set to 1, passwords are hashed at the least cost, for experiments that ask what is stored and not what it takes."""
PAGE_CACHE = "RELIABILITY_PAGE_CACHE_KIB"
"""KiB of the database that each connection to SQLite keeps in memory; by default 16 MiB."""
_STATE = struct.Struct("dd")  # seconds to add, and the time at which it stands still or 0


class MovedClock:
    """The machine's clock, moved or stopped by a file that is mapped into memory."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(_STATE.pack(0.0, 0.0))
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), _STATE.size)

    def read(self) -> float:
        """Return seconds since 1970 UTC, as the service has them."""
        added, stopped = _STATE.unpack_from(self._map)
        return float(stopped or time.time()) + float(added)

    def advance(self, seconds: float) -> None:
        """Move it on, or back."""
        added, stopped = _STATE.unpack_from(self._map)
        _STATE.pack_into(self._map, 0, added + seconds, stopped)

    def stop(self) -> None:
        """Let it stand still: from now on only `advance` moves it."""
        added, stopped = _STATE.unpack_from(self._map)
        _STATE.pack_into(self._map, 0, added, stopped or float(int(time.time())))
