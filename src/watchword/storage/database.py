"""The contract of a database, which `sqlite.py` and `postgres.py` keep.

SQL is common to SQLite 3.37 and PostgreSQL 14, with `:name` parameters; optional ones are `CAST(:x AS TEXT)`.

A *unit* is several statements stored together or not at all. It awaits only `tx`. It may run again, so it has no other
effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

Value = str | int | None
T = TypeVar("T")

INSIDE = "a unit called the database directly; inside a unit only tx.one, tx.all and tx.run see what it has written"
# A new value each time: SQLite skips unchanged ones.
PROBE = (
    "INSERT INTO ww_meta (name, value) VALUES ('probe', :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
PROBE_SECONDS = 1.0
"""Between two probes, once a write was lost."""


class Row(Protocol):
    """Columns by name or position, and its values in their order."""

    def __getitem__(self, column: str | int, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class Load(NamedTuple):
    """How busy a database is now: connections in use, and calls that wait for one."""

    in_use: int
    waiting: int


class Tx(Protocol):
    """A unit's statements. Reads see its writes."""

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """Return the first row (also of `RETURNING`), if any."""
        ...

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """Return all rows."""
        ...

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute; return how many rows changed."""
        ...


Unit = Callable[[Tx], Awaitable[T]]


class Database(Protocol):
    """An open database. Any method may raise `StorageUnavailable`; writes also `UniqueViolation`."""

    @property
    def one_writer(self) -> bool:
        """Whether units of all processes run one after the other, so that a row which all write delays none."""
        ...

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        """Read one row by key."""
        ...

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        """Read a few rows by key."""
        ...

    async def scan(self, sql: str, /, **values: Value) -> list[Row]:
        """Read many rows without delaying other requests."""
        ...

    async def run(self, sql: str, /, **values: Value) -> int:
        """Execute a statement as a unit."""
        ...

    async def change(self, sql: str, /, **values: Value) -> Row | None:
        """Execute one `… RETURNING` as a unit; return its first row."""
        ...

    async def transact(self, unit: Unit[T], *, ends: bool = False, upkeep: bool = False) -> T:
        """Run a unit; return its result once it is durable. If the unit raises, nothing is stored.

        :param ends: it takes rights away (a log-out), so it may use the reserve.
        :param upkeep: a migration, a sweep, a batch of an import: one at a time over all processes, and slower than a
            request may be.
        """
        ...

    async def changed(self) -> bool:
        """Return whether there may be new writes."""
        ...

    async def writable(self) -> bool:
        """Return whether writes are stored, as far as known."""
        ...

    def load(self) -> Load:
        """Return how busy this process's part of it is."""
        ...

    async def close(self) -> None:
        """Finish what is pending, then close."""
        ...
