"""Starts and stops the threads of one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from watchword.guard.following.events import Events
from watchword.guard.following.worker import Turn, Worker

if TYPE_CHECKING:
    from watchword.guard.following.http_client import HttpClient

_NO_THREAD: Final = (
    "The guard cannot start its threads, so that requests are refused; "
    "where there are none, make it with background=False."
)


class Workers:
    """Keeps a worker for each turn. Callers of `start` and `release` hold a lock.

    :param on_death: called when a thread ends without `stop`.
    """

    def __init__(
        self,
        turns: Mapping[str, Turn],
        *,
        open_client: Callable[[], HttpClient],
        events: Events,
        on_death: Callable[[], None],
    ) -> None:
        self._turns = turns
        self.open_client = open_client
        self._events = events
        self._on_death = on_death
        self.by_name: dict[str, Worker] = {}

    @property
    def running(self) -> bool:
        """Return whether all run."""
        workers = self.by_name
        return len(workers) == len(self._turns) and all(worker.alive for worker in workers.values())

    def start(self) -> None:
        """Start those that do not run."""
        for name, turn in self._turns.items():
            running = self.by_name.get(name)
            if running is None or not running.alive:
                self._start(name, turn)

    def release(self) -> list[Worker]:
        """Forget all workers and return them."""
        workers, self.by_name = self.by_name, {}
        return list(workers.values())

    def wake(self, name: str) -> None:
        """Cut one worker's pause short."""
        worker = self.by_name.get(name)
        if worker is not None:
            worker.wake()

    def interrupt(self, name: str) -> None:
        """Let one worker give up its fetch and take its next turn."""
        worker = self.by_name.get(name)
        if worker is not None:
            worker.interrupt()

    def _start(self, name: str, turn: Turn) -> None:
        worker = Worker(
            f"watchword-guard-{name}",
            turn,
            self.open_client(),
            on_defect=self._events.defect,
            on_death=self._on_death,
        )
        try:
            worker.start()
        except RuntimeError as error:  # the next check tries again
            self._events.defect(error, _NO_THREAD)
            return
        self.by_name[name] = worker
