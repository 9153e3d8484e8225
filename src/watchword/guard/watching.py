"""Tells when a caller's rights end: by log-out, changed roles, a right taken away, a revoked key, or the token's end.

Those who watch are woken by the news: an entry finds those that it concerns by one look-up. So thousands of
connections that nothing happens to cost nothing but their memory.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Never, Protocol, Self, TypeVar, cast

from watchword.clock import Clock, SystemClock
from watchword.errors import TokenError
from watchword.tokens.claims import AccessClaims
from watchword.tokens.revocations import Kind, Mark, RevocationSet
from watchword.tokens.verify import revoked

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_NO_MORE: Final = object()

REVOKED: Final = "token_revoked"
EXPIRED: Final = "token_expired"
STALE: Final = "revocations_stale"
_LONGEST: Final = 3600.0
_AT_LEAST: Final = 0.01
_NOT_BEGUN: Final = "guard: a watch that has not begun hears nothing: write `with caller.watch() as watch:`"
_NO_ANSWER: Final = (
    "guard: a watch is neither true nor false: write `with caller.watch() as watch:`, and ask `watch.over`"
)


class Watched(Protocol):
    """Is a `Caller`."""

    @property
    def claims(self) -> AccessClaims:
        """Return the claims of the caller's token."""


class Watches:
    """Keeps who watches a caller, by what an entry of the list names. Threads share it."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.found_this_process()

    def found_this_process(self) -> None:
        """Start anew in a forked child: the connections are the parent's, and the lock may be taken for ever."""
        self._lock = threading.Lock()
        self._by_mark: dict[tuple[Kind, Mark], set[Watch]] = {}

    def listen(self, revocations: RevocationSet) -> None:
        """Hear of each entry that a list gets from now on."""
        if self.heard not in revocations.listeners:
            revocations.listeners = (*revocations.listeners, self.heard)

    def heard(self, revocations: RevocationSet, kind: Kind, mark: Mark) -> None:
        """Wake those that a new entry refuses. Called from any thread, by the one that writes the list."""
        if (kind, mark) not in self._by_mark:
            return
        with self._lock:
            concerned = list(self._by_mark.get((kind, mark), ()))
        for watch in concerned:
            if revocations.refuses(watch.caller.claims):
                watch.end(REVOKED)

    def look_at_the_time(self) -> None:
        """End what has expired: after a pause of the process timers are late."""
        for watch in self._all():
            _ = watch.over

    def end_all(self, code: str) -> None:
        """End every watch: nothing is known any more."""
        for watch in self._all():
            watch.end(code)

    def add(self, watch: Watch) -> None:
        """Keep a watch."""
        with self._lock:
            for mark in _marks(watch.caller):
                self._by_mark.setdefault(mark, set()).add(watch)

    def discard(self, watch: Watch) -> None:
        """Forget a watch."""
        with self._lock:
            for mark in _marks(watch.caller):
                watches = self._by_mark.get(mark, set())
                watches.discard(watch)
                if not watches:
                    self._by_mark.pop(mark, None)

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> set[Watch]:
        with self._lock:
            return set().union(*self._by_mark.values())


def _marks(caller: Watched) -> list[tuple[Kind, Mark]]:
    claims = caller.claims
    marks: list[tuple[Kind, Mark]] = [("user", claims.user_mark), ("key", claims.key_mark)]
    if claims.session_mark is not None:
        marks.append(("session", claims.session_mark))
    marks.extend(("user", mark) for mark, _ in claims.actors)
    marks.extend(("scope", each) for each in claims.scopes)
    marks.extend(("audience", each) for each in claims.aud)
    return marks


