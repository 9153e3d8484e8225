"""The contract of a database, which `sqlite.py` and `postgres.py` keep.

SQL is the common subset of SQLite 3.37 and PostgreSQL 14, with `:name` parameters; an optional parameter is written
`CAST(:x AS TEXT)` or `CAST(:x AS BIGINT)`. Values are `str`, `int` or None. NUL characters are refused at the edge.

A *unit* is several statements that happen together or not at all. It is a coroutine function that awaits nothing but
`tx.one`, `tx.all` and `tx.run`; it may be run again (serialisation failure, deadlock), so it has no other effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

Value = str | int | None
T = TypeVar("T")

INSIDE = "a unit called the database directly; inside a unit only tx.one, tx.all and tx.run see what it has written"
# Another value each time: SQLite does not write what is there already.
PROBE = (
    "INSERT INTO ww_meta (name, value) VALUES ('probe', :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
PROBE_SECONDS = 1.0
"""Between two probes, once a write was lost."""


class Row(Protocol):
    """A row: columns by name or by position."""

    def __getitem__(self, column: str | int, /) -> Any: ...


class Tx(Protocol):
    """What a unit talks to. Reads see what the unit has written."""

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """The first row, or None. Also for `UPDATE … RETURNING` and `INSERT … RETURNING`."""
        ...

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """All rows."""
        ...

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute; how many rows were changed."""
        ...


Unit = Callable[[Tx], Awaitable[T]]


class Database(Protocol):
    """An open database. Every method may raise `StorageUnavailable`, those that write also `UniqueViolation`."""

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """Read the first row by a key, outside any unit; sees everything acknowledged so far."""
        ...

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """Read a handful of rows by a key, outside any unit."""
        ...

    async def scan(self, sql: str, /, **values: Value) -> list[Row]:
        """Read what is not a look-up by key (lists, searches, exports) without holding up other requests."""
        ...

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute one writing statement as a unit of its own; how many rows were changed, once it is durable."""
        ...

    async def change(self, sql: str, /, **values: Value) -> Row | None:
        """Execute one `… RETURNING` as a unit of its own; its first row, or None, once it is durable."""
        ...

    async def transact(self, unit: Unit[T], *, ends: bool = False, upkeep: bool = False) -> T:
        """Run a unit and answer with its result once it is durable.

        :param ends: it takes rights away (a log-out): stored also when the disk is so full that nothing else is.
        :param upkeep: a migration or a sweep: may take longer than a request may; one at a time over all processes.

        What the unit raises is raised here; nothing of it is stored then.
        """
        ...

    async def changed(self) -> bool:
        """Return whether there may have been a write since the last call: a cheap hint, never a promise."""
        ...

    async def writable(self) -> bool:
        """Whether writes are stored, as far as is known: once one was lost, not until another has been stored.

        Costs nothing as long as all is well. May be called often; raises nothing.
        """
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of everything."""
        ...
