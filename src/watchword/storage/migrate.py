"""Bring a database to this schema: `migrations/NNNN_name.sql`, in order, forward only.

Each migration is a unit. Its first statement is its row in `ww_schema`, where another process waits.

A migration says by a line `-- serves: 0004` that code which knows 0004 and nothing later goes on beside it, and stays
right: it finds what it reads, and what it writes is complete. Without the line older code stops serving.
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
_SERVES = re.compile(r"^-- serves: (\d{4})$", re.MULTILINE)
_MADE = re.compile(r"CREATE TABLE (\w+)|DROP TABLE (\w+)|ALTER TABLE (\w+) RENAME TO (\w+)", re.IGNORECASE)
_PIECE = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|;|[^-'\";]+|.", re.DOTALL)

_TABLE = (
    "CREATE TABLE IF NOT EXISTS ww_schema (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
)
_CLAIM = (
    "INSERT INTO ww_schema (version, name, applied_at) VALUES (:version, :name, :now) ON CONFLICT (version) DO NOTHING"
)
_APPLIED = "SELECT version, name FROM ww_schema ORDER BY version"
_DECLARE = "UPDATE ww_schema SET serves = :serves WHERE version = :version"
_DECLARED = "SELECT version, serves FROM ww_schema WHERE version > :known AND serves <= :known"

_ANOTHERS = "The table ww_schema is another program's. Give Watchword a database of its own."
_OWN = "name another database in WATCHWORD_DATABASE_URL, or another data directory"
_WHOLE = "was a restore not complete? Put the whole backup back: docs/guides/restore-a-backup.md"
_NEWER = "install that version, or put back the backup that was made before: docs/guides/upgrade.md"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step; `serves` is the oldest schema whose code goes on beside it, or None."""

    version: int
    name: str
    statements: tuple[str, ...]
    serves: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """A database's schema; ready when nothing is `pending`. Its `version` may be above `newest`."""

    version: int
    newest: int
    pending: tuple[Migration, ...]


async def migrate(
    database: Database, *, now: int, migrations: Sequence[Migration] | None = None
) -> tuple[Migration, ...]:
    """Apply what is missing; return what this call applied.

    Raises `SchemaMismatch` for a database that is newer, another program's or not complete, and `StorageUnavailable`.
    """
    known = _known(migrations)
    missing = (await status(database, migrations=known)).pending
    applied = []
    if missing:
        await _make_table(database)
        await _refuse_others(database)
        applied = [migration for migration in missing if await _apply(database, migration, now)]
        await status(database, migrations=known)  # a newer Watchword may have come between
    await require(database, tables(known))
    return tuple(applied)


async def status(database: Database, *, migrations: Sequence[Migration] | None = None) -> Status:
    """Return the schema, unchanged. Raises `SchemaMismatch`."""
    known = _known(migrations)
    applied = await _applied(database)
    await _refuse_newer(database, applied, len(known))
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
    return Migration(int(match[1]), match[2], statements, _serves(text, int(match[1]), name))


def _serves(text: str, version: int, name: str) -> int | None:
    found = [int(each) for each in _SERVES.findall(text)]
    if len(found) > 1 or any(not 0 < serves < version for serves in found):
        raise ValueError(f"{name}: `-- serves:` names one schema before its own")
    return found[0] if found else None


def tables(migrations: Sequence[Migration]) -> tuple[str, ...]:
    """Return the tables that these migrations leave, in alphabetical order."""
    there: set[str] = set()
    for statement in (each for migration in migrations for each in migration.statements):
        if (found := _MADE.match(statement)) is not None:
            there -= {found[2], found[3]}
            there |= {name for name in (found[1], found[4]) if name}
    return tuple(sorted(there))


def _known(migrations: Sequence[Migration] | None) -> tuple[Migration, ...]:
    return bundled() if migrations is None else tuple(migrations)


async def _applied(database: Database) -> dict[int, str]:
    try:
        rows = await database.all(_APPLIED)
    except StorageError:
        raise
    except Exception:  # noqa: BLE001 - engines differ for a missing table
        return {}
    try:
        return {int(str(row["version"])): str(row["name"]) for row in rows}
    except ValueError as error:
        raise SchemaMismatch(_ANOTHERS, _OWN) from error


async def _refuse_newer(database: Database, applied: Mapping[int, str], known: int) -> None:
    """Refuse a newer schema, unless each step beyond ours says that code like ours goes on."""
    newer = {version for version in applied if version > known}
    if newer and await _declared(database, known) != newer:
        raise SchemaMismatch(
            f"The database has schema {max(newer)}, this Watchword knows {known}. Install the newer version.", _NEWER
        )


async def _declared(database: Database, known: int) -> set[int]:
    try:
        return {int(str(row["version"])) for row in await database.all(_DECLARED, known=known)}
    except StorageUnavailable:
        raise
    except Exception:  # noqa: BLE001 - engines differ for a missing column
        return set()


def _refuse_strange(applied: Mapping[int, str], known: Sequence[Migration]) -> None:
    newest = max(applied, default=0)
    for migration in known[:newest]:
        if applied.get(migration.version) != migration.name:
            name = f"{migration.version:04}_{migration.name}"
            raise SchemaMismatch(f"The database has not applied migration {name}.", _OWN)


async def _refuse_others(database: Database) -> None:
    """Refuse a table of our name with other columns."""
    try:
        await database.all(_APPLIED)
    except StorageError:
        raise
    except Exception as error:
        raise SchemaMismatch(_ANOTHERS, _OWN) from error


async def require(database: Database, names: Sequence[str]) -> None:
    """Refuse a database that lacks a table, before a request finds out. Raises `SchemaMismatch`."""
    for name in names:
        try:
            await database.all(f"SELECT 1 FROM {name} WHERE 1 = 0")
        except StorageError:
            raise
        except Exception as error:
            raise SchemaMismatch(f"The database has no table {name}, which belongs to its schema.", _WHOLE) from error


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
        if migration.serves is not None:
            await tx.run(_DECLARE, serves=migration.serves, version=migration.version)
        return True

    try:
        return await database.transact(unit, upkeep=True)
    except StorageError:
        raise
    except Exception as error:
        name = f"{migration.version:04}_{migration.name}"
        raise SchemaMismatch(f"Migration {name} does not fit what is in the database.", _OWN) from error
