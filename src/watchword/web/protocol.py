"""uvicorn's httptools protocol with time-outs and limits (checklist J3).

uvicorn 0.54 waits for ever for a request's rest, and for a client that does not read. Here `_watch` runs after every
event: only an answer in progress has no timer. A head has 10 s, a body 10 s more, in total: slow bytes and blank lines
do not extend that.
"""

from __future__ import annotations

import asyncio
import http
from enum import Enum, auto

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from watchword.web.connections import Places
from watchword.web.together import Together

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class _TooMuch(Exception):
    """A head beyond the limits."""


class Wait(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    NEXT = auto()  # another request
    READER = auto()  # a client that delays the answer
    HURRIED = auto()  # our answer, for a client that sends no more
    FLUSH = auto()  # a client that takes the last bytes


class Protocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=Protocol)`. Its `places` limit connections."""

    head_seconds = 10.0
    body_seconds = 10.0
    hurried_seconds = 3.0  # for an answer to a client that may be gone
    first_seconds = 0.5  # for a new connection's request when the server stops
    flush_seconds = 30.0  # for a client that does not read
    flush_rate = 16 * 1024  # bytes a second that a reading client must take
    max_headers = 64
    max_head_bytes = 16 * 1024
    max_target_bytes = 8 * 1024
    max_pipelined = 100

    _wait: Wait | None = None
    _timer: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None  # the newest cycle; later ones are in `pipeline`
    _in_head = False
    _in_body = False
    _offered = False  # an upgrade stops the parser before its body
    _resuming = False  # the parser gets a head of ours, for that body
    _deaf = False  # nothing is read any more
    _hurried = False  # the client has closed its side
    _fed = 0  # bytes since the last request or part of a body
    _places: Places | None = None
    _place: str | None = ""
    _lasting = True  # the connection may stay after this answer
    _lost = False
    _ending = False  # an answer ends the connection
    _refusal = http.HTTPStatus.BAD_REQUEST

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place and wait for the first head."""
        super().connection_made(transport)
        self._places = getattr(self.config, "places", None)
        if self._places is not None:
            self._place = self._places.take(self.client[0] if self.client else "")
        if self._place is None:
            self._deaf = True
            self._answer_and_close(http.HTTPStatus.SERVICE_UNAVAILABLE)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._lost = True
        self._watch()
        if self._places is not None and self._place is not None:
            self._places.give_back(self._place)
        running = self._running
        if running is not None and not running.response_complete:  # the base class knows the newest only
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)
        self.pipeline.clear()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Hurry: the client is gone, or waits for its answers."""
        running = self._running
        if running is None or running.response_complete or (self._in_body and running is self.cycle):
            self._close()
            return None
        self._hurried = True
        self._stop_reading()
        self._watch()
        return True  # keep the connection for writing

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self._deaf or self.transport.is_closing():
            return
        self._fed += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._stop_reading()
        else:
            if self._fed > self.max_head_bytes + self.max_target_bytes:
                # httptools keeps an endless header or trailer and reports it only at its end.
                self._refusal = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                self._stop_reading()
        self._watch()

    def pause_writing(self) -> None:
        """Time a slow reader."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Go on with the answer."""
        super().resume_writing()
        self._watch()

    def shutdown(self) -> None:
        """Answer now what only waits for news, and stop."""
        stop_waiting = getattr(self.app, "stop_waiting", None)
        if stop_waiting is not None:
            stop_waiting()
        self._ending = True
        if self._running is None:  # its request may be coming; closing now would reset it
            self.loop.call_later(self.first_seconds, super().shutdown)
        else:
            super().shutdown()
        self._watch()

    # --- What the parser calls -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a head."""
        if self._resuming:
            return
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Add to the target."""
        if not self._resuming:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; drop trailers (RFC 9110 section 6.5.1)."""
        if self._in_head and not self._resuming:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check a head before anything starts for it."""
        if self._resuming:
            self._resuming = False
            return
        self._check_head()
        super().on_headers_complete()
        self._in_head = False
        self._in_body = True
        cycle = self.cycle
        cycle.transport = Together(cycle, self.loop, self._watch)
        if self._ending or (self._places is not None and self._places.draining):
            cycle.keep_alive = False
        if cycle.waiting_for_100_continue:
            # A client refused before "100 Continue" may still send the body: the next request's start is unknown. The
            # connection stays only if the body is here first.
            self._lasting, cycle.keep_alive = cycle.keep_alive, False

    def _check_head(self) -> None:
        if len(self.url) > self.max_target_bytes:
            self._refuse(http.HTTPStatus.REQUEST_URI_TOO_LONG)
        if len(self.headers) > self.max_headers:
            self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._fed > self.max_head_bytes:
            size = sum(len(name) + len(value) for name, value in self.headers)
            if size > self.max_head_bytes:
                self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if len(self.pipeline) >= self.max_pipelined:
            self._refuse(http.HTTPStatus.SERVICE_UNAVAILABLE)
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._refuse(http.HTTPStatus.NOT_IMPLEMENTED)
            self._offered = any(name in _FRAMING for name, _ in self.headers)

    def on_body(self, body: bytes) -> None:
        """Add to the body."""
        self._fed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request; before an upgrade its body follows."""
        if self._offered:
            return
        self._in_body = False
        self._fed = 0
        self._stop_timer()  # a new wait begins
        if self.expect_100_continue and not self.cycle.response_started:
            self.cycle.keep_alive = self._lasting
        super().on_message_complete()

    # --- Reading ---------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        """Feed everything, also past an upgrade."""
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                if self._offered:
                    self._offered = False
                    self._resume()
            else:
                return

    def _resume(self) -> None:
        """Parse an upgrade's body in a new parser."""
        framing = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] in _FRAMING)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._resuming = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)

    def _stop_reading(self) -> None:
        """Answer what came before, refuse what is bad, close."""
        self._deaf = True
        running = self._running
        if running is None or running.response_complete:
            self._refuse_and_close(answered=self._in_body)
        elif self._in_body and running is self.cycle:  # its own body is bad
            self._refuse_and_close(answered=running.response_started)
        else:
            if self._in_body:  # the last one queued cannot be complete
                self.pipeline.popleft()
            self._in_head = self._in_body = False
            self.cycle = self.pipeline[0][0] if self.pipeline else running
            self.cycle.keep_alive = False

    def _refuse_and_close(self, *, answered: bool) -> None:
        """Close the connection; refuse an unanswered request."""
        self._deaf = True
        if answered:
            self._close()
            return
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True  # for the application: no one listens
            running.message_event.set()
        self._answer_and_close(self._refusal)

    def _refuse(self, status: http.HTTPStatus) -> None:
        self._refusal = status
        raise _TooMuch

    # --- Answering -------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Start the next request, or read on."""
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            if not self.pipeline:
                self.flow.resume_reading()
        self._watch()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: object) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def _answer_and_close(self, status: http.HTTPStatus) -> None:
        later = "retry-after: 1\r\n" if status == http.HTTPStatus.SERVICE_UNAVAILABLE else ""
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\n{later}connection: close\r\n\r\n"
        self.transport.write(head.encode("ascii"))
        self._close()

    def _close(self) -> None:
        self.transport.close()
        self._watch()

    # --- Patience --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Run the one timer; an unchanged wait keeps it."""
        wait = self._awaited()
        if wait is self._wait:
            return
        self._stop_timer()
        self._wait = wait
        if wait is not None:
            self._timer = self.loop.call_later(self._seconds(wait), self._out_of_patience)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wait = self._timer = None

    def _awaited(self) -> Wait | None:
        """Return what the client owes us; None while we owe an answer."""
        if self._lost:
            return None
        if self.transport.is_closing():
            return Wait.FLUSH if self.transport.get_write_buffer_size() else None  # else the loop ends it now
        if self._in_body and not self.pipeline:  # while others wait, we do not read
            return Wait.BODY
        running = self._running
        if running is not None and not running.response_complete:
            if self.flow.write_paused:
                return Wait.READER
            return Wait.HURRIED if self._hurried else None
        return Wait.HEAD if self._in_head or self._fed or running is None else Wait.NEXT

    def _seconds(self, wait: Wait) -> float:
        if wait is Wait.NEXT:
            return self.timeout_keep_alive
        if wait is Wait.HEAD:
            return self.head_seconds
        if wait is Wait.BODY:
            return self.body_seconds
        if wait is Wait.HURRIED:
            return self.hurried_seconds
        return self.flush_seconds + self.transport.get_write_buffer_size() / self.flush_rate

    def _out_of_patience(self) -> None:
        """Close; send 408 to an unanswered request."""
        wait, self._wait, self._timer = self._wait, None, None
        if wait in (Wait.READER, Wait.FLUSH):
            self.transport.abort()
        elif wait in (Wait.NEXT, Wait.HURRIED):
            self._close()
        else:
            running = self._running
            answered = wait is Wait.BODY and (running is None or running.response_started)
            self._refusal = http.HTTPStatus.REQUEST_TIMEOUT
            self._refuse_and_close(answered=answered or not (self._in_head or self._in_body))
