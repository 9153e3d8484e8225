"""Another application's PostgreSQL database: one snapshot, in which nothing can be written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from watchword.errors import StorageUnavailable
from watchword.settings.postgres_url import PostgresUrl
from watchword.storage import postgres_connection, postgres_faults
from watchword.storage.foreign import PAGE, Foreign, Table
from watchword.storage.postgres_hosts import Hosts

_LIMITS = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"


@asynccontextmanager
async def reading_postgres(url: PostgresUrl) -> AsyncIterator[Foreign]:
    """Open a database for reading. Raises `StorageUnavailable`."""
    with _readable():
        frame = postgres_connection.through_pgbouncer(durable=True)
        connection = await postgres_connection.connect(url, Hosts(url), frame)
    try:
        with _readable():
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(_LIMITS)
                yield _PostgresServer(connection)
    finally:
        connection.terminate()


class _PostgresServer:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def columns(self, table: str) -> set[str]:
        sql = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
        return {row[0] for row in await self._connection.fetch(sql, f'"{table}"')}

    async def count(self, table: str) -> int:
        return int(await self._connection.fetchval(f'SELECT COUNT(*) FROM "{table}"'))

    async def rows(self, table: Table) -> AsyncIterator[Mapping[str, Any]]:
        async for row in self._connection.cursor(table.select(), prefetch=PAGE):
            yield dict(row)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not postgres_faults.is_of_driver(error):
            raise
        raise StorageUnavailable("The other application's database cannot be read.") from error
