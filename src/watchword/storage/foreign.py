"""The contract of another application's database, which is only read.

PostgreSQL gives one snapshot. A SQLite file is read a page at a time in the order of a key, because a long reading
would keep that application from writing; what it adds meanwhile is read too, or by the next run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, Protocol

PAGE = 500


class Table(NamedTuple):
    """What to read of a table.

    :param columns: name in the answer → SQL expression.
    :param key: a unique column, by which rows are ordered.
    """

    name: str
    columns: Mapping[str, str]
    key: str = "id"

    def select(self, rest: str = "") -> str:
        """Return the statement that reads it."""
        columns = ", ".join(f'{expression} AS "{name}"' for name, expression in self.columns.items())
        return f'SELECT {columns}, "{self.key}" AS "_key" FROM "{self.name}" {rest}'


class Foreign(Protocol):
    """An open database of another application."""

    async def columns(self, table: str) -> set[str]:
        """Return the names of a table's columns; none if there is no such table."""
        ...

    async def count(self, table: str) -> int:
        """Return how many rows a table has."""
        ...

    def rows(self, table: Table) -> AsyncIterator[Mapping[str, Any]]:
        """Yield every row, in the order of its key."""
        ...
