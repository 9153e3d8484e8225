"""A full disk refuses what adds to it, and still takes rights away (B6)."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.identity.scenes import HOME, Opener, claims_of, join, log_in, operator, recorded
from watchword.clock import FixedClock
from watchword.errors import StorageUnavailable, TokenError
from watchword.identity.kernel import Kernel
from watchword.settings.table import SETTINGS
from watchword.storage import sqlite_units
from watchword.storage.reserve import RESERVE_BYTES, Reserve
from watchword.storage.sqlite_connection import connect

pytestmark = pytest.mark.sqlite

_PAGE = 4096
UNLIMITED = {setting.name: "off" for setting in SETTINGS if setting.name.endswith("_limit")}


class Disk:
    """A disk that holds what is there now: another page fits only where the reserve stood."""

    def __init__(self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reserve = Reserve(kernel.settings.database_path)
        self._writer = kernel.database._writer  # type: ignore[attr-defined]
        self._pages = self._writer._connection.execute("PRAGMA page_count").fetchone()[0]
        self.full = True
        monkeypatch.setattr(sqlite_units, "connect", self._connect)
        monkeypatch.setattr(Reserve, "keep", self._keep)
        self._cap(self._writer._connection)

    def _connect(self, path: Path, **options: Any) -> sqlite3.Connection:
        connection = connect(path, **options)
        self._cap(connection)
        return connection

    def _cap(self, connection: sqlite3.Connection) -> None:
        if self.full:
            more = 0 if self.reserve.path.exists() else RESERVE_BYTES // _PAGE
            connection.execute(f"PRAGMA max_page_count = {self._pages + more}")

    def _keep(self, _: Reserve | None = None) -> bool:
        if not self.full:
            self.reserve.path.touch()
        return self.reserve.path.exists()


async def _fill(kernel: Kernel) -> None:
    """Log in until that is refused."""
    for _ in range(300):
        await log_in(kernel, "filler")
    pytest.fail("the disk never was full")


async def test_log_out_ending_and_disabling_work_on_a_full_disk(
    open_kernel: Opener, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-ins meet the full disk and are refused from then on; ending goes on, until there is room for all again."""
    async with open_kernel(**UNLIMITED) as kernel:
        user, other = await join(kernel), await join(kernel, "other")
        await join(kernel, "filler")
        held = [await log_in(kernel) for _ in range(5)]
        others = await log_in(kernel, "other")
        disk = Disk(kernel, monkeypatch)
        assert disk.reserve.path.exists()
        with pytest.raises(StorageUnavailable):
            await _fill(kernel)
        for _ in range(20):
            with pytest.raises(StorageUnavailable):
                await log_in(kernel, "filler")
        assert disk.reserve.path.exists(), "it is for what takes rights away"
        sessions = kernel.sessions
        await sessions.log_out(claims=claims_of(kernel, held[0]), presented=None, client=HOME)
        await sessions.log_out(claims=None, presented=held[1].tokens.refresh_token, client=HOME)
        ended = claims_of(kernel, held[2]).sid
        assert ended is not None
        caller = claims_of(kernel, held[4])
        await sessions.end(caller, ended, client=HOME)
        assert await sessions.end_others(caller, client=HOME) == 1
        await operator(kernel).disable(other.id)
        for gone in (*held[:4], others):
            with pytest.raises(TokenError):
                claims_of(kernel, gone)
        assert not await kernel.database.writable()
        disk.full = False
        kernel.database._writer._asked_at = float("-inf")  # type: ignore[attr-defined]  # a second later
        await log_in(kernel)
        assert disk.reserve.path.exists()
        assert len([row for row in await recorded(kernel, "ww_sessions") if row["user_id"] == user.id]) == 6


async def test_the_first_to_meet_the_full_disk_may_be_a_log_out(
    open_kernel: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored at once, with the reserve: whoever logs out hears of nothing."""
    async with open_kernel(**UNLIMITED) as kernel:
        await join(kernel)
        held = [await log_in(kernel) for _ in range(90)]
        disk = Disk(kernel, monkeypatch)
        for one in held:
            await kernel.sessions.log_out(claims=claims_of(kernel, one), presented=None, client=HOME)
        assert not disk.reserve.path.exists(), "ninety log-outs never needed another page"


async def test_the_reserve_is_kept_while_the_service_runs(open_kernel: Opener, tmp_path: Path) -> None:
    """Made by the service, its owner's alone, really taken from the disk, and gone with it; commands make none."""
    async with open_kernel(serves=False) as kernel:
        path = Reserve(kernel.settings.database_path).path
        assert not path.exists()
    async with open_kernel():
        assert path.stat().st_size == RESERVE_BYTES
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_blocks * 512 >= RESERVE_BYTES
        async with open_kernel(serves=False):
            pass
        assert path.exists()
    assert not path.exists()
