"""Requests byte by byte, for what no HTTP library would send."""

from __future__ import annotations

import json
import socket
from typing import Any, NamedTuple

from tests.e2e.server import Server


class RawAnswer(NamedTuple):
    """The first answer on a connection. `headers` by lower-case name, the last of equal ones."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def send(server: Server, request: bytes, *, timeout: float = 20) -> RawAnswer:
    """Send these bytes, read one answer, hang up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout) as connection:
        connection.sendall(request)
        return _read(connection)


def request(method: str, path: str, *headers: str, body: bytes = b"", length: str | None = None) -> bytes:
    """A request with these header lines as they are, and a Content-Length unless it is given or there is no body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body or length is not None:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _read(connection: socket.socket) -> RawAnswer:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            raise AssertionError(f"the connection ended without an answer: {received!r}")
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return RawAnswer(int(first.split()[1]), headers, body)
