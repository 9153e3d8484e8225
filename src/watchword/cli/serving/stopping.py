"""Keeps the port of a service that stops until its database is closed, and answers 503 there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

_LINGER: Final = 5  # seconds for a client to send something
_LAST: Final = 0.5  # seconds for connected clients at the end
_ANSWER: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Refusal(asyncio.Protocol):
    """Answers 503 to anything, and closes."""

    def __init__(self, connected: set[asyncio.Future[None]]) -> None:
        self._connected = connected
        self._ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connected.add(self._ended)
        self._transport = cast("asyncio.Transport", transport)  # uvloop has its own class
        self._timer = asyncio.get_running_loop().call_later(_LINGER, transport.close)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        self._transport.write(_ANSWER)
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._timer.cancel()
        self._connected.discard(self._ended)
        self._ended.set_result(None)


@asynccontextmanager
async def port_kept(listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Keep these ports while the service closes the listeners."""
    loop = asyncio.get_running_loop()
    connected: set[asyncio.Future[None]] = set()
    servers = [await loop.create_server(lambda: _Refusal(connected), sock=listener.dup()) for listener in listeners]
    try:
        yield
    finally:
        for server in servers:
            server.close()
        if connected:
            await asyncio.wait(connected, timeout=_LAST)
