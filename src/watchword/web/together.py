"""One write for the head of an answer and its body.

uvicorn writes them one by one, which is two system calls here, two packets on the way, and two awakenings at the other
end; here they leave together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Together(asyncio.Transport):
    """The transport as one request's cycle sees it: the head is held until the body's first part comes.

    Until the loop's next turn at the latest, so that a head whose body is still being made does not wait for it, nor
    that of an answer to HEAD, which has none.

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
        """Hold what is the head; pass on what is not, after the head if there is one."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif self._cycle is not None and self._cycle.response_started:
            self._cycle = None  # the next is no head, nor is it "100 Continue", which comes before
            self._head = bytes(data)
            self._later(self._flush)
        else:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection ends."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection when everything has been sent, a head without a body too."""
        self._flush()
        self._transport.close()
        self._closing()

    def _flush(self) -> None:
        if self._head is not None and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = None
