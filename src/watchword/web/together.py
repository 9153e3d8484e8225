"""One write for an answer's head and body: uvicorn's two cost two system calls and packets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Together(asyncio.Transport):
    """One request's transport, which holds the head until the body's first part or the loop's next turn.

    :param closing: called when the cycle has closed the connection.
    """

    __slots__ = ("_closing", "_cycle", "_head", "_later", "_transport")

    def __init__(
        self, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop, closing: Callable[[], object]
    ) -> None:
        self._transport = cycle.transport
        self._cycle: RequestResponseCycle | None = cycle  # until its head has come
        self._later = loop.call_soon
        self._closing = closing
        self._head: bytes | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hold the head; write the rest after it."""
        if self._head is not None:
            head, self._head = self._head, None
            if data:
                self._transport.writelines((head, data))
            else:  # asyncio since Python 3.12 keeps an empty part, and turns for ever to send it
                self._transport.write(head)
        elif self._cycle is not None and self._cycle.response_started:
            self._cycle = None  # "100 Continue" comes before the head
            self._head = bytes(data)
            self._later(self._flush)
        else:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether the connection ends."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what is held, then close the connection."""
        self._flush()
        self._transport.close()
        self._closing()

    def _flush(self) -> None:
        if self._head is not None and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = None
