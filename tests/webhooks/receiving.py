"""A receiver of webhooks, on a port of its own: it keeps what it gets, and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import msgspec


class Got(NamedTuple):
    """A request."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The event's id."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        """The body, read."""
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.event["type"])

    @property
    def user(self) -> str:
        """The event's user, or nothing."""
        return str(self.event["data"].get("user_id", ""))


class Receiver:
    """What it got, and how it answers: a status for each request.

    :param port: where it listens.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks?token=canary-in-the-url"
        self.got: list[Got] = []
        self.answer: Callable[[Got], int] = lambda _: 204
        self.headers: dict[str, str] = {}
        """What every answer says besides."""
        self.taken: list[Got] = []

    def types(self, user: str | None = None) -> list[str]:
        """The types that were taken, in order; of one user."""
        return [got.type for got in self.taken if user is None or got.user == user]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got = Got({name.lower(): value for name, value in self.headers.items()}, body)
            receiver.got.append(got)
            status = receiver.answer(got)
            if status < 300:
                receiver.taken.append(got)
            self.send_response(status)
            self.send_header("content-length", "0")
            for each in receiver.headers.items():
                self.send_header(*each)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
