"""What being ready means. No HTTP."""

from __future__ import annotations

from watchword.errors import StorageError
from watchword.identity.kernel import Kernel
from watchword.storage.migrate import status


class Health:
    """Checks what a request would need."""

    def __init__(self, kernel: Kernel) -> None:
        self._database = kernel.database
        self._ring = kernel.ring

    async def checks(self) -> dict[str, bool]:
        """Each part's name, and whether it works: database, migrations, keys."""
        return {
            "database": await self._database_answers(),
            "migrations": await self._is_migrated(),
            "keys": bool(self._ring.algorithms),
        }

    async def _database_answers(self) -> bool:
        try:
            return await self._database.one("SELECT head FROM ww_feed WHERE id = 1") is not None
        except StorageError:
            return False

    async def _is_migrated(self) -> bool:
        try:
            return not (await status(self._database)).pending
        except StorageError:
            return False
