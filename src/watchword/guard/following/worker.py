"""Runs a thread that takes one turn after the other, with pauses that can be cut short."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TypeVar

from watchword.guard.following.exchange import Aborted

if TYPE_CHECKING:
    from watchword.guard.following.http_client import HttpClient

Turn = Callable[["HttpClient"], float]
"""Does one thing over its own connection, and returns the seconds to wait before the next turn."""

_Result = TypeVar("_Result")
_PAUSE = 0.0002
_AFTER_A_DEFECT = 5.0
_ENDS_WITHIN = 1.0


class Worker:
    """Runs turns in a daemon thread, which never keeps a process from ending.

    :param on_defect: called with an error that no turn should raise; the thread goes on.
    :param on_death: called when the thread ends without having been stopped.
    """

    def __init__(
        self,
        name: str,
        turn: Turn,
        client: HttpClient,
        *,
        on_defect: Callable[[Exception], None],
        on_death: Callable[[], None],
    ) -> None:
        self._turn = turn
        self._client = client
        self._on_defect = on_defect
        self._on_death = on_death
        self._wake = threading.Event()
        self._stopped = self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin. :raises RuntimeError: the interpreter is ending and starts no more threads."""
        self._thread.start()

    def wake(self) -> None:
        """Cut the pause short."""
        self._wake.set()

    def interrupt(self) -> None:
        """Give up what is being fetched and take the next turn at once."""
        self._client.cut()
        self._wake.set()

    def stop(self) -> None:
        """End, also in the middle of a fetch. Wait a second at most, since a look-up of a name cannot be ended."""
        self._stopped = True
        self._client.abort()
        self._wake.set()
        # The last reference to a guard may go away in this very thread.
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(_ENDS_WITHIN)

    def abandon(self) -> None:
        """Close the connection in a forked child, where the thread does not exist: it is the parent's."""
        self._client.close()

    @property
    def alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive() and not self._ended

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._wake.wait(self._turn_safely())
                self._wake.clear()
        finally:
            self._ended = True
            self._client.close()
            if not self._stopped:
                self._on_death()

    def _turn_safely(self) -> float:
        try:
            return self._turn(self._client)
        except Aborted:
            return 0.0
        except Exception as error:  # noqa: BLE001  a defect must not end the list's being followed
            self._on_defect(error)
            return _AFTER_A_DEFECT


def run_politely(work: Generator[None, None, _Result]) -> _Result:
    """Do a piece of work and let requests go first between its chunks.

    A pause of zero is not enough: this thread would take the interpreter's lock again before another one woke up.
    """
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: _Result = end.value
            return result
        time.sleep(_PAUSE)


def jitter() -> float:
    """Return a number from 0 to 1, so that many guards do not fetch at the same time."""
    return int.from_bytes(os.urandom(2), "big") / 0xFFFF
