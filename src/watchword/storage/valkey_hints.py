"""Hints between processes, published in Valkey."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from redis.asyncio.client import PubSub

from watchword.storage.hints import Hints
from watchword.storage.valkey import FAULTS, FIRST_PAUSE, LONGEST_PAUSE, Away, Valkey

_QUIET_SECONDS = 5.0


class ValkeyHints(Hints):
    """Hints to this process and to the others, and hears theirs."""

    def __init__(self, valkey: Valkey) -> None:
        super().__init__()
        self._valkey = valkey
        self._channel = f"{valkey.namespace}hint"
        self._to_tell = asyncio.Event()

    def tell(self) -> None:
        """Hint soon. Waits for nothing and raises nothing."""
        super().tell()  # also when the server is away
        self._to_tell.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ValkeyHints]:
        """Publish and listen meanwhile."""
        tasks = [asyncio.create_task(each()) for each in (self._send, self._listen)]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            await self._to_tell.wait()
            self._to_tell.clear()
            with contextlib.suppress(Away):
                await self._valkey.ask(lambda: self._valkey.client.publish(self._channel, ""))

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while True:
            subscription = self._valkey.listener.pubsub()
            try:
                await subscription.subscribe(self._channel)
                while await self._hear(subscription):
                    pause = FIRST_PAUSE
            except FAULTS:
                pass
            finally:
                with contextlib.suppress(*FAULTS):
                    await subscription.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _hear(self, subscription: PubSub) -> bool:
        """Wait for a message; whether the server is there. One that is silent is asked, since a lost line is silent."""
        message = await subscription.get_message(timeout=_QUIET_SECONDS)
        if message is None:
            await subscription.ping()
            message = await subscription.get_message(timeout=_QUIET_SECONDS)
        if message is not None and message["type"] in ("subscribe", "message"):
            self._heard.set()  # also when listening begins: what was told before was not heard
        return message is not None
