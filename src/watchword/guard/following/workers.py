"""Starts and stops the threads of one process, one for each thing that is followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from watchword.guard.following.events import Events
from watchword.guard.following.worker import Turn, Worker

if TYPE_CHECKING:
    from watchword.guard.following.http_client import HttpClient


class Workers:
    """Starts a worker for each turn, and again where it ended. Callers of `start` and `release` hold a lock.

    :param turns: what each worker does, by its name.
    :param open_client: makes an HTTP client; called once per worker.
    :param on_death: called when a thread ends without having been stopped.
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
        """Return whether each of them runs."""
        workers = self.by_name
        return len(workers) == len(self._turns) and all(worker.alive for worker in workers.values())

    def start(self) -> None:
        """Start those that do not run."""
        for name, turn in self._turns.items():
            running = self.by_name.get(name)
            if running is None or not running.alive:
                self._start(name, turn)

    def release(self) -> list[Worker]:
        """Give up all of them and return them. `start` makes new ones from here on."""
        workers, self.by_name = self.by_name, {}
        return list(workers.values())

    def wake(self, name: str) -> None:
        """Cut the pause of one short."""
        worker = self.by_name.get(name)
        if worker is not None:
            worker.wake()

    def interrupt(self, name: str) -> None:
        """Let one give up its fetch and take its next turn at once."""
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
        except RuntimeError as error:  # no thread is to be had now: the next check tries again
            self._events.defect(error)
            return
        self.by_name[name] = worker
