"""What the storage tests share: a migrated SQLite database in a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.postgres import Databases
from watchword.storage.migrate import migrate
from watchword.storage.sqlite import SQLite

NOW = 1_800_000_000


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run on both loops: uvloop in production, asyncio's own where it is not installed."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database lies."""
    return tmp_path / "watchword.db"


@pytest.fixture
async def postgres_url(postgres: Callable[[int], Databases], version: int) -> AsyncIterator[str]:
    """An empty database of its own in a PostgreSQL of the version asked for."""
    url = await postgres(version).make()
    yield url
    await postgres(version).drop(url)


@pytest.fixture
def version() -> int:
    """Of PostgreSQL, where a test does not care."""
    return 18


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SQLite]:
    """Open and migrated."""
    database = await SQLite.open(path)
    await migrate(database, now=NOW)
    yield database
    await database.close()
