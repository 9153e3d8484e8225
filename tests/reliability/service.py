"""The service as real processes, with a clock that tests move, which may all be killed at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.e2e.server import STOP_SECONDS, UNLIMITED, Server
from tests.reliability.moved_clock import VARIABLE, MovedClock
from tests.reliability.stored import Stored, stored_at
from watchword.settings import Settings, load

ROOT = Path(__file__).parents[2]
SECRET = "cG9zdGdyZXMgdGVzdHMgbmVlZCBhIHNlY3JldCwgdG9vIQ"


class Service(Server):
    """A running `watchword serve` without limits, started by the launcher.

    :param folder: its working directory, with the data directory `data`, the logs and the file of its clock.
    :param database_url: a database in PostgreSQL; empty for SQLite.
    """

    program = (sys.executable, "-m", "tests.reliability.launcher")

    def __init__(self, folder: Path, *, database_url: str = "", workers: int = 1, **settings: str) -> None:
        self.database_url = database_url
        self.clock = MovedClock(folder / "clock")
        self.ready_after = 0.0
        """Seconds from the last start to the first answer of `/readyz`."""
        located = {"DATABASE_URL": database_url, "WATCHWORD_SECRET": SECRET} if database_url else {}
        self._given = {**UNLIMITED, **located, **settings}
        own = {VARIABLE: str(folder / "clock"), "PYTHONPATH": str(ROOT)}
        super().__init__(folder, "--workers", str(workers), **{**own, **self._given})

    def start(self) -> None:
        """Start it, wait until it is ready, and note how long that took."""
        began = time.monotonic()
        super().start()
        self.ready_after = time.monotonic() - began

    @property
    def pids(self) -> list[int]:
        """Its processes, the first one first. Linux only."""
        assert self._process is not None
        found = [self._process.pid]
        for pid in found:
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split())
        return found

    def kill(self) -> None:
        """End all its processes at once, as a power cut would. None is left to replace another."""
        assert self._process is not None
        pids = self.pids
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        self._process.wait(STOP_SECONDS)
        give_up_at = time.monotonic() + STOP_SECONDS
        while any(_lives(pid) for pid in pids):  # a worker's place and its port are free when it has gone
            assert time.monotonic() < give_up_at
            time.sleep(0.002)

    @property
    def settings(self) -> Settings:
        """Its settings, for a process beside it that shares its database."""
        own = {"WATCHWORD_DATA_DIR": str(self.data), "WATCHWORD_PUBLIC_URL": self.origin, "WATCHWORD_WORKERS": "2"}
        return load({}, {**self._given, **own}).settings

    def crashes(self) -> list[str]:
        """Return the lines of its log with a traceback, but for those that tell why the database was not available."""
        lines = self.log().splitlines()
        return [line for line in lines if "Traceback" in line and "StorageUnavailable" not in line]

    def stored(self) -> Stored:
        """What its database holds."""
        return stored_at(self.database_url or self.data / "watchword.db")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
