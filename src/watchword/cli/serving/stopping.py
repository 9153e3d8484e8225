"""The port of a service that stops: taken until the database is closed, so that a free port means that it is.

Meanwhile each new connection gets an answer that says so, where a listener that is left alone would keep it waiting.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

_LINGER: Final = 5  # seconds that a client may take to send something
_LAST: Final = 0.5  # seconds that those have who are connected when the port becomes free
_ANSWER: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Refusal(asyncio.Protocol):
    """Answers whatever comes first, and closes."""

    def __init__(self, connected: set[asyncio.Future[None]]) -> None:
        self._connected = connected
        self._ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connected.add(self._ended)
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is of no such class
        self._timer = asyncio.get_running_loop().call_later(_LINGER, transport.close)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        self._transport.write(_ANSWER)
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._timer.cancel()
        self._connected.discard(self._ended)
        self._ended.set_result(None)


@asynccontextmanager
async def port_kept(listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Keep these ports while the service stops, which closes the listeners themselves."""
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
