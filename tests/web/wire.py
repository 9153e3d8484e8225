"""A connection without a network: the protocol, a transport that remembers, and a loop whose clock is turned by hand.

What is under test, and all of uvicorn above it, is real; the loop is asyncio's own with another clock.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from watchword.web.connections import Places
from watchword.web.protocol import Protocol

_HIGH_WATER = 65_536
_LOW_WATER = 16_384


class _NoSockets(selectors.SelectSelector):
    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing ever arrives by itself, and nobody sleeps."""
        return []


class HandLoop(asyncio.SelectorEventLoop):
    """An event loop that stands still until it is told to go on."""

    def __init__(self) -> None:
        super().__init__(_NoSockets())
        self.now = 1000.0

    def time(self) -> float:
        """The time, which only `pass_time` changes."""
        return self.now

    def settle(self) -> None:
        """Do all that can be done now."""
        while True:
            self.call_soon(self.stop)
            self.run_forever()
            if not self._ready:  # type: ignore[attr-defined]
                return

    def pass_time(self, seconds: float) -> None:
        """Let time pass, stopping wherever a timer is due."""
        end = self.now + seconds
        while due := [timer for timer in self._scheduled if not timer.cancelled() and timer.when() <= end]:  # type: ignore[attr-defined]
            self.now = max(self.now, min(timer.when() for timer in due) + 1e-6)
            self.settle()
        self.now = max(self.now, end)
        self.settle()


class Wire(asyncio.Transport):
    """The transport: what was written, and how much of it the client has not taken yet."""

    def __init__(self, loop: HandLoop, address: str, *, reads: bool) -> None:
        super().__init__()
        self.sent = b""
        self.reads = reads
        self.buffered = 0
        self.reading = True
        self.closing = False
        self.lost = False
        self.protocol: Protocol
        self._loop = loop
        self._paused = False
        self._address = address

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The two ends."""
        return {"peername": (self._address, 50_000), "sockname": ("127.0.0.1", 4000)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it; a client that does not read fills the buffer."""
        if self.lost:
            return
        self.sent += bytes(data)
        if not self.reads:
            self.buffered += len(data)
            if self.buffered > _HIGH_WATER and not self._paused:
                self._paused = True
                self.protocol.pause_writing()

    def writelines(self, parts: Any) -> None:
        """One after another."""
        self.write(b"".join(parts))

    def take(self, count: int) -> None:
        """The client reads so many bytes after all."""
        self.buffered = max(0, self.buffered - count)
        if self._paused and self.buffered < _LOW_WATER and not self.lost:
            self._paused = False
            self.protocol.resume_writing()
        if self.closing and not self.buffered:
            self._lose()

    def get_write_buffer_size(self) -> int:
        """What the client has not taken."""
        return self.buffered

    def is_closing(self) -> bool:
        """Whether no more is read."""
        return self.closing

    def close(self) -> None:
        """End when all has been taken."""
        self.closing = True
        if not self.buffered:
            self._lose()

    def abort(self) -> None:
        """End now."""
        self.closing = True
        self.buffered = 0
        self._lose()

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            self._loop.call_soon(self.protocol.connection_lost, None)

    def pause_reading(self) -> None:
        """Leave what comes in the kernel."""
        self.reading = False

    def resume_reading(self) -> None:
        """Go on."""
        self.reading = True


class Connection:
    """One client: `send` bytes, let time pass, look at what came."""

    def __init__(
        self, loop: HandLoop, app: Any, *, reads: bool = True, places: Places | None = None, address: str = "192.0.2.1"
    ) -> None:
        self.loop = loop
        self.config = uvicorn.Config(app, http=Protocol, ws="none", log_config=None, timeout_keep_alive=75)
        self.config.places = places  # type: ignore[attr-defined]
        self.config.load()
        self.protocol = Protocol(self.config, ServerState(), {}, loop)
        self.wire = Wire(loop, address, reads=reads)
        self.wire.protocol = self.protocol
        self._kept = b""  # what was sent while the server did not read
        self.protocol.connection_made(self.wire)
        loop.settle()

    def send(self, data: bytes) -> None:
        """The client sends; what is not read waits in the kernel."""
        self._kept += data
        self._deliver()

    def hang_up(self) -> None:
        """The client sends no more (or is gone, which looks the same)."""
        if not self.wire.closing:
            if not self.protocol.eof_received():
                self.wire.close()
            self.loop.settle()

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.pass_time(seconds)
        self._deliver()

    @property
    def answering(self) -> bool:
        """Whether the service owes an answer: a request was begun by the application and is not done."""
        running = self.protocol._running
        return running is not None and not running.response_complete

    @property
    def timed(self) -> bool:
        """Whether a timer of this connection will run out."""
        timer = self.protocol._timer
        return timer is not None and not timer.cancelled() and timer.when() > 0

    def check(self) -> None:
        """No answer under way means that a timer is running; nor does an answer wait untimed for its reader."""
        if self.wire.lost:
            assert not self.timed
        elif self.wire.closing:
            assert self.timed or not self.wire.buffered
        elif not self.answering or self.protocol.flow.write_paused:
            assert self.timed
        if not self.wire.lost and self.answering and self.protocol._in_body and not self.protocol.pipeline:
            assert self.timed

    def _deliver(self) -> None:
        while self._kept and self.wire.reading and not self.wire.closing:
            data, self._kept = self._kept, b""
            self.protocol.data_received(data)
            self.loop.settle()
        self.loop.settle()
