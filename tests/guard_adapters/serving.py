"""Real servers for the applications of `apps`, each on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn

from tests.e2e.listening import listening, said
from tests.e2e.server import clean_environment, free_port

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
    """What came back. `headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The `code` of a problem document; None for other answers."""
        if self.headers.get("content-type") != "application/problem+json":
            return None
        code: str = json.loads(self.body)["code"]
        return code

    def user(self) -> Any:
        """Whom the route saw."""
        return json.loads(self.body)["user"]


class Api(NamedTuple):
    """An application on a server."""

    port: int
    prefix: str = ""

    def ask(self, path: str, headers: Iterable[tuple[str, str | bytes]] = (), method: str = "GET") -> Answer:
        """Send a request with these header lines, of which there may be two of a name."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.putrequest(method, self.prefix + path, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if method == "POST":
                connection.putheader("Content-Length", "0")
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@contextlib.contextmanager
def on_uvicorn(app: Any, port: int = 0, **options: Any) -> Iterator[Api]:
    """An ASGI application in a thread."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", port))
        settings: dict[str, Any] = {"log_level": "warning", "access_log": False, "ws": "none"}
        server = uvicorn.Server(uvicorn.Config(app, **(settings | options)))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        assert server.started
        try:
            yield Api(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(10)


@contextlib.contextmanager
def on_aiohttp(app: Any) -> Iterator[Api]:
    """An aiohttp application on aiohttp's server, on an event loop in a thread."""
    from aiohttp import web

    loop, runner = asyncio.new_event_loop(), web.AppRunner(app, max_field_size=16380, access_log=None)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        async def begin() -> None:
            await runner.setup()
            await web.SockSite(runner, listening).start()

        asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
        try:
            yield Api(listening.getsockname()[1])
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()


@contextlib.contextmanager
def on_werkzeug(app: Any) -> Iterator[Api]:
    """A WSGI application on a threaded server in a thread."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *_: Any, **__: Any) -> None:
            pass

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    with _in_a_thread(server) as api:
        yield api


@contextlib.contextmanager
def on_wsgiref(app: Any) -> Iterator[Api]:
    """A WSGI application on the standard library's server, one request after the other."""
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = make_server("127.0.0.1", 0, app, handler_class=Silent)
    with _in_a_thread(server) as api:
        yield api


@contextlib.contextmanager
def _in_a_thread(server: Any) -> Iterator[Api]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Api(server.server_port)
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextlib.contextmanager
def as_process(folder: Path, *command: str, issuer: str, audience: str) -> Iterator[Api]:
    """A server as a process (or several) of its own; `{port}` in the command is the port."""
    port = free_port()
    environment = clean_environment() | {
        "TEST_ISSUER": issuer,
        "TEST_AUDIENCE": audience,
        "PYTHONPATH": os.fspath(ROOT),
    }
    line = [sys.executable, "-m", *(part.format(port=port) for part in command)]
    with listening(line, folder, port, environment=environment, where=ROOT):
        yield Api(port)
        assert "Traceback" not in said(folder), said(folder)


GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning", "--limit-request-field_size", "16380")
