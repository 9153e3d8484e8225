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
from watchword.cli.serving import garbage, metrics
from watchword.cli.serving.banner import banner, first_administrator
from watchword.cli.serving.ports import listen
from watchword.cli.serving.server import GreetingServer, Lifespan, ServiceConfig
from watchword.cli.serving.workers import Workers, export_flags
from watchword.identity.first_administrator import FirstAdministrator
from watchword.observing import extras
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
    metrics.warn_of_a_host_alone(loaded)
    if settings.workers > 1 and not POSIX:
        raise CommandError("this system can run one server process only", "leave --workers out")
    if settings.tracing:  # explained once, here
        extras.opentelemetry("WATCHWORD_TRACING").check_environment()
    with contextlib.ExitStack() as taken:
        listeners = [taken.enter_context(listener) for listener in listen(settings)]
        if settings.workers == 1:
            registry = taken.enter_context(metrics.of_one_process(settings))
            _in_process(loaded, listeners, Watchword(settings, registry=registry))
        else:
            ended = taken.enter_context(metrics.of_workers(settings))
            _in_workers(loaded, flags, listeners, ended)


def worker() -> ASGIApp:
    """Return the service as the environment configures it, in a worker process."""
    settings = load({}, os.environ).settings
    _configure_logs(settings)
    app = Watchword(settings, registry=metrics.registry_of(settings))
    garbage.settle()  # there is no call later, and most is loaded now
    return app


def _configure_logs(settings: Settings) -> None:
    configure_logging(json=settings.log_format == "json", level=settings.log_level)


def _in_process(loaded: Loaded, listeners: list[socket.socket], app: Watchword) -> None:
    config = ServiceConfig(app, loaded.settings)
    config.load()
    config.lifespan_class = Lifespan
    offer = asyncio.run(_opened_once(loaded.settings)) if loaded.settings.admin else None
    server = GreetingServer(config, banner(loaded) + first_administrator(loaded, offer))
    # uvicorn handles these only while it serves.
    signal.signal(signal.SIGTERM, server.handle_exit)
    signal.signal(signal.SIGINT, server.handle_exit)
    server.run(sockets=listeners)


def _in_workers(
    loaded: Loaded, flags: Mapping[str, object], listeners: Sequence[socket.socket], ended: metrics.Ended | None
) -> None:
    # Once here, so that faults are explained once and workers find the database ready.
    offer = asyncio.run(_opened_once(loaded.settings))
    settings = loaded.settings
    export_flags({**flags, "workers": settings.workers}, os.environ)  # the same number in each, also of `auto`
    config = ServiceConfig("watchword.cli.serving.start:worker", settings, factory=True, workers=settings.workers)
    supervisor = Workers(config, listeners, ended)
    print(banner(loaded) + first_administrator(loaded, offer), flush=True)
    supervisor.run()
    if supervisor.failed:
        raise CommandError("a worker process failed", "the log above says why")


async def _opened_once(settings: Settings) -> str | None:
    """Open and close the database; return the token for the first administrator, where there is none."""
    async with opened(settings) as kernel:
        return await FirstAdministrator(kernel).offer() if settings.admin else None
