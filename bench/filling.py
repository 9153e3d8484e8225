"""Fills a database in bulk with users who each have three live sessions, on both engines."""

from __future__ import annotations

import secrets
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg

from bench.postgres_server import postgres
from bench.servers import NO_LIMITS
from watchword import opaque
from watchword.identity.hashing import ARGON2ID
from watchword.identity.issuing import FIRST_PARTY
from watchword.settings import Settings, load

SESSIONS_EACH = 3
SWEEPS, EACH = 5, 1_000
"""Sweeps that find something, and how many dead sessions each of them finds."""

DEAD = SWEEPS * EACH

PASSWORD = "a long horse of 42 batteries"
DAY = 86_400
USER = (
    *("id", "username", "username_key", "email", "email_key", "email_verified_at", "password_hash", "roles"),
    *("token_version", "created_at", "updated_at", "password_set_at", "last_login_at"),
)
SESSION = (
    *("id", "handle_hash", "user_id", "client_id", "scope", "amr", "auth_time", "generation", "created_at"),
    *("rotated_at", "prev_rotated_at", "idle_expires_at", "expires_at", "access_until", "grace_elsewhere", "address"),
    *("agent", "ended_at"),
)
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
Rows = Iterator[tuple[Any, ...]]


@dataclass(frozen=True)
class Engine:
    """A database to fill: the settings that lead to it, how rows come in, and what each table takes."""

    settings: Settings
    insert: Callable[[str, tuple[str, ...], Rows], Awaitable[None]]
    sizes: Callable[[], Awaitable[dict[str, int]]]
    """Bytes of each table with its indexes."""


def handle(place: int) -> bytes:
    """Return the secret handle of a session."""
    return sha256(b"session %d" % place).digest()[: opaque.HANDLE_BYTES]


def name_of(place: int) -> str:
    """Return the name of a user."""
    return f"reader.{place}"


def user_id(place: int) -> str:
    """Return the id of a user."""
    return _id(place, 0)


def owner_of(session: int, count: int) -> int:
    """Return whose session it is: each user's three lie far apart, as log-ins of different days do."""
    return session % count


def _id(place: int, kind: int) -> str:
    """Ids rise with time, as the product's do."""
    return f"0198{place >> 16:04x}-{place & 0xFFFF:04x}-7000-8000-{kind:012x}"


def ended_at(sweep: int, now: int) -> int:
    """Return when the sessions ended that a sweep finds; it finds none of the next one's, two days later."""
    return now - (40 - 5 * sweep) * DAY


def users(count: int, now: int) -> Rows:
    """Yield rows of users, all with the same password."""
    password = ARGON2ID.hash(PASSWORD)
    for place in range(count):
        name = name_of(place)
        address = f"{name}@example.org"
        times = (now - DAY, now - DAY, now - DAY, now - DAY)
        yield user_id(place), name, name, address, address, now - DAY, password, "", 1, *times


def sessions(count: int, now: int) -> Rows:
    """Yield live sessions of so many users, and dead ones in front of them."""
    for place in range(-DEAD, count * SESSIONS_EACH):
        dead = place < 0
        until = ended_at(-place % SWEEPS, now) if dead else now + 30 * DAY
        owner = user_id(owner_of(abs(place), count))
        fingerprint = opaque.fingerprint(handle(place))
        times = (now - DAY, 0, now - DAY, now - 3600, now - 7200, until, until, until, 0)
        ended = until if dead else None
        yield (
            _id(abs(place), 2 if dead else 1),
            fingerprint,
            owner,
            FIRST_PARTY,
            "",
            "pwd",
            *times,
            "203.0.113.7",
            AGENT,
            ended,
        )


async def fill(engine: Engine, count: int, now: int) -> None:
    """Insert so many users and their sessions into a migrated database."""
    await engine.insert("ww_users", USER, users(count, now))
    await engine.insert("ww_sessions", SESSION, sessions(count, now))


@asynccontextmanager
async def sqlite_engine() -> AsyncIterator[Engine]:
    """Make a SQLite file."""
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as folder:
        settings = _settings({"WATCHWORD_DATA_DIR": folder})
        path = settings.database_path
        assert path is not None
        yield Engine(settings, _into_sqlite(path), lambda: _sizes_of_sqlite(path))


def _into_sqlite(path: Path) -> Callable[[str, tuple[str, ...], Rows], Awaitable[None]]:
    async def insert(table: str, columns: tuple[str, ...], rows: Rows) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("synchronous = OFF", "cache_size = -2000000", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        places = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()

    return insert


async def _sizes_of_sqlite(path: Path) -> dict[str, int]:
    connection = sqlite3.connect(path)
    asked = "SELECT tbl_name, SUM(pgsize) FROM dbstat JOIN sqlite_schema USING (name) GROUP BY tbl_name"
    found: dict[str, int] = dict(connection.execute(asked).fetchall())
    connection.close()
    return found


@asynccontextmanager
async def postgres_engine() -> AsyncIterator[Engine]:
    """Start a PostgreSQL server."""
    with postgres() as server, tempfile.TemporaryDirectory(prefix="watchword-bench-") as folder:
        url = server.url()
        environment = {"WATCHWORD_DATABASE_URL": url, "WATCHWORD_SECRET": secrets.token_urlsafe(32)}
        settings = _settings({"WATCHWORD_DATA_DIR": folder} | environment)
        yield Engine(settings, _into_postgres(url), lambda: _sizes_of_postgres(url))


def _into_postgres(url: str) -> Callable[[str, tuple[str, ...], Rows], Awaitable[None]]:
    async def insert(table: str, columns: tuple[str, ...], rows: Rows) -> None:
        connection = await asyncpg.connect(url)
        await connection.copy_records_to_table(table, records=rows, columns=columns)
        await connection.execute(f"VACUUM ANALYZE {table}")
        await connection.execute("CHECKPOINT")
        await connection.close()

    return insert


async def _sizes_of_postgres(url: str) -> dict[str, int]:
    connection = await asyncpg.connect(url)
    asked = "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'ww\\_%'"
    found = {row[0]: row[1] for row in await connection.fetch(asked)}
    await connection.close()
    return found


def _settings(environment: Mapping[str, str]) -> Settings:
    return load({}, NO_LIMITS | dict(environment), Path("/")).settings
