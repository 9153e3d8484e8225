"""Serves `/metrics` on a port of its own, in a thread: it answers even while the event loop stands still.

It is for scrapers in a private network. A few connections at a time, each for a few seconds, so that no one can hold
the process's threads or descriptors.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from watchword.tally import Faults, Log

PATH = "/metrics"
MOST_CONNECTIONS = 8
_SECONDS = 10.0  # for a connection as a whole
_TURN = 0.1  # seconds between two looks whether to stop

Read = Callable[[], bytes]
_faults = Faults(Log("watchword.metrics"), every=60)


class _Answer(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SECONDS

    def setup(self) -> None:
        super().setup()
        self._timer = threading.Timer(_SECONDS, self._cut)  # a client may send a byte now and then
        self._timer.daemon = True
        self._timer.start()

    def finish(self) -> None:
        self._timer.cancel()
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client has gone, or was cut off
            super().handle()

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        found = self.path.partition("?")[0] == PATH
        status = HTTPStatus.OK if found else HTTPStatus.NOT_FOUND
        content = self.server.read() if found else b"Metrics are at /metrics.\n"
        self.send_response_only(status)
        self.send_header("Content-Type", self.server.content_type if found else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write nothing: a line for each scrape tells nothing."""


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, read: Read, content_type: str, places: threading.Semaphore) -> None:
        super().__init__(listener.getsockname()[:2], _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.read = read
        self.content_type = content_type
        self._places = places

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is a place."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log our own fault; the client sees that its connection ends."""
        error = sys.exception()
        if error is not None:
            _faults.add("scrape_failed", error)


@contextlib.contextmanager
def served(listeners: Sequence[socket.socket], read: Read, content_type: str) -> Iterator[None]:
    """Answer scrapes on these sockets, which it closes at the end.

    :param read: what a scrape is answered with; called in other threads.
    """
    places = threading.Semaphore(MOST_CONNECTIONS)
    servers = [_Server(listener, read, content_type, places) for listener in listeners]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(_TURN,), name="watchword-metrics", daemon=True).start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
