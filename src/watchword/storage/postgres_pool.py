"""The connections of one process: opened when they are needed, and the one used last is used first.

The driver has a pool as well. It takes twice as long for each statement as the statement itself, for what is not needed
here: a reset between two users, and a proxy around each connection.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from watchword.clock import monotonic
from watchword.storage.database import Load

IDLE_SECONDS = 300.0
"""A connection that has not been used for so long is closed: something between may have forgotten it."""

Connection = Any  # the driver's


class Pool:
    """At most so many connections. Belongs to one event loop."""

    def __init__(self, connect: Callable[[], Coroutine[Any, Any, Connection]], most: int) -> None:
        self._connect = connect
        self._most = most
        self._idle: deque[tuple[Connection, float]] = deque()  # with when it was given back, oldest first
        self._used: dict[Connection, float] = {}  # with when its user gives up
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._users = 0  # those who have a connection, or wait for one
        self._making: set[asyncio.Task[Connection]] = set()
        self._closed = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._stale: set[Connection] = set()

    def take(self, now: float, give_up_at: float) -> Connection | None:
        """A connection that is idle, at once, or None. It is ended when its user has not given it back by then."""
        connection = self._kept(now, give_up_at)
        self._users += connection is not None
        return connection

    async def acquire(self, give_up_at: float) -> Connection:
        """A connection for one user. Raises `TimeoutError`, and what connecting raises.

        :param give_up_at: until when to wait, for a connection that is given back or for a new one.
        """
        self._users += 1
        try:
            return await self._acquired(give_up_at)
        except BaseException:
            self._users -= 1
            raise

    async def _acquired(self, give_up_at: float) -> Connection:
        while True:
            if (connection := self._kept(monotonic(), give_up_at)) is not None:
                return connection
            if len(self._used) + len(self._making) < self._most:
                connection = await self._made(give_up_at)
                self._lend(connection, give_up_at)
                return connection
            await self._turn(give_up_at)

    def _kept(self, now: float, give_up_at: float) -> Connection | None:
        while self._idle:
            connection, since = self._idle.pop()
            if since >= now - IDLE_SECONDS and not connection.is_closed():
                self._lend(connection, give_up_at)
                return connection
            connection.terminate()
        return None

    def _lend(self, connection: Connection, give_up_at: float) -> None:
        self._used[connection] = give_up_at
        if give_up_at < self._alarm_at:
            self._set_alarm(give_up_at)

    def _set_alarm(self, at: float) -> None:
        """Look at the connections in use at that time. One alarm for all: to set and cancel one costs each a while."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = asyncio.get_running_loop().call_later(at - monotonic(), self._end_overdue)

    def _end_overdue(self) -> None:
        """End what is used for too long: not by cancelling, for which the driver waits until the server has agreed."""
        now, self._alarm, self._alarm_at = monotonic(), None, math.inf
        for connection, give_up_at in tuple(self._used.items()):
            if give_up_at <= now:
                connection.terminate()
        later = [give_up_at for give_up_at in self._used.values() if give_up_at > now]
        if later:
            self._set_alarm(min(later))

    def release(self, connection: Connection, now: float) -> None:
        """Give it back. One that is broken, or has a transaction left, is closed."""
        self._users -= 1
        del self._used[connection]
        if connection in self._stale or connection.is_closed() or connection.is_in_transaction():
            self._stale.discard(connection)
            connection.terminate()
        else:
            self._idle.append((connection, now))
            if self._idle[0][1] < now - IDLE_SECONDS:
                self._idle.popleft()[0].terminate()
        if self._waiting:
            self._wake()

    def load(self) -> Load:
        """Connections in use, and those who wait for one."""
        return Load(len(self._used), self._users - len(self._used))

    def expire(self) -> None:
        """Use no connection again that is open now."""
        self._stale.update(self._used)
        while self._idle:
            self._idle.pop()[0].terminate()

    def expire_unused(self, since: float) -> None:
        """Close what no one has used since then: a server that answered no one may have gone for good."""
        while self._idle and self._idle[0][1] < since:
            self._idle.popleft()[0].terminate()

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
        if self._alarm is not None:
            self._alarm.cancel()
        self._idle.clear()

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
