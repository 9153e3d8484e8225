"""Every SQL text: what is written in `src/`, what a database was really asked, and how SQLite goes about each."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "src" / "watchword"
_STATEMENT = re.compile(r"(SELECT|INSERT INTO|UPDATE ww_|DELETE FROM)\s")
_UPDATE = re.compile(r"UPDATE\s+(ww_\w+|\{\})\s+SET\s")


class Asked:
    """What every connection of this process executed since: text and values."""

    def __init__(self) -> None:
        self.statements: dict[str, Any] = {}

    def connect(self, *given: Any, **options: Any) -> sqlite3.Connection:
        """In place of `sqlite3.connect`."""
        asked = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
                asked.statements.setdefault(plain(sql), values)
                return super().execute(sql, values)

        class Connection(sqlite3.Connection):
            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

            def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
                cursor: sqlite3.Cursor = self.cursor().execute(sql, values)
                return cursor

        return Connection(*given, **options)


def plain(sql: str) -> str:
    """In one line."""
    return " ".join(sql.split())


def written() -> Iterator[tuple[str, list[str]]]:
    """Each SQL text in the sources: where it stands, and its fixed pieces in order."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name.startswith("postgres") or path.name.endswith("foreign.py"):
            continue  # what only PostgreSQL is asked, or another application's database
        if "doctor" in path.parts:
            continue  # an operator asks, and once
        tree = ast.parse(path.read_text("utf-8"))
        inside = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
        for node in ast.walk(tree):
            text = _text(node) if id(node) not in inside else None
            if text is not None and (_STATEMENT.match(text) or _UPDATE.match(text)) and "sqlite_schema" not in text:
                pieces = [piece.strip() for piece in text.split("{}") if piece.strip()]
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", pieces  # type: ignore[attr-defined]


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return plain(node.value)
    if isinstance(node, ast.JoinedStr):
        return plain("".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values))
    return None


def holds(sql: str, pieces: list[str]) -> bool:
    """Whether a statement has these pieces in this order."""
    at = 0
    for piece in pieces:
        found = sql.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def plan(connection: sqlite3.Connection, sql: str, values: Any) -> list[str]:
    """How SQLite goes about it, a step a line."""
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
