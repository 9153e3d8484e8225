"""Runs the real `watchword` command with a clock that reads a file: `python -m tests.reliability.launcher serve …`.

The package reads the time in `clock.py` only, and its clock is made with a function to read. This module gives it
another one. It does so when it is loaded, since worker processes load the main module anew. It also has the service
sweep more often, hash cheaply or keep fewer pages, if that is wanted. The shipped program has no such seam.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.reliability.moved_clock import CHEAP_HASHES, PAGE_CACHE, SWEEPS, VARIABLE, MovedClock
from watchword import background
from watchword.clock import SystemClock
from watchword.storage import sqlite_connection

moved = MovedClock(Path(os.environ[VARIABLE]))
assert SystemClock.__init__.__defaults__ is not None
SystemClock.__init__.__defaults__ = (moved.read,)
background.SWEEP_SECONDS = int(os.environ.get(SWEEPS, background.SWEEP_SECONDS))
sqlite_connection.PAGE_CACHE_KIB = int(os.environ.get(PAGE_CACHE, sqlite_connection.PAGE_CACHE_KIB))
if os.environ.get(CHEAP_HASHES):
    from tests.cheap_hashes import cheapen

    cheapen()

if __name__ == "__main__":
    from watchword.cli import main

    main()
