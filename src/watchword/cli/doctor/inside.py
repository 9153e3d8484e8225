"""What the checks from inside share: the settings, and the database, opened to read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from watchword.cli.doctor.findings import Unseen
from watchword.errors import SettingsError, StorageError
from watchword.settings import Loaded, Settings
from watchword.storage import migrate
from watchword.storage.database import Database
from watchword.storage.opening import open_database
from watchword.tokens.keys import SigningKey


class Inside:
    """The settings of the deployment, and its database if there is one.

    :param fault: why the database is not open.
    :param backups: where the operator says that backups are.
    """

    def __init__(self, loaded: Loaded, database: Database | None, fault: str, backups: Path | None) -> None:
        self.loaded = loaded
        self.settings: Settings = loaded.settings
        self.fault = fault
        self.backups = backups
        self.migrated = False
        self.signing: SigningKey | None = None
        self._database = database

    @property
    def database(self) -> Database:
        """Return the open database. :raises Unseen: there is none."""
        if self._database is None:
            raise Unseen(f"the database is not open: {self.fault}")
        return self._database

    @property
    def tables(self) -> Database:
        """Return the database, once its schema is known to be ours. :raises Unseen:"""
        if not self.migrated:
            raise Unseen("the database has not this version's schema")
        return self.database


@asynccontextmanager
async def opened(loaded: Loaded, backups: Path | None) -> AsyncIterator[Inside]:
    """Open the database without a change: nothing is made, and nothing is migrated."""
    database, fault = None, ""
    try:
        if loaded.settings.database_path is not None and not loaded.settings.database_path.exists():
            fault = f"there is no file {loaded.settings.database_path}"
        else:
            database = await open_database(loaded.settings)
    except (StorageError, SettingsError) as error:
        fault = " ".join(str(error).split())
    try:
        yield Inside(loaded, database, fault, backups)
    finally:
        if database is not None:
            await database.close()


def has_database(settings: Settings) -> bool:
    """Tell whether there is a SQLite file where the settings say."""
    return settings.database_path is not None and settings.database_path.exists()


async def schema(database: Database) -> migrate.Status:
    """Return how far the database is migrated. :raises SchemaMismatch:"""
    return await migrate.status(database)
