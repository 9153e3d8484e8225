"""A SQLite file with our tables and no row of ours: to make them takes longer than what most tests do with them."""

from __future__ import annotations

import asyncio
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tests.postgres import MIGRATED_AT
from watchword.settings import Settings
from watchword.storage.migrate import migrate
from watchword.storage.opening import open_database


def prepare(folder: Path) -> None:
    """Put the file where the service would make it, unless there is one."""
    path = Settings(data_dir=folder).database_path
    assert path is not None
    if not path.exists():
        folder.mkdir(0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(_made())


@cache
def _made() -> bytes:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as apart:  # a loop may run in this thread
        return apart.submit(asyncio.run, _make(Settings(data_dir=Path(folder)))).result()


async def _make(settings: Settings) -> bytes:
    database = await open_database(settings)
    await migrate(database, now=MIGRATED_AT)
    await database.close()
    assert settings.database_path is not None
    return settings.database_path.read_bytes()
