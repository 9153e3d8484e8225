"""Which engine the settings name."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from watchword.errors import Fault, SettingsError
from watchword.meters import UNMETERED, Meters
from watchword.settings import Settings, postgres_url
from watchword.storage.database import Database
from watchword.storage.foreign import Foreign
from watchword.storage.migrate import status
from watchword.storage.sqlite import SQLite
from watchword.storage.sqlite_foreign import reading_sqlite
from watchword.storage.watched import WatchedDatabase
from watchword.tracing import UNTRACED, Tracer

_DRIVER = "asyncpg"


async def open_database(
    settings: Settings,
    *,
    path: Path | None = None,
    reserve: bool = False,
    meters: Meters = UNMETERED,
    tracer: Tracer = UNTRACED,
) -> Database:
    """Open the database that the settings name.

    :param path: an SQLite file in its place.
    :param reserve: see `SQLite.open`.
    :raises SettingsError: a PostgreSQL that cannot be used, or no driver for it.
    :raises StorageError:
    """
    opened = await _opened(settings, path or settings.database_path, reserve=reserve, meters=meters)
    return WatchedDatabase(opened, meters, tracer) if meters.on or tracer.on else opened


async def _opened(settings: Settings, file: Path | None, *, reserve: bool, meters: Meters) -> Database:
    if file is not None:
        return await SQLite.open(file, processes=settings.workers, reserve=reserve, meters=meters)
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


def read_foreign(url: str) -> AbstractAsyncContextManager[Foreign]:
    """Open another application's database for reading: `sqlite:///path` or `postgresql://…`.

    :raises Unfit: for another URL, here or when it is entered.
    :raises StorageUnavailable: when it is entered and cannot be read.
    """
    if not postgres_url.is_postgres(url):
        return reading_sqlite(url)
    from watchword.storage.postgres_foreign import reading_postgres

    return reading_postgres(postgres_url.read(url))


def place_of(settings: Settings) -> str:
    """Where the database is, for people: without a password."""
    return (
        postgres_url.read(settings.database_url).place
        if settings.database_path is None
        else str(settings.database_path)
    )


def _hint() -> str:
    return f"in your clone: {sys.executable} -m pip install -e '.[server,postgres]'"
