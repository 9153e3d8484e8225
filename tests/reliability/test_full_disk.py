"""A file system that is really full: log-in is refused, log-out and disabling work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.identity.scenes import HOME, claims_of, join, log_in
from watchword.errors import StorageUnavailable, TokenError
from watchword.identity.kernel import Kernel
from watchword.opening import opened
from watchword.settings import Settings
from watchword.settings.table import SETTINGS
from watchword.storage.reserve import RESERVE_BYTES

_SIZE = 5 * RESERVE_BYTES
UNLIMITED = {setting.name: "off" for setting in SETTINGS if setting.name.endswith("_limit")}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of forty MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def _fill(kernel: Kernel) -> None:
    """Log in until that is refused."""
    for _ in range(5_000):
        await log_in(kernel)


async def test_rights_are_taken_away_on_a_file_system_that_is_full(small: Path) -> None:
    """Another program takes the last byte; then a hundred log-outs and a disabling are stored and answered."""
    async with opened(Settings(data_dir=small, **UNLIMITED)) as kernel:  # type: ignore[arg-type]
        user = await join(kernel)
        held = [await log_in(kernel) for _ in range(100)]
        with (small / "other").open("wb", buffering=0) as other:
            for _ in range(3):  # it goes on after log-ins have met the full disk
                with suppress(OSError):
                    while True:
                        os.write(other.fileno(), bytes(4096))
                with pytest.raises(StorageUnavailable):
                    await _fill(kernel)
        for one in held[-90:-1]:
            await kernel.sessions.log_out(claims=None, presented=one.tokens.refresh_token, client=HOME)
            with pytest.raises(TokenError):
                claims_of(kernel, one)
        with pytest.raises(StorageUnavailable):
            await log_in(kernel)
        await kernel.users.disable(user.id, client=HOME)
        with pytest.raises(TokenError):
            claims_of(kernel, held[-1])
