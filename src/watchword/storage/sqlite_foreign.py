"""Another application's SQLite file, opened for reading."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from watchword.errors import StorageUnavailable
from watchword.settings import postgres_url
from watchword.settings.values import Unfit
from watchword.storage.foreign import PAGE, Foreign, Table
from watchword.storage.sqlite_connection import patiently

_PATIENCE = 10.0


@asynccontextmanager
async def reading_sqlite(url: str) -> AsyncIterator[Foreign]:
    """Open `sqlite:///path` for reading. Raises `Unfit` for another URL, `StorageUnavailable`."""
    with closing(_opened(url)) as connection:
        yield _SQLiteFile(connection)


def _opened(url: str) -> sqlite3.Connection:
    scheme, _, path = url.partition(":///")
    if scheme.lower().partition("+")[0] != "sqlite" or not path:
        raise Unfit("is no URL of a database", f"write sqlite:///path/to/file or {postgres_url.FORM}")
    file = Path(unquote(path))
    if not file.is_file():
        raise Unfit(
            f"names {file}, and there is no such file", "four slashes begin an absolute path: sqlite:////srv/app.db"
        )
    with _readable():
        connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=0)
    connection.row_factory = sqlite3.Row
    return connection


class _SQLiteFile:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def columns(self, table: str) -> set[str]:
        return {row["name"] for row in self._all("SELECT name FROM pragma_table_info(?)", table)}

    async def count(self, table: str) -> int:
        return int(self._all(f'SELECT COUNT(*) FROM "{table}"')[0][0])

    async def rows(self, table: Table) -> AsyncIterator[Mapping[str, Any]]:
        rest = f'WHERE "{table.key}" > ? ORDER BY "{table.key}" LIMIT {PAGE}'
        page = self._all(table.select(f'ORDER BY "{table.key}" LIMIT {PAGE}'))
        while page:
            for row in page:
                yield dict(row)
            page = self._all(table.select(rest), page[-1]["_key"])

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with _readable():
            return patiently(lambda: self._connection.execute(sql, values).fetchall(), _PATIENCE)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageUnavailable("The other application's database cannot be read.") from error
