"""Asks a deployment over http.client, bounded in number and time.

No client library: `server` brings none, and one for this alone would be code that nothing else needs. The checks need
the addresses and the certificate of a connection, and answers to half-sent bodies, which libraries hide. The guard's
client only gets, and drops the body of every refusal.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import SplitResult

from watchword import __version__
from watchword.cli.doctor.findings import Unseen
from watchword.clock import monotonic

AGENT = f"watchword-doctor/{__version__} (checks this deployment for its operator)"
MOST_REQUESTS = 200
MOST_SECONDS = 120.0
_ANSWER_SECONDS = 20.0
_MOST_BYTES = 262_144

Headers = Sequence[tuple[str, str]]


class NoAnswer(Unseen):
    """The deployment did not answer a request."""


class Answer(NamedTuple):
    """What came back. `seconds` are from the request's first byte to the answer's head."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float

    def header(self, name: str) -> str:
        """Return a header, or ''. Repeated ones are joined."""
        return ", ".join(self.all(name))

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for each, value in self.headers if each.lower() == name]

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body, or an empty one."""
        with suppress(ValueError, RecursionError):
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        return {}

    @property
    def ok(self) -> bool:
        """Tell whether it is a 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004

    @property
    def said(self) -> str:
        """Return the status and the problem's code, for people."""
        code = self.json().get("code")
        return f"{self.status} {code[:40]}" if isinstance(code, str) and code.isprintable() else str(self.status)


class Wire:
    """Sends requests, each on a connection of its own, so that none meets a state of another.

    :param place: where the service answers, path included.
    """

    def __init__(self, place: SplitResult, *, most: int = MOST_REQUESTS, seconds: float = MOST_SECONDS) -> None:
        self.place = place
        self.sent = 0
        self._most = most
        self._until = monotonic() + seconds
        self._tls: ssl.SSLContext | None = None
        self.local = self.remote = ""  # the addresses of the last connection
        self.version: str | None = None  # of TLS
        self.certificate: dict[str, Any] = {}

    @property
    def secure(self) -> bool:
        """Tell whether it speaks https."""
        return self.place.scheme == "https"

    def allow_seconds(self, seconds: float) -> None:
        """Give the end its own time, so that the account is deleted in any case."""
        self._until = max(self._until, monotonic() + seconds)
        self._most = max(self._most, self.sent + 10)

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Headers = (),
        body: object = None,
        raw: bytes | Iterable[bytes] | None = None,
        root: bool = False,
    ) -> Answer:
        """Send a request and return its answer; redirections are not followed.

        :param path: after the deployment's own.
        :param body: sent as JSON.
        :param raw: sent as it is; what is no bytes goes out in chunks.
        :param root: the path is that of the whole origin.
        :raises NoAnswer: none came in time.
        """
        if self.sent >= self._most or monotonic() >= self._until:
            raise NoAnswer(f"the doctor had used up its {self._most} requests or its time")
        self.sent += 1
        payload = raw if body is None else json.dumps(body).encode()
        given = [("User-Agent", AGENT), ("Accept", "application/json"), *headers]
        if body is not None:
            given.append(("Content-Type", "application/json"))
        connection = self._connection()
        timer = threading.Timer(_ANSWER_SECONDS, _cut, (connection,))
        timer.daemon = True
        timer.start()
        try:
            connection.connect()
            self._note(connection.sock)
            return _exchanged(connection, method, path if root else self.place.path + path, given, payload)
        except (OSError, http.client.HTTPException, ValueError) as error:  # the last: a token that fits no header
            raise NoAnswer(f"no answer to {method} {path}: {in_words(error)}") from error
        finally:
            timer.cancel()
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.place.hostname or "", self.place.port
        if not self.secure:
            return http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=_ANSWER_SECONDS, context=self._tls)

    def _note(self, connected: socket.socket) -> None:
        self.local, self.remote = connected.getsockname()[0], connected.getpeername()[0]
        if isinstance(connected, ssl.SSLSocket):
            self.version = connected.version()
            self.certificate = connected.getpeercert() or {}


def in_words(error: Exception) -> str:
    """Return an error of the network for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _exchanged(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Headers,
    payload: bytes | Iterable[bytes] | None,
) -> Answer:
    chunked = payload is not None and not isinstance(payload, bytes)
    connection.putrequest(method, path or "/", skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    if chunked:
        connection.putheader("Transfer-Encoding", "chunked")
    elif payload is not None or method in {"POST", "PATCH", "DELETE"}:
        connection.putheader("Content-Length", str(len(payload or b"")))  # type: ignore[arg-type]
    begun = monotonic()
    with suppress(ConnectionError):  # a server that refuses a large body closes early, and its answer can be read
        connection.endheaders(payload, encode_chunked=chunked)
    response = connection.getresponse()
    seconds = monotonic() - begun
    return Answer(response.status, tuple(response.getheaders()), response.read(_MOST_BYTES), seconds)


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a request that drips: http.client limits each read only."""
    waiting = connection.sock
    if waiting is not None:
        with suppress(OSError):
            socket.socket.shutdown(waiting, socket.SHUT_RDWR)
