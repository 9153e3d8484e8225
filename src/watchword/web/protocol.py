"""uvicorn's httptools protocol with an end to patience: time-outs and limits for heads and bodies (checklist J3).

uvicorn 0.54 waits for ever for the rest of a request. Here a head has 10 s from its first byte (or from the
connection), a body 10 s from the end of its head, in all and not between bytes, so that one byte every nine seconds
does not help. The timers exist only while a request is incomplete: one that arrives in one piece costs none.

uvicorn also writes the head of an answer and its body one by one, which is two system calls here, two packets on the
way, and two awakenings at the other end; here they leave together (`_Together`).
"""

from __future__ import annotations

import asyncio
import http

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class _TooMuch(Exception):
    """A head beyond the limits; ends the parsing."""


class _Together(asyncio.Transport):
    """The transport as one request's cycle sees it: the head is held until the body's first part comes.

    Until the loop's next turn at the latest, so that a head whose body is still being made does not wait for it. Every
    answer but that to HEAD has something written after its head, if only an empty body; HEAD gets no such transport.
    """

    __slots__ = ("_cycle", "_head", "_later", "_transport")

    def __init__(self, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = cycle.transport
        self._cycle: RequestResponseCycle | None = cycle  # until its head has come
        self._later = loop.call_soon
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

    def _flush(self) -> None:
        if self._head is not None and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = None


class Protocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=Protocol)`. The class attributes are the limits; a subclass may change them."""

    head_seconds = 10.0
    body_seconds = 10.0
    flush_seconds = 30.0  # for a client that does not read the answer
    max_headers = 64
    max_head_bytes = 16 * 1024
    max_target_bytes = 8 * 1024

    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _in_body = False
    _timed_body = False  # what the running timer is for
    _fed = 0  # bytes since this request's first; never less than what its head has
    _refusal = http.HTTPStatus.BAD_REQUEST

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then see what is still missing."""
        self._fed += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._fed > self.max_head_bytes + self.max_target_bytes:
            # httptools keeps an unfinished header in memory however long it grows, and reports it only when it ends.
            self._refusal = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.send_400_response("")
            return
        if not self._in_head and not self._in_body:
            if self._timer is not None:
                self._stop_timer()
        elif self._timer is None:
            self._start_timer()
        elif self._in_body and not self._timed_body:
            self._stop_timer()
            self._start_timer()

    def shutdown(self) -> None:
        """The server stops and waits for its requests: those that only wait for news are answered now."""
        stop_waiting = getattr(self.app, "stop_waiting", None)
        if stop_waiting is not None:
            stop_waiting()
        super().shutdown()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete: hold it against the limits, before anything is started for it."""
        if len(self.url) > self.max_target_bytes:
            self._refuse(http.HTTPStatus.REQUEST_URI_TOO_LONG)
        if len(self.headers) > self.max_headers:
            self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._fed > self.max_head_bytes:
            size = sum(len(name) + len(value) for name, value in self.headers)
            if size > self.max_head_bytes:
                self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self._in_head = False
        self._in_body = True
        super().on_headers_complete()
        if self.scope["method"] != "HEAD":
            self.cycle.transport = _Together(self.cycle, self.loop)

    def on_message_complete(self) -> None:
        """The request is all here."""
        self._in_body = False
        self._fed = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's signature
        """What the parser could not take: the status of the limit that was passed, or 400. Then the connection ends."""
        self._stop_timer()
        self._answer_and_close(self._refusal)

    def timeout_keep_alive_handler(self) -> None:
        """An idle connection closes; one whose client does not take the answer is cut off in the end."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size() > 0:
            self._timer = self.loop.call_later(self.flush_seconds, self.transport.abort)

    def _unsupported_upgrade_warning(self) -> None:
        """A client that asks for an upgrade is answered over http, and is not worth two log lines."""

    def _refuse(self, status: http.HTTPStatus) -> None:
        self._refusal = status
        raise _TooMuch

    def _start_timer(self) -> None:
        self._timed_body = self._in_body
        self._timer = self.loop.call_later(self.body_seconds if self._in_body else self.head_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        """408 if that still makes sense, and the end of the connection; an application that waits learns it."""
        self._timer = None
        if self.transport.is_closing():
            return
        begun = self._in_head or self._in_body
        cycle: RequestResponseCycle | None = self.cycle  # None until the first head is complete
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        if begun:
            self._answer_and_close(http.HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _answer_and_close(self, status: http.HTTPStatus) -> None:
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode("ascii"))
        self.transport.close()
