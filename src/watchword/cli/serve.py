"""`watchword serve`: one process, or several behind one socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import structlog
from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

from watchword.app import create_app, opened
from watchword.cli import garbage
from watchword.cli.banner import banner
from watchword.cli.exits import CommandError
from watchword.cli.loading import export_flags
from watchword.cli.ports import BACKLOG, listen
from watchword.cli.stopping import port_kept
from watchword.platforms import POSIX, on_hang_up, raise_descriptors
from watchword.settings import Loaded, Settings, load
from watchword.web.connections import Places, most_connections, proxies_among
from watchword.web.logs import configure_logging
from watchword.web.protocol import Protocol

_KEEP_ALIVE = 75  # longer than the 60 s of common proxies, which must be the side that closes
_GRACE = 10  # for requests in flight when asked to stop
_LAST_GRACE = 3.0  # when told again

_log = structlog.get_logger("watchword.serve")


def serve(loaded: Loaded, flags: Mapping[str, object]) -> None:
    """Serve until SIGINT or SIGTERM; a second one ends it at once. SIGHUP is ignored.

    :raises CommandError: for a taken port.
    :raises SettingsError: and other errors of this package, for what the service finds when it starts.
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
    """The service as the environment configures it: what each of several worker processes calls."""
    settings = load({}, os.environ).settings
    _configure_logs(settings)
    app = create_app(settings)
    garbage.settle()  # no one calls us once uvicorn has started it; most of what stays is there by now
    return app


def _configure_logs(settings: Settings) -> None:
    configure_logging(json=settings.log_format == "json", level=settings.log_level)


class ServiceConfig(Config):
    """uvicorn's configuration, and what our own server wants to know besides; it reaches worker processes pickled."""

    def __init__(self, app: Any, settings: Settings, **options: Any) -> None:
        super().__init__(
            app,
            http=Protocol,
            ws="none",
            loop="auto",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # whom to believe about addresses is ours to decide, see WATCHWORD_TRUSTED_PROXIES
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACE,
            backlog=BACKLOG,
            **options,
        )
        self.drain = settings.drain.total_seconds()
        self.trusted_proxies = settings.trusted_proxies
        self.places: Places | None = None  # made in the process that serves


def _in_process(loaded: Loaded, listeners: list[socket.socket]) -> None:
    config = ServiceConfig(create_app(loaded.settings), loaded.settings)
    config.load()
    config.lifespan_class = _Lifespan
    server = _Server(config, banner(loaded))
    # uvicorn handles these itself only while it serves.
    signal.signal(signal.SIGTERM, server.handle_exit)
    signal.signal(signal.SIGINT, server.handle_exit)
    server.run(sockets=listeners)


class _Lifespan(LifespanOn):
    """Lets an error of the start-up through as it is, where uvicorn would log a traceback and exit."""

    _error: BaseException | None = None

    async def startup(self) -> None:
        self.logger.disabled = True  # "Application startup failed" says nothing that is not explained below
        try:
            await super().startup()
        finally:
            self.logger.disabled = False
        if self._error is not None:
            raise self._error
        if self.should_exit:
            raise CommandError("the service could not start", "start it with WATCHWORD_LOG_LEVEL=debug")

    async def send(self, message: LifespanSendMessage) -> None:
        if message["type"] == "lifespan.startup.failed":
            # Frameworks send a traceback here and then raise; what they raise is explained, so nothing is logged.
            self.startup_failed = True
            self.startup_event.set()
        else:
            await super().send(message)

    async def main(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self.config.loaded_app(scope, self.receive, self.send)
        except BaseException as error:  # noqa: BLE001 - raised again by `startup`
            self._error = error
        finally:
            self.startup_event.set()
            self.shutdown_event.set()


class StoppingServer(Server):
    """Stops in order: first `/readyz` says so, then, after the time to drain, nothing new is taken.

    Its connections are as many as the process may have descriptors for, less some for the database.
    """

    config: ServiceConfig

    def __init__(self, config: ServiceConfig) -> None:
        super().__init__(config)
        # A proxy of ours brings the connections of many people.
        config.places = Places(most_connections(raise_descriptors()), proxies_among(config.trusted_proxies))
        self._places = config.places
        self._hung_up = False
        on_hang_up(self._hang_up)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler
        """Begin to stop; when told again, end now, whatever is under way."""
        if not self.should_exit:
            self.should_exit = True
            self._places.draining = True
            self._refuse_readiness()
        elif not self.force_exit:
            self.force_exit = True
            logging.getLogger("uvicorn.error").disabled = True  # it would tell of each request that is cut off
            timer = threading.Timer(_LAST_GRACE, os._exit, (1,))  # should the disk be stuck
            timer.daemon = True
            timer.start()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._hung_up:
            self._hung_up = False
            _log.info("hang_up_ignored")
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; told to stop meanwhile, drain all the same, since uvicorn would leave out `main_loop` then."""
        await super().startup(sockets=sockets)
        if self.should_exit:
            self._refuse_readiness()  # which there was nothing to refuse with before
            await self.main_loop()

    def _refuse_readiness(self) -> None:
        stop = getattr(self.config.loaded_app if self.config.loaded else None, "refuse_readiness", None)
        if stop is not None:
            stop()

    async def main_loop(self) -> None:
        """Serve until told to stop, and as long as the setting says after that."""
        await super().main_loop()
        loop = asyncio.get_running_loop()
        end, counter = loop.time() + self.config.drain, 0
        while loop.time() < end and not self.force_exit:
            await asyncio.sleep(min(0.1, end - loop.time()))
            counter += 1
            await self.on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is under way, while new connections are told to come back."""
        async with port_kept(sockets or ()):
            await super().shutdown(sockets=sockets)  # which closes the database last

    def _hang_up(self) -> None:
        self._hung_up = True  # a signal handler may have interrupted the log itself


class _Server(StoppingServer):
    """Says where it is once it can be reached."""

    def __init__(self, config: ServiceConfig, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        garbage.settle()
        print(self._greeting, flush=True)


def _in_workers(loaded: Loaded, flags: Mapping[str, object], listeners: Sequence[socket.socket]) -> None:
    from watchword.cli.workers import Workers  # here: it needs this module, and one process needs none of it

    # Once here: faults are explained once, and the workers find a database that is ready.
    asyncio.run(_open_and_close(loaded.settings))
    export_flags(flags, os.environ)
    settings = loaded.settings
    config = ServiceConfig("watchword.cli.serve:worker", settings, factory=True, workers=settings.workers)
    supervisor = Workers(config, listeners)
    print(banner(loaded), flush=True)
    supervisor.run()
    if any(process.exitcode not in (0, -signal.SIGTERM, -signal.SIGINT) for process in supervisor.processes):
        raise CommandError("a worker process failed", "the log above says why")


async def _open_and_close(settings: Settings) -> None:
    async with opened(settings):
        pass
