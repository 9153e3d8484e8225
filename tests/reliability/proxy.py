"""A TCP proxy that does harm: it delays, swallows, resets, cuts, refuses, and changes its server.

It belongs to the event loop that entered it. Every method may be called from any thread; `in_a_thread` is for tests
that have no loop.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self, TypeAlias, TypeVar

T = TypeVar("T")
_PIECE = 65_536  # bytes
_Queue: TypeAlias = "asyncio.Queue[tuple[float, bytes]]"
_PIECES = 256  # under way in one direction; then the sender is read no further
_RESETS = struct.pack("ii", 1, 0)  # linger for no time: the close is a reset


@dataclass
class Way:
    """What happens to each piece of data that goes one way. A piece is what one read of the sender finds."""

    delay: float = 0.0
    """Seconds until it is passed on. Later pieces overtake none, and none waits for the delay of another."""
    swallows: bool = False
    """It is lost, and its sender is not told."""
    resets: float = 0.0
    """The share of pieces, 0 to 1, in whose place both ends get a reset."""
    pieces: int = 0
    """How many came."""


@dataclass(eq=False)
class _Line:
    """The two sockets of one connection."""

    near: socket.socket
    far: socket.socket = field(default_factory=socket.socket)
    task: asyncio.Task[None] | None = None
    lost_its_end: bool = False
    """One end has closed it, and the other was not told."""
    ends: list[asyncio.StreamWriter] = field(default_factory=list)

    def closed(self, _: object) -> None:
        """Close what no transport will close: the sockets that have none."""
        for one in (self.near, self.far)[len(self.ends) :]:
            one.close()

    def reset(self) -> None:
        """Close both at once, each with a reset."""
        for one in (self.near, self.far):
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        if self.task is not None:
            self.task.cancel()


@dataclass(eq=False)
class Proxy:
    """Stands before the server on port `to` of 127.0.0.1. `port` stays the same, also while it refuses."""

    to: int
    asked: Way = field(default_factory=Way)
    """From client to server."""
    answers: Way = field(default_factory=Way)
    """From server to client."""
    seed: int = 1
    port: int = 0
    accepted: int = 0
    """How many connections were made."""

    async def __aenter__(self) -> Self:
        self._random = random.Random(self.seed)
        self._loop = asyncio.get_running_loop()
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._refuse()
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def ways(self) -> tuple[Way, Way]:
        """Both."""
        return self.asked, self.answers

    def swallow(self, lost: bool = True) -> None:
        """Be a black hole: everything is lost both ways, and no one is told."""
        for way in self.ways:
            way.swallows = lost

    def delay(self, seconds: float) -> None:
        """Answer so much later: half of it each way."""
        for way in self.ways:
            way.delay = seconds / 2

    def reset(self, share: float = 1.0) -> None:
        """Reset connections in place of this share of what is asked or answered."""
        for way in self.ways:
            way.resets = share

    def cut(self) -> None:
        """Reset every connection there is."""
        self._do(self._cut)

    def refuse(self) -> None:
        """Refuse new connections. Those there are live on."""
        self._do(self._refuse)

    def mend(self) -> None:
        """Do no harm any more."""
        for way in self.ways:
            way.delay, way.swallows, way.resets = 0.0, False, 0.0
        self._do(self._back)

    def _back(self) -> None:
        self._listen()
        for line in list(self._lines):
            if line.lost_its_end:
                line.reset()

    def _do(self, what: Callable[[], T]) -> T:
        """Do it in the loop, and wait for it unless this is the loop."""
        with suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                return what()

        async def there() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(10)

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._loop.add_reader(self._listener, self._accept)

    def _refuse(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _cut(self) -> None:
        for line in list(self._lines):
            line.reset()

    def _accept(self) -> None:
        assert self._listener is not None
        with suppress(BlockingIOError, ConnectionError):
            near, _ = self._listener.accept()
            self.accepted += 1
            line = _Line(near)
            self._lines.add(line)
            line.task = self._loop.create_task(self._carry(line))
            self._tasks.add(line.task)
            line.task.add_done_callback(self._tasks.discard)
            line.task.add_done_callback(line.closed)

    async def _carry(self, line: _Line) -> None:
        """Pass on until both ends have ended. When one breaks, or cannot be reached, the other does."""
        try:
            heard, near = await asyncio.open_connection(sock=line.near)
            line.ends.append(near)
            line.far.setblocking(False)
            await self._loop.sock_connect(line.far, ("127.0.0.1", self.to))
            said, far = await asyncio.open_connection(sock=line.far)
            line.ends.append(far)
            async with asyncio.TaskGroup() as both:
                self._pass(both, line, heard, far, self.asked)
                self._pass(both, line, said, near, self.answers)
        except* OSError:
            line.reset()
        finally:
            self._lines.discard(line)
            for end in line.ends:
                end.transport.abort()

    def _pass(
        self,
        both: asyncio.TaskGroup,
        line: _Line,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        way: Way,
    ) -> None:
        under_way: _Queue = asyncio.Queue(_PIECES)
        both.create_task(self._take(line, source, under_way, way))
        both.create_task(self._give(target, under_way))

    async def _take(self, line: _Line, source: asyncio.StreamReader, under_way: _Queue, way: Way) -> None:
        data = b"-"
        while data:
            data = await source.read(_PIECE)
            way.pieces += 1
            if self._random.random() < way.resets:
                raise ConnectionResetError
            if not way.swallows:
                await under_way.put((self._loop.time() + way.delay, data))
            elif not data:
                line.lost_its_end = True

    async def _give(self, target: asyncio.StreamWriter, under_way: _Queue) -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - self._loop.time())
            if not data:
                break
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()


@contextmanager
def in_a_thread(to: int, seed: int = 1) -> Iterator[Proxy]:
    """A proxy with a loop of its own."""
    loop, proxy = asyncio.new_event_loop(), Proxy(to, seed=seed)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(10)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
