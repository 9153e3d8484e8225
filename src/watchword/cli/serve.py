"""`watchword serve`: one process, or several behind one socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from tempfile import NamedTemporaryFile
from types import FrameType
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

from watchword.app import create_app, opened
from watchword.cli import garbage
from watchword.cli.banner import banner
from watchword.cli.exits import Trouble
from watchword.cli.loading import export_flags
from watchword.settings import Loaded, Settings, load
from watchword.web.logs import configure_logging
from watchword.web.protocol import Protocol

BACKLOG = 2048
_KEEP_ALIVE = 75  # longer than the 60 s of common proxies, which must be the side that closes
_GRACE = 10  # for requests in flight when asked to stop


def serve(loaded: Loaded, flags: Mapping[str, object]) -> None:
    """Serve until SIGINT or SIGTERM.

    :raises Trouble: for a taken port or a data directory that cannot be used.
    :raises SettingsError: and other errors of this package, for what the service finds when it starts.
    """
    settings = loaded.settings
    _configure_logs(settings)
    _prepare_data_dir(settings)
    with contextlib.closing(_listen(settings)) as listener:
        if settings.workers == 1:
            _in_process(loaded, listener)
        else:
            _in_workers(loaded, flags, listener)


def worker() -> ASGIApp:
    """The service as the environment configures it: what each of several worker processes calls."""
    settings = load({}, os.environ).settings
    _configure_logs(settings)
    app = create_app(settings)
    garbage.settle()  # nobody calls us once uvicorn has started it; most of what stays is there by now
    return app


def _configure_logs(settings: Settings) -> None:
    configure_logging(json=settings.log_format == "json", level=settings.log_level)


def _prepare_data_dir(settings: Settings) -> None:
    directory = settings.data_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=directory, prefix=".writable-"):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Trouble(
            f"cannot write to the data directory {directory}: {reason}",
            "choose another with --data-dir, or change its owner",
        ) from error


def _listen(settings: Settings) -> socket.socket:
    """Take the port before anything else is started, so that a taken one costs nothing and says so."""
    place = f"{settings.host} port {settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise Trouble(f"there is no address {settings.host}", "choose another with --host") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        hint = "stop what runs there, or choose another port with --port"
        raise Trouble(f"cannot listen on {place}: {reason}", hint) from error
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


def _options() -> dict[str, Any]:
    return {
        "http": Protocol,
        "ws": "none",
        "loop": "uvloop" if sys.platform != "win32" else "asyncio",
        "lifespan": "on",
        "log_config": None,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # whom to believe about addresses is ours to decide, see WATCHWORD_TRUSTED_PROXIES
        "timeout_keep_alive": _KEEP_ALIVE,
        "timeout_graceful_shutdown": _GRACE,
        "backlog": BACKLOG,
    }


def _in_process(loaded: Loaded, listener: socket.socket) -> None:
    config = Config(create_app(loaded.settings), **_options())
    config.load()
    config.lifespan_class = _Lifespan
    server = _Server(config, banner(loaded))

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # uvicorn handles these itself while it serves, and raises them once more when it has stopped.
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.run(sockets=[listener])


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
            raise Trouble("the service could not start", "start it with WATCHWORD_LOG_LEVEL=debug")

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


class _Server(Server):
    """Says where it is once it can be reached."""

    def __init__(self, config: Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        garbage.settle()
        print(self._greeting, flush=True)


def _in_workers(loaded: Loaded, flags: Mapping[str, object], listener: socket.socket) -> None:
    from uvicorn.supervisors import Multiprocess

    # Once here: faults are explained once, and the workers find a database that is ready.
    asyncio.run(_open_and_close(loaded.settings))
    export_flags(flags, os.environ)
    config = Config("watchword.cli.serve:worker", factory=True, workers=loaded.settings.workers, **_options())
    supervisor = Multiprocess(config, sockets=[listener])
    print(banner(loaded), flush=True)
    supervisor.run()
    if any(process.exitcode not in (0, -signal.SIGTERM, -signal.SIGINT) for process in supervisor.processes):
        raise Trouble("a worker process failed", "the log above says why")


async def _open_and_close(settings: Settings) -> None:
    async with opened(settings):
        pass
