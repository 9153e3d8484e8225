"""Holds what asynchronous checks return. A bad caller is refused at once, also where `await` was forgotten."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import Any, Final, Generic, Never, TypeVar

from msgspec import Struct

from watchword.guard.calls import is_awaited
from watchword.guard.following.waiting import WAIT, Pending
from watchword.guard.standing import not_ready

T = TypeVar("T")

Steps = Generator[Pending, None, T]
"""Judges, and yields what to wait for."""


class Asking(Struct, Generic[T], eq=False):
    """Is a coroutine but for one thing: it is made by the first judging, which has raised for bad callers.

    What is left is to wait for keys or news, where that may help. A struct, since it is made for each request.
    """

    _found: Any
    _steps: Steps[T] | None = None
    _pending: Pending | None = None
    _run: Generator[Any, None, T] | None = None

    @classmethod
    def of(cls, steps: Steps[T]) -> Asking[T]:
        """Judge as far as it goes without waiting. :raises WatchwordError: as `Guard.check`."""
        try:
            pending = next(steps)
        except StopIteration as end:
            return cls(end.value)
        return cls(None, steps, pending)

    def __await__(self) -> Generator[Any, None, T]:
        if self._pending is not None:
            yield from self._wait().__await__()
        found: T = self._found
        return found

    async def _wait(self) -> None:
        steps, pending = self._steps, self._pending
        self._steps = self._pending = None
        if steps is None or pending is None:
            raise RuntimeError("guard: what a check returned is awaited once")
        try:
            while True:
                await pending.wait_async(WAIT)
                pending = next(steps)
        except StopIteration as end:
            self._found = end.value

    def __bool__(self) -> bool:
        if sys._getframe(1).f_globals.get("__name__") == _DESCRIBES_TASKS:  # noqa: SLF001
            return True
        raise TypeError(_FORGOTTEN)

    def __getattr__(self, name: str) -> Never:
        raise AttributeError(f"{_FORGOTTEN}, before {name!r}")

    # For `asyncio.run` and tasks.

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        return self._running().send(value)

    def throw(self, *given: Any) -> Any:
        """Raise inside, as a coroutine does."""
        return self._running().throw(*given)

    def close(self) -> None:
        """Give up."""
        self._running().close()

    def _running(self) -> Generator[Any, None, T]:
        if self._run is None:
            self._run = self.__await__()
        return self._run


def known(found: T) -> Coroutine[Any, Any, T]:
    """Return something to await that has its result already."""
    asking: Any = Asking(found)
    return asking  # type: ignore[no-any-return]


def ask(steps: Steps[T]) -> Coroutine[Any, Any, T]:
    """Judge.

    What the service has to be asked is asked from here on: what is returned may be cancelled before it begins.

    :raises Unready: it would have to wait, and nothing shows that the code that asks does: `await` was forgotten. The
        next request of this caller finds the answer.
    """
    asking: Any = Asking.of(steps)
    pending: Pending | None = asking._pending  # noqa: SLF001
    if pending is not None:
        if not is_awaited(sys._getframe()):  # noqa: SLF001
            _go_on(steps, pending)
            raise not_ready()
        pending.begin()
    return asking  # type: ignore[no-any-return]


def _go_on(steps: Steps[Any], pending: Pending) -> None:
    """Go on judging for the next request, after the code that asked has been refused. What is found is remembered."""

    def judge() -> None:
        with suppress(Exception):  # the code that asked has its answer: it was refused
            _go_on(steps, next(steps))

    pending.begin()
    pending.go_on_with(judge)


_DESCRIBES_TASKS: Final = "asyncio.base_tasks"
"""Asks a coroutine for its truth since Python 3.12, also at the end of `asyncio.run`."""
_FORGOTTEN: Final = "guard: `await` is missing, as in `caller = await guard.check_async(authorization)`"
