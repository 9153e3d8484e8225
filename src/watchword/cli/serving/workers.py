"""Starts, replaces and stops several server processes behind one socket."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Final

import structlog
from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from watchword.cli.exits import CommandError, sentence
from watchword.cli.serving.server import Lifespan, ServiceConfig, StoppingServer
from watchword.cli.serving.stopping import send_away
from watchword.clock import monotonic
from watchword.errors import WatchwordError
from watchword.settings.sources import SECRET_FILES
from watchword.settings.table import BY_NAME

_log = structlog.get_logger("watchword.serve")
_TURN: Final = 0.1  # seconds between two looks at signals
_TURNS: Final = 5  # … for one at the workers
# Looks, not seconds: a supervisor that stood still itself must not take that for its workers' silence.
_SILENT: Final = 20
_STARTING: Final = 240  # several start at once, on a busy machine
_STEADY: Final = 60.0  # seconds after which an end is a new one
_LONGEST_PAUSE: Final = 30.0


def pause_before(attempt: int) -> float:
    """Return the seconds before a replacement: none, 1, 2, 4 … 30, so that one that cannot run takes no processor.

    :param attempt: 1 for the first within `_STEADY`.
    """
    return 0.0 if attempt == 1 else min(2.0 ** min(attempt - 2, 10), _LONGEST_PAUSE)


def export_flags(flags: Mapping[str, object], environ: dict[str, str] | os._Environ[str]) -> None:
    """Put flags into the environment for worker processes. No flag holds a secret."""
    for name, value in flags.items():
        if value is None:
            continue
        setting = BY_NAME[SECRET_FILES.get(name, name)]
        environ.pop(setting.variable, None)  # the flag replaces it,
        environ.pop(setting.variable + "_FILE", None)  # in both forms
        if setting.secret:
            environ[setting.variable + "_FILE"] = os.path.abspath(str(value))
        else:
            environ[setting.variable] = str(value)


class _WorkerServer(StoppingServer):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ignore the terminal's interrupt: the supervisor stops the workers."""
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)


class Worker(Process):
    """A server process, as its supervisor sees it; `target` runs in that process."""

    config: ServiceConfig

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.begun = monotonic()
        self.serving = False
        self._asked = False
        self._silent = 0

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the worker process, until the supervisor says so or is gone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._server = server = _WorkerServer(self.config)  # only this thread may set signal handlers
        for beside in (self.always_pong, _end_with_supervisor):
            threading.Thread(target=beside, daemon=True).start()
        try:
            self.config.load()
            self.config.lifespan_class = Lifespan
            server.run(sockets)
        except (WatchwordError, CommandError, OSError) as error:
            if server.started:
                raise
            reason = sentence(error) if isinstance(error, WatchwordError) else str(error)
            _log.error("worker_not_started", pid=os.getpid(), reason=reason)
            sys.exit(STARTUP_FAILURE)

    def always_pong(self) -> None:
        """Answer the supervisor's pings until it sends no more."""
        with suppress(EOFError, OSError):
            super().always_pong()

    def is_well(self) -> bool:
        """Return whether it runs, and has answered lately or is still starting. Waits for nothing."""
        if not self.process.is_alive():
            return False
        with suppress(EOFError, OSError):
            if self._asked and self.parent_conn.poll():
                self.serving = bool(self.parent_conn.recv()) or self.serving
                self._asked, self._silent = False, 0
            if not self._asked:
                self.parent_conn.send(b"ping")
                self._asked = True
        self._silent += 1
        return self._silent <= (_SILENT if self.serving else _STARTING)


def _end_with_supervisor() -> None:
    """Stop as after SIGTERM when the supervisor was killed: the port would stay taken, and no one would replace us."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        _log.error("supervisor_gone", pid=os.getpid())
        os.kill(os.getpid(), signal.SIGTERM)


class _Place:
    """A worker, and those that were there before it."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.ends = 0  # one soon after the other
        self.empty_until: float | None = None


class Workers(Multiprocess):
    """Runs worker processes until a signal; a second one ends them at once.

    :param ended: called with the process id of a worker that is replaced.
    """

    def __init__(
        self, config: Config, sockets: Sequence[socket.socket], ended: Callable[[int], None] | None = None
    ) -> None:
        super().__init__(config, list(sockets))
        self._places: list[_Place] = []
        self._has_served = False
        self.failed = False
        """Whether none could start, or one failed while it was stopping."""
        self._ended = ended

    def run(self) -> None:
        """Start the workers, and return when all have ended."""
        self.init_processes()
        turn = 0
        while not self.should_exit.wait(_TURN):
            turn += 1
            self.handle_signals()
            if turn % _TURNS == 0:
                self.keep_subprocess_alive()
        self._stop()

    def _stop(self) -> None:
        for place in self._places:
            if place.empty_until is None and not place.worker.process.is_alive():
                self._clear(place)  # it ended before the stop, which is then no failure
        self.processes = [place.worker for place in self._places if place.empty_until is None]
        self.terminate_all()
        self.should_exit.clear()
        while any(process.process.is_alive() for process in self.processes):
            time.sleep(_TURN / 2)
            self.handle_signals()
            if self.should_exit.is_set():  # a second signal; at each turn, since a worker may merge two
                self.terminate_all()
        self.join_all()
        asyncio.run(send_away(self.sockets))
        ended_well = (0, -signal.SIGTERM, -signal.SIGINT)
        self.failed |= any(process.exitcode not in ended_well for process in self.processes)

    def init_processes(self) -> None:
        """Start all workers."""
        self._places = [_Place(self._started()) for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Replace workers that ended or hang; stop when none can start at all."""
        for place in self._places:
            if place.empty_until is not None:
                if monotonic() >= place.empty_until:
                    place.worker, place.empty_until = self._started(), None
            elif place.worker.is_well():
                self._has_served |= place.worker.serving
            else:
                self._clear(place)

    def _clear(self, place: _Place) -> None:
        """Empty a place, and say for how long."""
        worker = place.worker
        hung = worker.process.is_alive()
        worker.kill()
        worker.join()
        if worker.exitcode == STARTUP_FAILURE and not self._has_served:
            self.failed = True
            self.should_exit.set()
        steady = worker.serving and monotonic() - worker.begun >= _STEADY
        place.ends = 1 if steady else place.ends + 1
        pause = pause_before(place.ends)
        place.empty_until = monotonic() + pause
        event = "worker_hung" if hung else "worker_ended"
        _log.error(event, pid=worker.pid, exit_code=worker.exitcode, replaced_in=pause)
        if self._ended is not None and worker.pid is not None:
            self._ended(worker.pid)

    def handle_hup(self) -> None:
        """Log and ignore a hang-up."""
        _log.info("hang_up_ignored")

    def handle_ttin(self) -> None:
        """Ignore it: shells send it to programs in the background."""

    def handle_ttou(self) -> None:
        """Ignore it likewise."""

    def _started(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker
