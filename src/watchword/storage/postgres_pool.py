"""The connections of one process: opened when they are needed, and the one used last is used first.

The driver has a pool as well. It takes twice as long for each statement as the statement itself, for what is not needed
here: a reset between two users, and a proxy around each connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from watchword.clock import monotonic

IDLE_SECONDS = 300.0
"""A connection that has not been used for so long is closed: something between may have forgotten it."""

Connection = Any  # the driver's


class Pool:
    """At most so many connections. Belongs to one event loop."""

    def __init__(self, connect: Callable[[], Coroutine[Any, Any, Connection]], most: int) -> None:
        self._connect = connect
        self._most = most
        self._idle: deque[tuple[Connection, float]] = deque()  # with when it was given back, oldest first
        self._used: set[Connection] = set()
        self._users = 0  # those who have a connection, or wait for one
        self._making: set[asyncio.Task[Connection]] = set()
        self._closed = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._stale: set[Connection] = set()

    async def acquire(self, seconds: float) -> Connection:
        """A connection for one user. Raises `TimeoutError`, and what connecting raises.

        :param seconds: to wait at most, for a connection that is given back or for a new one.
        """
        self._users += 1
        try:
            return await self._acquired(monotonic() + seconds)
        except BaseException:
            self._users -= 1
            raise

    async def _acquired(self, give_up_at: float) -> Connection:
        while True:
            if (connection := self._kept()) is None and len(self._used) + len(self._making) < self._most:
                connection = await self._made(give_up_at)
            if connection is not None:
                self._used.add(connection)
                return connection
            await self._turn(give_up_at)

    def release(self, connection: Connection) -> None:
        """Give it back. One that is broken, or has a transaction left, is closed."""
        self._users -= 1
        self._used.discard(connection)
        if connection in self._stale or connection.is_closed() or connection.is_in_transaction():
            self._stale.discard(connection)
            connection.terminate()
        else:
            self._idle.append((connection, monotonic()))
            if self._idle[0][1] < monotonic() - IDLE_SECONDS:
                self._idle.popleft()[0].terminate()
        self._wake()

    def expire(self) -> None:
        """Use no connection again that is open now."""
        self._stale.update(self._used)
        while self._idle:
            self._idle.pop()[0].terminate()

    async def close(self, seconds: float) -> None:
        """Wait until all have been given back, and close them; by force after so many seconds."""
        self._closed = True
        give_up_at = monotonic() + seconds
        with suppress(TimeoutError):
            while self._users or self._making:
                await self._turn(give_up_at)
            async with asyncio.timeout(give_up_at - monotonic()):
                await asyncio.gather(*[connection.close() for connection, _ in self._idle], return_exceptions=True)
        for connection in (*self._used, *(each for each, _ in self._idle)):
            connection.terminate()
        self._idle.clear()

    def _kept(self) -> Connection | None:
        while self._idle:
            connection, since = self._idle.pop()
            if not connection.is_closed() and since >= monotonic() - IDLE_SECONDS:
                return connection
            connection.terminate()
        return None

    async def _made(self, give_up_at: float) -> Connection:
        """A new one. Those who asked for it may go: it is finished and kept, since the driver leaves no half well."""
        making = asyncio.create_task(self._connect())
        self._making.add(making)
        try:
            async with asyncio.timeout(give_up_at - monotonic()):
                connection = await asyncio.shield(making)
        except BaseException:
            making.add_done_callback(self._keep)
            raise
        self._making.discard(making)
        return connection

    def _keep(self, making: asyncio.Task[Connection]) -> None:
        self._making.discard(making)
        if not making.cancelled() and making.exception() is None:
            if self._closed:
                making.result().terminate()
            else:
                self._idle.append((making.result(), monotonic()))
        self._wake()

    async def _turn(self, give_up_at: float) -> None:
        """Wait for a place or a connection that became free."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(give_up_at - monotonic()):
                await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # it was this one's turn: let the next have it
            raise

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
