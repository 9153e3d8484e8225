"""The rules of readiness. No HTTP."""

from __future__ import annotations

from watchword.errors import StorageError
from watchword.identity.kernel import Kernel
from watchword.storage.migrate import status

_LONGEST_SILENCE = 5.0
"""Seconds without news of what was revoked; the service looks four times a second."""


class Health:
    """Checks what a request needs."""

    def __init__(self, kernel: Kernel) -> None:
        self._database = kernel.database
        self._keys = kernel.keys
        self._followed = kernel.revocations
        self._stopping = kernel.stopping

    async def checks(self) -> dict[str, bool]:
        """Return each part's name, and whether it works.

        `accepting`: no one has asked the process to stop. `writes`: the last known one was stored. `keys`: our
        signatures are accepted, and the database's master secret is ours. `revocations`: this process knows them.
        """
        answers = await self._database_answers()  # where it does not, each further question would wait as long
        return {
            "accepting": not self._stopping.is_set(),
            "database": answers,
            "writes": answers and await self._database.writable(),
            "migrations": answers and await self._is_migrated(),
            "keys": self._keys.usable,
            "revocations": self._followed.silence <= _LONGEST_SILENCE,
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
