"""One SQL text for both engines: each is understood by both, and what is of one engine only stands in a list."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from tests.identity.sql_texts import SOURCE, plain, written
from tests.storage.conftest import NOW
from watchword.storage.migrate import migrate
from watchword.storage.postgres import Postgres
from watchword.storage.postgres_sql import numbered
from watchword.storage.sqlite import SQLite

pytestmark = pytest.mark.anyio

# File → how each text begins that only one engine knows → why there has to be one.
OF_ONE_ENGINE = {
    "storage/postgres.py": {
        "SELECT pg_advisory_xact_lock(": "SQLite's write lock keeps other migrations out by itself"
    },
    "storage/postgres_connection.py": {
        "BEGIN ISOLATION LEVEL READ COMMITTED": "SQLite has one writer, and its units are BEGIN IMMEDIATE",
        "SELECT pg_backend_pid()": "what stands behind a URL; a file needs no such question",
    },
    "storage/postgres_foreign.py": {
        "SELECT attname FROM pg_attribute": "which columns another application's table has",
        'SELECT COUNT(*) FROM "': "how many rows it has; the table is not ours",
    },
    "storage/sqlite_foreign.py": {
        "SELECT name FROM pragma_table_info(": "which columns another application's table has",
        'SELECT COUNT(*) FROM "': "how many rows it has; the table is not ours",
    },
    "storage/postgres_units.py": {"COMMIT": "ends a transaction of one unit", "ROLLBACK": "undoes it"},
    "storage/sqlite_connection.py": {
        "PRAGMA": "settings of a connection; PostgreSQL's are its server's",
        "SELECT count(*) FROM sqlite_schema": "opens the log before a request would",
    },
    "storage/sqlite_faults.py": {"SELECT l.name, l.origin": "SQLite does not name the index that refused a row"},
    "storage/sqlite.py": {"PRAGMA data_version": "a sign of a commit, which PostgreSQL has not"},
    "storage/sqlite_units.py": {
        "BEGIN IMMEDIATE": "a group of units is one transaction",
        "SAVEPOINT unit": "a unit in a group",
        "RELEASE unit": "the same",
        "ROLLBACK TO unit": "the same",
        "COMMIT": "the same",
    },
    "storage/sqlite_restore.py": {
        "BEGIN EXCLUSIVE": "keeps everyone out while the file is replaced",
        "PRAGMA": "asks whether a file is whole",
        "SELECT": "asks whether a file is a database of ours, before anything opens it as one",
    },
    "cli/doctor/stored.py": {
        "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp())": "the clock of a server, which a file has not",
        "SELECT CAST(current_setting('max_connections')": "the server's connections, which a file has not",
    },
    "platforms.py": {"PRAGMA": "macOS answers before the disk has it, unless SQLite is told"},
}
_SQL = re.compile(r"(SELECT|INSERT INTO|UPDATE|DELETE FROM|PRAGMA|SAVEPOINT|RELEASE) |(BEGIN|COMMIT|ROLLBACK)( |$)")
_STRANGE = re.compile(
    r"\bPRAGMA\b|\bpg_|::|\bsqlite_|\browid\b|\bctid\b|\bNOW\(\)|\bILIKE\b|\bGLOB\b|\bSERIAL\b", re.IGNORECASE
)


def texts() -> Iterator[tuple[str, str]]:
    """Every constant that reads like SQL: its file, and the text in one line."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        prose = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in prose:
                continue
            if _SQL.match(plain(node.value)):
                yield path.relative_to(SOURCE).as_posix(), plain(node.value)


def is_listed(file: str, text: str) -> bool:
    """Whether it is among those of one engine."""
    return any(text.startswith(begin) for begin in OF_ONE_ENGINE.get(file, ()))


def test_what_is_of_one_engine_is_listed() -> None:
    """An engine's own files hold nothing else; no other file holds a word that only one engine knows."""
    for file, text in texts():
        own = file.startswith(("storage/sqlite", "storage/postgres")) or (
            file in OF_ONE_ENGINE and not file.startswith("cli/")
        )
        assert is_listed(file, text) if own else not _STRANGE.search(text), f"{file}: {text}"


def test_the_list_has_nothing_that_is_not_there() -> None:
    """Each line stands for a text."""
    found = list(texts())
    for file, begins in OF_ONE_ENGINE.items():
        for begin, reason in begins.items():
            assert any(where == file and text.startswith(begin) for where, text in found), f"{file}: {begin}"
            assert reason


async def test_each_text_is_understood_by_both(postgres_url: str, path: Path) -> None:
    """Prepared on both, on the tables that the same migrations made."""
    file = await SQLite.open(path)
    await migrate(file, now=NOW)
    await file.close()
    database = await Postgres.open(postgres_url)
    await migrate(database, now=NOW)
    await database.close()
    tried = 0
    connection = await asyncpg.connect(postgres_url)
    with closing(sqlite3.connect(path)) as lite:
        for where, pieces in written():
            if len(pieces) > 1 or where.partition(":")[0] in OF_ONE_ENGINE or not _is_whole(pieces[0]):
                continue  # put together when it is used: the kernel's tests run those on both
            try:
                lite.execute(f"EXPLAIN {pieces[0]}", dict.fromkeys(numbered(pieces[0]).names))
            except sqlite3.OperationalError as error:
                if "incomplete" in str(error):
                    continue  # it goes on where it is used
                raise
            await connection.prepare(numbered(pieces[0]).sql)
            tried += 1
    await connection.close()
    assert tried > 20


def _is_whole(text: str) -> bool:
    """No piece of a text that goes on elsewhere."""
    return re.search(r"\b(FROM|INTO|UPDATE|VALUES)\b", text) is not None and not text.endswith(("SET", "AND", "("))
