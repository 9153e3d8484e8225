"""Starts, replaces and stops several server processes behind one socket."""

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
        """Ignore the terminal's interrupt: the supervisor stops the workers."""
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)


class _Worker(Process):
    config: ServiceConfig

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the worker process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._server = _WorkerServer(self.config)  # only this thread may set signal handlers
        super().target(sockets)

    def always_pong(self) -> None:
        """Answer the supervisor's pings until it sends no more."""
        with suppress(EOFError, OSError):
            super().always_pong()


class Workers(Multiprocess):
    """Runs worker processes until a signal; a second one ends them at once."""

    def __init__(self, config: Config, sockets: Sequence[socket.socket]) -> None:
        super().__init__(config, list(sockets))

    def run(self) -> None:
        """Start the workers, and return when all have ended."""
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
            if self.should_exit.is_set():  # a second signal; at each turn, since a worker may merge two
                self.terminate_all()
        self.join_all()

    def init_processes(self) -> None:
        """Start all workers."""
        for _ in range(self.processes_num):
            self.processes.append(self._started())

    def keep_subprocess_alive(self) -> None:
        """Replace workers that ended; stop when one cannot start."""
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
        """Log and ignore a hang-up."""
        _log.info("hang_up_ignored")

    def handle_ttin(self) -> None:
        """Ignore it: shells send it to programs in the background."""

    def handle_ttou(self) -> None:
        """Ignore it likewise."""

    def _started(self) -> _Worker:
        process = _Worker(self.config, self.sockets)
        process.start()
        return process
