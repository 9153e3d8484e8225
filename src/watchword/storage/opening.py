"""Which engine the settings name."""

from __future__ import annotations

import sys
from pathlib import Path

from watchword.errors import Fault, SettingsError
from watchword.settings import Settings, postgres_url
from watchword.storage.database import Database
from watchword.storage.migrate import status
from watchword.storage.sqlite import SQLite

_DRIVER = "asyncpg"


async def open_database(settings: Settings, *, path: Path | None = None, reserve: bool = False) -> Database:
    """Open the database that the settings name.

    :param path: an SQLite file in its place.
    :param reserve: see `SQLite.open`.
    :raises SettingsError: a PostgreSQL that cannot be used, or no driver for it.
    :raises StorageError:
    """
    file = path or settings.database_path
    if file is not None:
        return await SQLite.open(file, processes=settings.workers, reserve=reserve)
    try:
        # Only now: who uses SQLite needs no driver and does not pay for its import.
        from watchword.storage.postgres import Postgres
    except ModuleNotFoundError as error:
        if error.name != _DRIVER:
            raise
        raise SettingsError(
            (Fault("WATCHWORD_DATABASE_URL", "names PostgreSQL, and the driver of PostgreSQL is missing", _hint()),)
        ) from None
    return await Postgres.open(settings.database_url)


async def is_new(settings: Settings) -> bool:
    """Whether the settings name a database that Watchword has not been in: no file, or one without our tables.

    :raises SettingsError: as `open_database` does.
    :raises StorageError:
    """
    if settings.database_path is not None:
        return not settings.database_path.exists()
    database = await open_database(settings)
    try:
        return (await status(database)).version == 0
    finally:
        await database.close()


def place_of(settings: Settings) -> str:
    """Where the database is, for people: without a password."""
    return (
        postgres_url.read(settings.database_url).place
        if settings.database_path is None
        else str(settings.database_path)
    )


def _hint() -> str:
    return f"in your clone: {sys.executable} -m pip install '.[server,postgres]'"
