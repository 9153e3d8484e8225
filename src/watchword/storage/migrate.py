"""Bring a database to this schema: `migrations/NNNN_name.sql`, in order, forward only.

Each migration is a unit. Its first statement is its row in `ww_schema`, where another process waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from watchword.errors import SchemaMismatch, StorageError, StorageUnavailable
from watchword.storage.database import Database, Tx

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_ALLOWED = frozenset({"ALTER", "CREATE", "DELETE", "DROP", "INSERT", "UPDATE"})  # no COMMIT, PRAGMA, ATTACH
# Linear: alternatives begin differently, and none is empty.
_PIECE = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|;|[^-'\";]+|.", re.DOTALL)

_TABLE = (
    "CREATE TABLE IF NOT EXISTS ww_schema (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
)
_CLAIM = (
    "INSERT INTO ww_schema (version, name, applied_at) VALUES (:version, :name, :now) ON CONFLICT (version) DO NOTHING"
)
_APPLIED = "SELECT version, name FROM ww_schema ORDER BY version"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step."""

    version: int
    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """A database's schema; ready when nothing is `pending`."""

    version: int
    newest: int
    pending: tuple[Migration, ...]


async def migrate(
    database: Database, *, now: int, migrations: Sequence[Migration] | None = None
) -> tuple[Migration, ...]:
    """Apply what is missing; return what this call applied.

    Raises `SchemaMismatch` for a newer database, and `StorageUnavailable`.
    """
    known = _known(migrations)
    missing = (await status(database, migrations=known)).pending
    if not missing:
        return ()
    await _make_table(database)
    await _refuse_others(database)
    applied = [migration for migration in missing if await _apply(database, migration, now)]
    await status(database, migrations=known)  # a newer Watchword may have come between
    return tuple(applied)


async def status(database: Database, *, migrations: Sequence[Migration] | None = None) -> Status:
    """Return the schema, unchanged. Raises `SchemaMismatch`."""
    known = _known(migrations)
    applied = await _applied(database)
    _refuse_strange(applied, known)
    return Status(
        version=max(applied, default=0),
        newest=len(known),
        pending=tuple(migration for migration in known if migration.version not in applied),
    )


@lru_cache(maxsize=1)
def bundled() -> tuple[Migration, ...]:
    """Return this version's migrations."""
    folder = resources.files("watchword.storage") / "migrations"
    return read({entry.name: entry.read_text("utf-8") for entry in folder.iterdir() if not entry.name.startswith("_")})


def read(files: Mapping[str, str]) -> tuple[Migration, ...]:
    """Parse `{file name: text}`. Raises `ValueError`."""
    found = sorted((_parsed(name, text) for name, text in files.items()), key=lambda migration: migration.version)
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise ValueError(f"migration {migration.version:04}_{migration.name} stands where {expected:04} belongs")
    return tuple(found)


def split(text: str) -> Iterator[str]:
    """Yield statements without comments. Raises `ValueError` if a `;` is missing."""
    statement = ""
    for piece in _PIECE.findall(text):
        if piece == ";":
            yield statement.strip()
            statement = ""
        elif not piece.startswith("--"):  # a `:` in one is no parameter
            statement += piece
    if statement.strip():
        raise ValueError(f"a statement does not end in ';': {statement.strip()[:60]!r}")


def _parsed(name: str, text: str) -> Migration:
    match = _FILE.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not called like NNNN_name.sql")
    statements = tuple(split(text))
    for statement in statements:
        if not _ALLOWED.issuperset(statement.upper().split(maxsplit=1)[:1] or {""}):
            raise ValueError(f"{name}: a migration may not say {statement[:60]!r}")
    return Migration(int(match[1]), match[2], statements)


def _known(migrations: Sequence[Migration] | None) -> tuple[Migration, ...]:
    return bundled() if migrations is None else tuple(migrations)


async def _applied(database: Database) -> dict[int, str]:
    try:
        rows = await database.all(_APPLIED)
    except StorageError:
        raise
    except Exception:  # noqa: BLE001 - engines differ for a missing table
        return {}
    return {int(str(row["version"])): str(row["name"]) for row in rows}


def _refuse_strange(applied: Mapping[int, str], known: Sequence[Migration]) -> None:
    newest = max(applied, default=0)
    if newest > len(known):
        raise SchemaMismatch(
            f"The database has schema {newest}, this Watchword knows {len(known)}. Install the newer version."
        )
    for migration in known[:newest]:
        if applied.get(migration.version) != migration.name:
            raise SchemaMismatch(f"The database has not applied migration {migration.version:04}_{migration.name}.")


async def _refuse_others(database: Database) -> None:
    """Refuse a table of our name with other columns."""
    try:
        await database.all(_APPLIED)
    except StorageError:
        raise
    except Exception as error:
        raise SchemaMismatch(
            "The table ww_schema is another program's. Give Watchword a database of its own."
        ) from error


async def _make_table(database: Database) -> None:
    async def unit(tx: Tx) -> None:
        await tx.run(_TABLE)

    try:
        await database.transact(unit, upkeep=True)
    except StorageUnavailable:
        raise
    except Exception:  # noqa: BLE001 - each catalogue of PostgreSQL has its own error
        # PostgreSQL without locks: another process made it at once.
        await database.transact(unit, upkeep=True)


async def _apply(database: Database, migration: Migration, now: int) -> bool:
    async def unit(tx: Tx) -> bool:
        if not await tx.run(_CLAIM, version=migration.version, name=migration.name, now=now):
            return False
        for statement in migration.statements:
            await tx.run(statement)
        return True

    return await database.transact(unit, upkeep=True)
