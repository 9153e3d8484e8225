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
_ANSWER: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Refusal(asyncio.Protocol):
    """Answers whatever comes first, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is of no such class
        self._timer = asyncio.get_running_loop().call_later(_LINGER, transport.close)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        self._transport.write(_ANSWER)
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._timer.cancel()


@asynccontextmanager
async def port_kept(listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Keep these ports while the service stops, which closes the listeners themselves."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(_Refusal, sock=listener.dup()) for listener in listeners]
    try:
        yield
    finally:
        for server in servers:
            server.close()
