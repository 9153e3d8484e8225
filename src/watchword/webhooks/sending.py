"""Hands a webhook over: one request by POST, within a deadline and within bounds.

The name is looked up once; each address is checked, and the connection goes to the very address that was checked.
Redirects are not followed. Of an answer only its status counts, and for how long a receiver that is busy wants no more.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from watchword import hosts
from watchword.webhooks.names import Names
from watchword.webhooks.urls import Target

SECONDS: Final = 15
"""Within which a webhook is handed over, from the look-up of the name to the answer's status."""

_HEAD_BYTES: Final = 16 * 1024
_REST_BYTES: Final = 64 * 1024
_REST_SECONDS: Final = 1.0
_MOST_INTERIM: Final = 5
_BUSY: Final = frozenset((HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE))
_DIGITS: Final = 9
_PORTS: Final = {"http": 80, "https": 443}
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")

Headers = Sequence[tuple[str, str]]


class Outcome(NamedTuple):
    """What came of it.

    :param fault: why it was not taken, in words of ours; empty when it was. Nothing that the receiver wrote is in it.
    :param gone: the receiver wants no more (410).
    :param retry_after: seconds for which it wants nothing, as it says with 429 or 503; 0: it does not say.
    """

    fault: str = ""
    gone: bool = False
    retry_after: int = 0


class _NotTaken(Exception):
    """Says why, in words of ours."""


class HttpSender:
    """Sends webhooks.

    :param tls: verifies certificates; by default as the system does.
    :param seconds: for each.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, seconds: float = SECONDS) -> None:
        self._given = tls
        self._seconds = seconds
        self._names = Names()

    async def send(self, target: Target, headers: Headers, body: bytes) -> Outcome:
        """Hand a webhook over. It never raises, unless it is cancelled."""
        try:
            async with asyncio.timeout(self._seconds):
                status, head = await self._posted(target, headers, body)
        except _NotTaken as error:
            return Outcome(str(error))
        except TimeoutError:
            return Outcome(f"no answer within {self._seconds:g} seconds")
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the webhook waits for another try
            return Outcome(_in_words(error))
        return _judged(status, head)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given or ssl.create_default_context()

    async def _posted(self, target: Target, headers: Headers, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(target.url)
        connected = await _connected(self._names, target, parts.port or _PORTS[parts.scheme])
        try:
            secured = {"ssl": self._tls, "server_hostname": parts.hostname} if parts.scheme == "https" else {}
            reader, writer = await asyncio.open_connection(sock=connected, limit=_HEAD_BYTES, **secured)  # type: ignore[arg-type]
        except BaseException:
            connected.close()
            raise
        try:
            writer.write(_request(target.url, headers, body))
            await writer.drain()
            answered = await _status(reader)
            await _read_rest(reader)
            return answered
        finally:
            writer.transport.abort()  # a closing handshake would wait for the other end


async def _connected(names: Names, target: Target, port: int) -> socket.socket:
    """Connect to the first address that answers; only when every one is allowed."""
    try:
        found = await names.find(target.host, port)
    except OSError:
        raise _NotTaken(f"the name {target.host} does not resolve") from None
    for *_, address in found:
        refusal = target.refusal(str(address[0]))
        if refusal:
            raise _NotTaken(f"{target.host} leads to {refusal}")
    return await hosts.connected(found)


def _request(url: str, headers: Headers, body: bytes) -> bytes:
    parts = urlsplit(url)
    # By hand: Python's joiner leaves out the slash before a bare query, and newer ones add two to a path with two.
    asked = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = (
        f"POST {asked} HTTP/1.1",
        f"Host: {parts.netloc}",
        "User-Agent: Watchword-Webhooks",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers),
    )
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


async def _status(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read an answer's head; return its status, and all of the head. Interim answers are passed over."""
    for _ in range(_MOST_INTERIM):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise _NotTaken("the answer's headers are too long") from None
        except asyncio.IncompleteReadError:
            raise _NotTaken("the connection was closed before an answer") from None
        found = _STATUS.match(head)
        if found is None:
            raise _NotTaken("the answer is not HTTP")
        status = int(found[1])
        if status >= HTTPStatus.OK:
            return status, head
    raise _NotTaken("no answer but interim ones")


async def _read_rest(reader: asyncio.StreamReader) -> None:
    """Let a receiver finish its answer, within bounds: a connection cut off looks like a fault in its log."""
    left = _REST_BYTES
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_REST_SECONDS):
            while left > 0 and (chunk := await reader.read(left)):
                left -= len(chunk)


def _judged(status: int, head: bytes) -> Outcome:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome()
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Outcome(f"it answered {status}; redirects are not followed")
    wait = _retry_after(head) if status in _BUSY else 0
    return Outcome(f"it answered {status}", gone=status == HTTPStatus.GONE, retry_after=wait)


def _retry_after(head: bytes) -> int:
    """Return the seconds of `Retry-After` (RFC 9110 section 10.2.3), or 0.

    A date counts from the answer's own `Date`, so that neither clock matters.
    """
    said = _header(head, b"retry-after")
    if said.isascii() and said.isdigit():
        return int(said[:_DIGITS])
    try:
        wait = parsedate_to_datetime(said) - parsedate_to_datetime(_header(head, b"date"))
        return max(0, int(wait.total_seconds()))
    except (TypeError, ValueError):
        return 0


def _header(head: bytes, name: bytes) -> str:
    """Return the first header of this name, or nothing."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode("latin-1")
    return ""


def _in_words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "TLS failed: does it speak https?"
    return f"the connection failed: {type(error).__name__}"
