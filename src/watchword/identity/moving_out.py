"""Every user, in the form that an import reads: no one is locked in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from watchword.clock import Clock, rfc3339
from watchword.identity import audit
from watchword.identity.arrivals import FIELDS
from watchword.identity.audit import LOCAL
from watchword.identity.hash_costs import MARK
from watchword.identity.user_data import NOTHING, read_metadata
from watchword.storage.database import Database, Row, Tx

_PAGE = 500
_SECRET = "password_hash"  # noqa: S105 - a column's name
_ONLY_READ = frozenset({"email_verified", "disabled"})  # an export says when instead
_METADATA = ("public_metadata", "private_metadata")
_TIMES = frozenset(name for name in FIELDS if name.endswith("_at"))


def columns(*, with_hashes: bool) -> tuple[str, ...]:
    """Return the fields of an export, in their order."""
    return tuple(name for name in FIELDS if name not in _ONLY_READ and (with_hashes or name != _SECRET))


class MovingOut:
    """One export. `count` says how many users it has yielded."""

    def __init__(self, database: Database, clock: Clock, *, with_hashes: bool) -> None:
        self._database = database
        self._clock = clock
        self._hashes = with_hashes
        self._columns = columns(with_hashes=with_hashes)
        self.count = 0

    async def records(self) -> AsyncIterator[dict[str, Any]]:
        """Yield every user, in the order of their ids. The export is in the audit trail before the first one."""
        await self._database.transact(self._record)
        page = await self._page("")
        while page:
            for row in page:
                self.count += 1
                yield self._plain(row)
            page = await self._page(page[-1]["id"])

    async def _record(self, tx: Tx) -> None:
        detail = {"hashes": "with" if self._hashes else "without"}
        await audit.record(tx, "users_exported", at=self._clock.now(), client=LOCAL, detail=detail)

    async def _page(self, after: str) -> list[Row]:
        return await self._database.scan(
            f"SELECT {', '.join(self._columns)} FROM ww_users WHERE id > :after ORDER BY id LIMIT :limit",
            after=after,
            limit=_PAGE,
        )

    def _plain(self, row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in self._columns:
            value = row[name]
            if name in _TIMES:
                value = None if value is None else rfc3339(value)
            elif name in _METADATA:
                value = None if value == NOTHING else read_metadata(value)
            elif name == "roles":
                value = tuple(value.split())
            elif name == _SECRET and value is not None:
                value = value.removeprefix(MARK)
            found[name] = value
        return found
