"""What SQLite's errors mean here.

* A unique index refused a row: `UniqueViolation`, with PostgreSQL's name.
* The file is busy, full or damaged: `StorageUnavailable`.
* Anything else is a fault of the program and stays as it is.
"""

from __future__ import annotations

import sqlite3

from watchword.errors import StorageUnavailable, UniqueViolation

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FAULTS_OF_THE_FILE = _BUSY | {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_DAMAGED = (
    "the file is damaged: keep it for those who can look into it, and put a backup in its place with"
    " `watchword restore FILE` (docs/guides/restore-a-backup.md)"
)
_LOCKED = "another program holds the database: wait until it has ended, or end it, and try again"
_NO_ACCESS = "check who owns the file, the files beside it and the directory, and that you may write to them"
_ADVICE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: _NO_ACCESS,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: "the disk is full: free some space, then try again",
    sqlite3.SQLITE_IOERR: "the disk did not do what it should: look at the system's log and at its free space",
    sqlite3.SQLITE_NOTADB: f"this is no SQLite database, or {_DAMAGED}",
    sqlite3.SQLITE_PERM: _NO_ACCESS,
    sqlite3.SQLITE_READONLY: _NO_ACCESS,
}
_UNIQUE = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}
)
_PREFIX = "UNIQUE constraint failed: "

_INDEXES = """
    SELECT l.name, l.origin, l.partial, group_concat(i.name, ', ') AS columns
    FROM pragma_index_list(:relation) AS l, pragma_index_info(l.name) AS i
    WHERE l."unique" = 1 GROUP BY l.name ORDER BY l.partial, l.name
"""


def code(error: BaseException) -> int:
    """Return SQLite's primary result code, or 0."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: BaseException) -> bool:
    """Return whether another process held the lock."""
    return code(error) in _BUSY


def is_full(error: BaseException | None) -> bool:
    """Return whether the disk is full, by the error or its causes. The log raises an I/O error."""
    while error is not None:
        if code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return True
        error = error.__cause__
    return False


def is_fault_of_the_file(error: BaseException) -> bool:
    """Return whether the file is at fault."""
    return code(error) in _FAULTS_OF_THE_FILE


def advice(error: BaseException | None) -> str:
    """Return advice to the operator, or ''."""
    return _ADVICE.get(code(error), "") if error is not None else ""


def unavailable(cause: BaseException | None) -> StorageUnavailable:
    """Return a `StorageUnavailable`; only the log sees its cause."""
    error = StorageUnavailable("The database is not available.")
    error.__cause__ = cause
    return error


def translated(error: sqlite3.Error, connection: sqlite3.Connection) -> Exception:
    """Return the error to raise instead, or the same."""
    if getattr(error, "sqlite_errorcode", 0) in _UNIQUE:
        violation = UniqueViolation(_index(str(error), connection))
        violation.__cause__ = error
        return violation
    if is_fault_of_the_file(error):
        return unavailable(error)
    return error


def _index(message: str, connection: sqlite3.Connection) -> str:
    """Parse `UNIQUE constraint failed: ww_users.username_key` or `…: index 'name'` (on expressions)."""
    named = message.removeprefix(_PREFIX)
    if named.startswith("index '"):
        return named.removeprefix("index '").removesuffix("'")
    relation = named.partition(".")[0]
    columns = [column.strip().partition(".")[2] for column in named.split(",")]
    for name, origin, _, of in connection.execute(_INDEXES, {"relation": relation}):
        if of == ", ".join(columns):
            return _name(str(name), str(origin), relation, columns)
    return _name("", "pk", relation, columns)  # the row id has none


def _name(name: str, origin: str, relation: str, columns: list[str]) -> str:
    if origin == "pk":
        return f"{relation}_pkey"
    if origin == "u":
        return "_".join([relation, *columns, "key"])
    return name
