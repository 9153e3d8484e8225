"""Do not wait until SQLite's writes are on the disk: most of what a commit takes. No test cuts the power.

A process that is killed loses nothing by it. It loads nothing of tests, since real servers start with it.
"""

from __future__ import annotations

from watchword.storage import sqlite_connection

SYNCED = sqlite_connection._PRAGMAS
_FULL = "PRAGMA synchronous = FULL"
_UNSYNCED = tuple("PRAGMA synchronous = OFF" if each == _FULL else each for each in SYNCED)
assert _FULL in SYNCED


def leave_unsynced() -> None:
    """Wait for no disk from now on, on connections that are opened from now on."""
    sqlite_connection._PRAGMAS = _UNSYNCED


def sync() -> None:
    """Wait as the product does."""
    sqlite_connection._PRAGMAS = SYNCED
