"""A guard that verifies all the time, whatever becomes of its service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from watchword.errors import WatchwordError
from watchword.guard import Guard


class Verifying:
    """Counts what one guard says of a good token."""

    def __init__(self, guard: Guard, token: str) -> None:
        self.guard = guard
        self.verified = 0
        self.refused: list[str] = []
        self._token = token

    async def go_on(self, every: float) -> None:
        """Verify until cancelled."""
        while True:
            try:
                self.guard.verify(self._token)
            except WatchwordError as error:
                self.refused.append(repr(error))
            else:
                self.verified += 1
            await asyncio.sleep(every)


@asynccontextmanager
async def verifying(
    issuer: str, token: str, *, url: str | None = None, every: float = 0.02
) -> AsyncIterator[Verifying]:
    """A guard that follows the service, as long as the body runs."""
    guard = Guard(issuer, url=url)
    try:
        assert await asyncio.to_thread(guard.wait_until_ready, 30)
        one = Verifying(guard, token)
        task = asyncio.create_task(one.go_on(every))
        yield one
        assert not task.done(), task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    finally:
        await asyncio.to_thread(guard.stop)
