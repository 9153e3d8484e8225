"""Several server processes behind one socket: started, kept alive and stopped by this one."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import structlog
from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from watchword.cli.serving.server import ServiceConfig, StoppingServer

_log = structlog.get_logger("watchword.serve")
_TURN = 0.1  # seconds between two looks at signals
_TURNS = 5  # … for one at the workers


class _WorkerServer(StoppingServer):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A terminal sends its interrupt to every process; the first of them tells the others when to stop."""
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)


class _Worker(Process):
    config: ServiceConfig

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What the worker process does."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._server = _WorkerServer(self.config)  # in this thread, which alone may set signal handlers
        super().target(sockets)

    def always_pong(self) -> None:
        """Answer whether it lives, until the first process has told it to stop and asks no more."""
        with suppress(EOFError, OSError):
            super().always_pong()


class Workers(Multiprocess):
    """Runs until a signal says stop; a second one makes the workers end at once."""

    def __init__(self, config: Config, sockets: Sequence[socket.socket]) -> None:
        super().__init__(config, list(sockets))

    def run(self) -> None:
        """Start them, and return when all have ended."""
        self.init_processes()
        turn = 0
        while not self.should_exit.wait(_TURN):
            turn += 1
            self.handle_signals()
            if turn % _TURNS == 0:
                self.keep_subprocess_alive()
        self.terminate_all()
        self.should_exit.clear()
        while any(process.process.is_alive() for process in self.processes):
            time.sleep(_TURN / 2)
            self.handle_signals()
            if self.should_exit.is_set():  # told again; at each turn, since two signals that meet at a worker are one
                self.terminate_all()
        self.join_all()

    def init_processes(self) -> None:
        """Start as many as the settings say."""
        for _ in range(self.processes_num):
            self.processes.append(self._started())

    def keep_subprocess_alive(self) -> None:
        """Start another one for each that has ended; stop when one cannot even start."""
        for place, process in enumerate(self.processes):
            if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                continue
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
                return
            _log.error("worker_ended", exit_code=process.exitcode)
            self.processes[place] = self._started()

    def handle_hup(self) -> None:
        """A hang-up ends nothing: the terminal has gone, the service stays."""
        _log.info("hang_up_ignored")

    def handle_ttin(self) -> None:
        """What a shell sends to programs in the background is no order to change the number of workers."""

    def handle_ttou(self) -> None:
        """The same."""

    def _started(self) -> _Worker:
        process = _Worker(self.config, self.sockets)
        process.start()
        return process
