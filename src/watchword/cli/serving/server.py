"""Runs uvicorn's server: configuration, failed starts, and the order in which it stops."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from types import FrameType
from typing import Any

import structlog
from uvicorn import Config, Server
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

from watchword.cli.exits import CommandError
from watchword.cli.serving import garbage
from watchword.cli.serving.ports import BACKLOG
from watchword.cli.serving.stopping import port_kept
from watchword.platforms import on_hang_up, raise_descriptors
from watchword.settings import Settings
from watchword.web.connections import Places, most_connections, proxies_among
from watchword.web.protocol import Protocol

_KEEP_ALIVE = 75  # longer than the 60 s of common proxies, which must close first
_GRACE = 10  # for requests in flight
_LAST_GRACE = 3.0  # after a second signal

_log = structlog.get_logger("watchword.serve")
_SILENT = logging.getLogger("watchword.silent")
_SILENT.disabled = True


class ServiceConfig(Config):
    """Adds our server's options to uvicorn's configuration. Worker processes get it pickled."""

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
            proxy_headers=False,  # WATCHWORD_TRUSTED_PROXIES decides
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACE,
            backlog=BACKLOG,
            **options,
        )
        self.drain = settings.drain.total_seconds()
        self.trusted_proxies = settings.trusted_proxies
        self.places: Places | None = None  # made in the process that serves


class Lifespan(LifespanOn):
    """Raises an error of the start-up, where uvicorn would log a traceback and exit."""

    _error: BaseException | None = None

    async def startup(self) -> None:
        """Start; raise what the application raised."""
        # The raised error says more than "Application startup failed". The logger itself may be silenced meanwhile, for
        # good, by a second signal.
        told, self.logger = self.logger, _SILENT
        try:
            await super().startup()
        finally:
            self.logger = told
        if self._error is not None:
            raise self._error
        if self.should_exit:
            raise CommandError("the service could not start", "start it with WATCHWORD_LOG_LEVEL=debug")

    async def send(self, message: LifespanSendMessage) -> None:
        """Receive the application's report."""
        if message["type"] == "lifespan.startup.failed":
            # Frameworks send a traceback, then raise: the error is explained, not logged.
            self.startup_failed = True
            self.startup_event.set()
        else:
            await super().send(message)

    async def main(self) -> None:
        """Run the lifespan, and keep its error."""
        scope = {
            "type": "lifespan",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self.config.loaded_app(scope, self.receive, self.send)
        except BaseException as error:  # noqa: BLE001 - `startup` raises it
            self._error = error
        finally:
            self.startup_event.set()
            self.shutdown_event.set()


class StoppingServer(Server):
    """Stops in order: first `/readyz` says so; after the time to drain no new request is accepted.

    The process's descriptors, less some for the database, limit its connections.
    """

    config: ServiceConfig

    def __init__(self, config: ServiceConfig) -> None:
        super().__init__(config)
        # A trusted proxy brings the connections of many users.
        config.places = Places(most_connections(raise_descriptors()), proxies_among(config.trusted_proxies))
        self._places = config.places
        self._hung_up = False
        on_hang_up(self._hang_up)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler
        """Begin to stop; on a second signal end at once."""
        if not self.should_exit:
            self.should_exit = True
            self._places.draining = True
            self._refuse_readiness()
        elif not self.force_exit:
            self.force_exit = True
            logging.getLogger("uvicorn.error").disabled = True  # it would log each request that is cut off
            timer = threading.Timer(_LAST_GRACE, os._exit, (1,))  # if the disk is stuck
            timer.daemon = True
            timer.start()

    async def on_tick(self, counter: int) -> bool:
        """Log a hang-up. It is called ten times a second."""
        if self._hung_up:
            self._hung_up = False
            _log.info("hang_up_ignored")
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start. After a signal meanwhile still drain: uvicorn would skip `main_loop`."""
        await super().startup(sockets=sockets)
        if self.should_exit:
            self._refuse_readiness()  # the application was not loaded before
            await self.main_loop()

    def _refuse_readiness(self) -> None:
        stop = getattr(self.config.loaded_app if self.config.loaded else None, "refuse_readiness", None)
        if stop is not None:
            stop()

    async def main_loop(self) -> None:
        """Serve until a signal, and for the time to drain."""
        await super().main_loop()
        loop = asyncio.get_running_loop()
        end, counter = loop.time() + self.config.drain, 0
        while loop.time() < end and not self.force_exit:
            await asyncio.sleep(min(0.1, end - loop.time()))
            counter += 1
            await self.on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is under way. New connections get 503."""
        async with port_kept(sockets or ()):
            await super().shutdown(sockets=sockets)  # closes the database last

    def _hang_up(self) -> None:
        self._hung_up = True  # logged later: the signal may have interrupted the log


class GreetingServer(StoppingServer):
    """Prints a greeting once it can be reached."""

    def __init__(self, config: ServiceConfig, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start and print the greeting."""
        await super().startup(sockets=sockets)
        garbage.settle()
        print(self._greeting, flush=True)
