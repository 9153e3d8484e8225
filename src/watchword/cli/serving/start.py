"""Starts the service: one process, or several behind one socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp

from watchword.app import Watchword
from watchword.cli.exits import CommandError
from watchword.cli.loading import export_flags
from watchword.cli.serving import garbage
from watchword.cli.serving.banner import banner
from watchword.cli.serving.ports import listen
from watchword.cli.serving.server import GreetingServer, Lifespan, ServiceConfig
from watchword.cli.serving.workers import Workers
from watchword.opening import opened
from watchword.platforms import POSIX
from watchword.settings import Loaded, Settings, load
from watchword.web.logs import configure_logging


def start(loaded: Loaded, flags: Mapping[str, object]) -> None:
    """Serve until SIGINT or SIGTERM; a second one ends it at once. SIGHUP is ignored.

    :raises CommandError: the port is taken, or the data directory is not usable.
    :raises WatchwordError: the service cannot start.
    """
    settings = loaded.settings
    _configure_logs(settings)
    if settings.workers > 1 and not POSIX:
        raise CommandError("this system can run one server process only", "leave --workers out")
    with contextlib.ExitStack() as taken:
        listeners = [taken.enter_context(listener) for listener in listen(settings)]
        if settings.workers == 1:
            _in_process(loaded, listeners)
        else:
            _in_workers(loaded, flags, listeners)


def worker() -> ASGIApp:
    """Return the service as the environment configures it, in a worker process."""
    settings = load({}, os.environ).settings
    _configure_logs(settings)
    app = Watchword(settings)
    garbage.settle()  # there is no call later, and most is loaded now
    return app


def _configure_logs(settings: Settings) -> None:
    configure_logging(json=settings.log_format == "json", level=settings.log_level)


def _in_process(loaded: Loaded, listeners: list[socket.socket]) -> None:
    config = ServiceConfig(Watchword(loaded.settings), loaded.settings)
    config.load()
    config.lifespan_class = Lifespan
    server = GreetingServer(config, banner(loaded))
    # uvicorn handles these only while it serves.
    signal.signal(signal.SIGTERM, server.handle_exit)
    signal.signal(signal.SIGINT, server.handle_exit)
    server.run(sockets=listeners)


def _in_workers(loaded: Loaded, flags: Mapping[str, object], listeners: Sequence[socket.socket]) -> None:
    # Once here, so that faults are explained once and workers find the database ready.
    asyncio.run(_open_and_close(loaded.settings))
    export_flags(flags, os.environ)
    settings = loaded.settings
    config = ServiceConfig("watchword.cli.serving.start:worker", settings, factory=True, workers=settings.workers)
    supervisor = Workers(config, listeners)
    print(banner(loaded), flush=True)
    supervisor.run()
    if any(process.exitcode not in (0, -signal.SIGTERM, -signal.SIGINT) for process in supervisor.processes):
        raise CommandError("a worker process failed", "the log above says why")


async def _open_and_close(settings: Settings) -> None:
    async with opened(settings):
        pass
