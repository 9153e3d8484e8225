"""Keeps the port of a service that stops until its database is closed, and answers 503 there.

Closing a port resets connections that the system has taken for it and no one has accepted. So the last to hold the port
closes it in the moment in which no connection waits, and answers those that it accepted until then.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

_LINGER: Final = 5  # seconds for a client to send something
_ANSWERED: Final = 0.5  # … to take the answer
_LAST: Final = 0.5  # … for connected clients at the end
_TURN: Final = 0.01  # … in which the loop comes round
_MOST: Final = 10_000  # connections accepted at the very end
_ANSWER: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Refusal(asyncio.Protocol):
    """Answers 503 to anything, and closes."""

    def __init__(self, connected: set[asyncio.Future[None]]) -> None:
        self._connected = connected
        self._ended = asyncio.get_running_loop().create_future()
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connected.add(self._ended)
        self._transport = cast("asyncio.Transport", transport)  # uvloop has its own class
        self._close_in(_LINGER)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        if self._answered:
            return  # the rest of a body: closing before it is here would reset the answer
        self._answered = True
        self._transport.write(_ANSWER)
        self._transport.write_eof()
        self._timer.cancel()
        self._close_in(_ANSWERED)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._timer.cancel()
        self._connected.discard(self._ended)
        self._ended.set_result(None)

    def _close_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.close)


@asynccontextmanager
async def port_kept(listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Keep these ports while the service closes the listeners; close them at the end."""
    loop = asyncio.get_running_loop()
    connected: set[asyncio.Future[None]] = set()
    kept = [listener.dup() for listener in listeners]
    servers = [await loop.create_server(lambda: _Refusal(connected), sock=each.dup()) for each in kept]
    try:
        yield
    finally:
        for server in servers:
            server.close()
        await asyncio.sleep(_TURN)  # they let go of the port, and what they accepted last is connected
        for accepted in [connection for each in kept for connection in _accepted_last(each)]:
            with suppress(OSError):  # it has gone
                await loop.connect_accepted_socket(lambda: _Refusal(connected), accepted)
        if connected:
            await asyncio.wait(connected, timeout=_LAST)


async def send_away(listeners: Sequence[socket.socket]) -> None:
    """Close these ports, and answer those who had connected and were accepted by no one."""
    async with port_kept(listeners):
        for listener in listeners:
            listener.close()


def _accepted_last(listener: socket.socket) -> list[socket.socket]:
    """Accept all who wait, and close in the same moment. Where others hold the port it stays open."""
    accepted: list[socket.socket] = []
    with listener, suppress(OSError):  # no one waits any more
        listener.setblocking(False)
        while len(accepted) < _MOST:
            accepted.append(listener.accept()[0])
    return accepted
