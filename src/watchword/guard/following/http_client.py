"""Fetches over http.client with a deadline. Nothing else in a guard uses the network.

http.client limits each read only, which a slow server never exceeds. So each step may take the fetch's remaining time
(docs/security/checklist.md, B12).
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from watchword.clock import elapsed
from watchword.guard.following.addresses import Origin, origin_of
from watchword.guard.following.exchange import Aborted, Answer, Fetch, FetchFault
from watchword.hosts import by_turns, is_loopback
from watchword.public_addresses import is_public

_AGENT = "watchword-guard"


class HttpClient:
    """Fetches one thing at a time over a kept connection. For one thread, except `abort` and `cut`.

    :param tls: like `allow_private_networks` as in `Guard`.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        allow_private_networks: bool = True,
        now: Callable[[], float] = elapsed,
    ) -> None:
        self._tls = tls
        self._private = allow_private_networks
        self._now = now
        self._kept: tuple[Origin, socket.socket] | None = None
        self._socket: socket.socket | None = None
        self._aborted = False

    def get(self, fetch: Fetch) -> Answer:
        """Return the answer. :raises FetchFault: none, or too long or late. :raises Aborted: after `abort`."""
        deadline = self._now() + fetch.seconds
        try:
            return self._get(fetch, deadline)
        except FetchFault:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise FetchFault(f"{_in_words(error, fetch.url)}{type(error).__name__}: {error}") from error
        except ValueError as error:
            # Without its text, where http.client quotes a bad header: it may be the guard key.
            raise FetchFault(type(error).__name__) from None
        finally:
            # Last, since a shut socket looks like the answer's end.
            if self._aborted:
                self.close()
                raise Aborted("stopped")

    def abort(self) -> None:
        """End `get` from another thread, and refuse every later one."""
        self._aborted = True
        self.cut()

    def cut(self) -> None:
        """End `get` from another thread. The next one connects anew."""
        waiting = self._socket
        if waiting is not None:
            with suppress(OSError):
                # A TLS socket's own method would drop its state under the reader.
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._kept = None
        waiting, self._socket = self._socket, None
        if waiting is not None:
            waiting.close()

    def _get(self, fetch: Fetch, deadline: float) -> Answer:
        origin = origin_of(fetch.url)
        if self._kept is not None and self._kept[0] == origin:
            try:
                return self._exchange(self._kept[1], origin, fetch, deadline)
            except (http.client.RemoteDisconnected, ConnectionError):
                pass  # the server had closed the kept connection: no fault, once
        self.close()
        if self._aborted:
            raise Aborted("stopped")
        self._socket = connected = self._connect(origin, deadline)
        return self._exchange(connected, origin, fetch, deadline)

    def _exchange(self, connected: socket.socket, origin: Origin, fetch: Fetch, deadline: float) -> Answer:
        self._kept = None
        parts = urlsplit(fetch.url)
        connection = http.client.HTTPConnection(origin.host, origin.port)
        connection.auto_open = 0
        line = _Line(connected, deadline, self._now)
        connection.sock = line
        method, target = "GET" if fetch.form is None else "POST", parts._replace(scheme="", netloc="").geturl() or "/"
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", parts.netloc)
        connection.putheader("User-Agent", _AGENT)
        connection.putheader("Accept-Encoding", "identity")  # the limit counts real bytes
        for name, value in fetch.headers:
            connection.putheader(name, value)
        if fetch.form is not None:
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            connection.putheader("Content-Length", str(len(fetch.form)))
        connection.endheaders(fetch.form)
        with connection.getresponse() as response:
            arrived = self._now()
            _remaining(deadline, arrived)  # an answer from before a pause of the process is too late
            answer = Answer(response.status, _headers(response), _body(response, fetch.limit), arrived)
            keep = not response.will_close and response.isclosed()
        if keep:
            self._kept = (origin, connected)
        else:
            self.close()
        return answer

    def _connect(self, origin: Origin, deadline: float) -> socket.socket:
        fault: OSError = OSError("no address")
        # Connect to the checked address: a second look-up of the name could give another.
        found = by_turns(socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM))
        for place, (family, kind, protocol, _, address) in enumerate(found):
            self._check_public(origin.host, str(address[0]))
            try:
                connected = socket.socket(family, kind, protocol)
            except OSError as error:  # a machine without IPv6
                fault = error
                continue
            try:
                # One that leads nowhere leaves the others their share of the time.
                connected.settimeout(_remaining(deadline, self._now()) / (len(found) - place))
                connected.connect(address)
                connected.settimeout(_remaining(deadline, self._now()))
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return self._secured(connected, origin) if origin.scheme == "https" else connected
            except OSError as error:
                connected.close()
                fault = error
        raise fault

    def _secured(self, connected: socket.socket, origin: Origin) -> socket.socket:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls.wrap_socket(connected, server_hostname=origin.host)

    def _check_public(self, host: str, address: str) -> None:
        if self._private or is_loopback(host):
            return
        if not is_public(address):
            raise FetchFault("the name leads to an address that is not public")


class _Line(io.RawIOBase):
    """Wraps a socket for http.client, with the remaining time as time-out of each step."""

    def __init__(self, connected: socket.socket, deadline: float, now: Callable[[], float]) -> None:
        self._socket = connected
        self._deadline = deadline
        self._now = now

    def _in_time(self) -> socket.socket:
        self._socket.settimeout(_remaining(self._deadline, self._now()))
        return self._socket

    def sendall(self, data: Any) -> None:
        self._in_time().sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb", "http.client reads"
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._in_time().recv_into(buffer)

    def close(self) -> None:
        """Do nothing: the client closes the socket."""


def _in_words(error: Exception, url: str) -> str:
    origin = origin_of(url)
    where = f"{origin.host}:{origin.port}"
    if isinstance(error, socket.gaierror):
        return f"the name {origin.host} does not resolve; "
    if isinstance(error, ConnectionRefusedError):
        return f"connection refused: nothing listens at {where}; "
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the certificate of {where} is not trusted (give tls=… for a certificate authority of your own); "
    if isinstance(error, ssl.SSLError):
        return f"TLS failed with {where} (does it speak https?); "
    return f"no answer in time from {where}; " if isinstance(error, TimeoutError) else ""


def _remaining(deadline: float, now: float) -> float:
    if deadline <= now:
        raise TimeoutError("the answer took too long")
    return deadline - now


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _body(response: http.client.HTTPResponse, limit: int) -> bytes:
    if response.status != http.HTTPStatus.OK:
        return b""
    if response.getheader("content-encoding", "identity").lower() != "identity":
        raise FetchFault("the answer is compressed, which was not asked for")
    promised = response.length
    if promised is not None and promised > limit:
        raise FetchFault(f"the answer is longer than {limit} bytes")
    body = response.read(limit + 1)
    if len(body) > limit:
        raise FetchFault(f"the answer is longer than {limit} bytes")
    if promised is not None and len(body) != promised:
        raise FetchFault("the answer was cut off")
    return body
