"""Hints that something was revoked, so that the list is read before the next poll.

A hint says nothing but *look*. The list in the database is the truth: a hint that is lost costs a quarter of a second,
one that is forged costs a read.
"""

from __future__ import annotations

import asyncio
import contextlib

_GATHER_SECONDS = 0.01  # a storm of log-outs costs a hundred reads a second, not one for each


class Hints:
    """Hints within this process. `valkey_hints` has those between processes."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()

    def tell(self) -> None:
        """Hint soon. Waits for nothing and raises nothing."""
        self._heard.set()

    async def wait(self, seconds: float) -> None:
        """Return when a hint was heard since the last time, or after these seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()
                await asyncio.sleep(_GATHER_SECONDS)
        self._heard.clear()  # before the reading: a hint that comes while it goes on is worth another
