"""Runs a thread that takes turns, with pauses that can be cut short."""

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
"""Does one thing over its own connection, and returns the seconds to wait."""

_Result = TypeVar("_Result")
_PAUSE = 0.0002
_AFTER_A_DEFECT = 5.0
_ENDS_WITHIN = 1.0


class Worker:
    """Runs turns in a daemon thread.

    :param on_defect: called with an unexpected error; the thread goes on.
    :param on_death: called when the thread ends without `stop`.
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
        """Start the thread. :raises RuntimeError: the interpreter is ending."""
        self._thread.start()

    def wake(self) -> None:
        """Cut the pause short."""
        self._wake.set()

    def interrupt(self) -> None:
        """Give up the fetch and take the next turn at once."""
        self._client.cut()
        self._wake.set()

    def stop(self) -> None:
        """End, also during a fetch. Wait a second at most: a name's look-up cannot be ended."""
        self._stopped = True
        self._client.abort()
        self._wake.set()
        # The guard may be finalized in this very thread.
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(_ENDS_WITHIN)

    def abandon(self) -> None:
        """Close the connection in a forked child: the thread is the parent's."""
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
        except Exception as error:  # noqa: BLE001  a defect must not stop the updates
            self._on_defect(error)
            return _AFTER_A_DEFECT


def run_politely(work: Generator[None, None, _Result]) -> _Result:
    """Do a piece of work, with pauses for requests. After a pause of zero this thread would run again at once."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: _Result = end.value
            return result
        time.sleep(_PAUSE)


def jitter() -> float:
    """Return a random number from 0 to 1, to spread the fetches of many guards."""
    return int.from_bytes(os.urandom(2), "big") / 0xFFFF