class Watch:
    """Hears when a caller's rights end.

        async with caller.watch():              the block is cancelled, and raises the TokenError
            ...
        async for each in caller.watch().while_good(items): ...
        with caller.watch() as watch:           in a thread
            while not watch.wait(1.0): ...

    `code` says why, once it is over: `token_revoked`, `token_expired`, or `revocations_stale` where the guard refuses
    when it hears nothing. A watch is entered once.
    """

    def __init__(
        self, caller: Watched, watches: Watches, revocations: Callable[[], RevocationSet], until: float
    ) -> None:
        self.caller = caller
        self._code: str | None = None
        self._watches = watches
        self._revocations = revocations
        self._until = until
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._event: threading.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._entered = False
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    def __bool__(self) -> Never:
        raise TypeError(_NO_ANSWER)

    @property
    def code(self) -> str | None:
        """Return why the rights have ended, or None. :raises RuntimeError: the watch has not begun."""
        return self._code if self.over else None

    @property
    def over(self) -> bool:
        """Return whether the rights have ended. :raises RuntimeError: the watch has not begun."""
        if not self._entered:
            raise RuntimeError(_NOT_BEGUN)
        if self._code is None and self._watches.clock.now() >= self._until:
            self.end(EXPIRED)
        return self._code is not None

    @property
    def error(self) -> TokenError:
        """Return why it is over, as a check would say it."""
        if self._code == REVOKED:
            return revoked()
        text = (
            "The access token expired." if self._code == EXPIRED else "It is not known whether the token was revoked."
        )
        return TokenError(text, code=self._code)

    def call_when_over(self, callback: Callable[[], None]) -> None:
        """Call this once it is over, from any thread, at once if it is."""
        with self._lock:
            if self._code is None:
                self._callbacks.append(callback)
                return
        callback()

    def end(self, code: str) -> None:
        """Say that it is over, and why. The first word counts."""
        with self._lock:
            if self._code is not None:
                return
            self._code = code
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    # Beginning and end ------------------------------------------------------------------------------------------------

    def begin(self) -> Self:
        """Begin to watch; on an event loop also the time. :raises RuntimeError: it has begun before."""
        if self._entered:
            raise RuntimeError("guard: a watch is entered once; call caller.watch() for each connection")
        self._entered = True
        self._watches.add(self)
        # After that, so that nothing falls between.
        if self._revocations().refuses(self.caller.claims):
            self.end(REVOKED)
        loop = _running_loop()
        if loop is not None:
            self._watch_the_time(loop)
        return self

    def leave(self) -> None:
        """Stop watching."""
        self._watches.discard(self)
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        with self._lock:
            self._callbacks.clear()

    def _watch_the_time(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self.over:
            clock = self._watches.clock
            # With its fraction, or it would be up to a second late.
            left = self._until - (clock.read() if isinstance(clock, SystemClock) else clock.now())
            self._timer = loop.call_later(max(min(left, _LONGEST), _AT_LEAST), self._watch_the_time, loop)

    # In a thread ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self.begin()

    def __exit__(self, *_: object) -> None:
        self.leave()

    def wait(self, seconds: float) -> bool:
        """Block until it is over, or for so long; return whether it is."""
        if not self.over:
            if self._event is None:
                self._event = threading.Event()
                self.call_when_over(self._event.set)
            self._event.wait(max(min(seconds, self._until - self._watches.clock.now()), 0))
        return self.over

    # On an event loop -------------------------------------------------------------------------------------------------

    async def ended(self) -> str:
        """Wait until it is over, inside of `async with` or `with`; return the code."""
        import asyncio

        if self.over:
            return cast(str, self._code)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self.call_when_over(lambda: _soon(loop, ended.set))
        await ended.wait()
        return cast(str, self._code)

    async def __aenter__(self) -> Self:
        import asyncio

        loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._pending = 0 if self._task is None else self._task.cancelling()
        self.begin()
        self.call_when_over(lambda: _soon(loop, self._cancel))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        import asyncio

        task, self._task = self._task, None
        self.leave()
        if self._cancelled and task is not None and task.uncancel() <= self._pending and kind is asyncio.CancelledError:
            raise self.error from error

    def _cancel(self) -> None:
        if self._task is not None:
            self._cancelled = self._task.cancel()

    async def while_good(self, items: AsyncIterable[T]) -> AsyncIterator[T]:
        """Yield the items, and stop once the rights have ended, also while it waits for one. For server-sent events."""
        import asyncio

        source, loop = aiter(items), asyncio.get_running_loop()
        wanted, given = asyncio.Semaphore(0), asyncio.Queue[Any]()

        async def draw() -> None:
            # All steps in one task, as time-outs and task groups of the source need it; each when it is asked for.
            try:
                while not self.over:
                    given.put_nowait(await anext(source))
                    await wanted.acquire()
            except StopAsyncIteration:
                pass
            finally:
                close = getattr(source, "aclose", None)
                if close is not None:
                    await close()

        with self:
            drawing = asyncio.ensure_future(draw())
            drawing.add_done_callback(lambda _: given.put_nowait(_NO_MORE))
            self.call_when_over(lambda: _soon(loop, drawing.cancel))
            try:
                while (item := await given.get()) is not _NO_MORE and not self.over:
                    yield item
                    wanted.release()
            finally:
                drawing.cancel()
                await asyncio.wait({drawing})  # or the source still runs
                failed = None if drawing.cancelled() else drawing.exception()
                if failed is not None:
                    raise failed


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return this thread's loop. Where asyncio was not loaded none runs, and APIs without it need not load it."""
    if "asyncio" not in sys.modules:
        return None
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop was closed
        loop.call_soon_threadsafe(call)
