"""A small service on a real socket, with keys and a feed, that can be told to misbehave."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from watchword.guard import Guard
from watchword.testing import Issuer
from watchword.tokens import SigningKey, public_key_set

METADATA = "/.well-known/oauth-authorization-server"
KEYS = "/.well-known/jwks.json"
FEED = "/revocations"
PAGE = 10_000

Misbehaviour = Callable[["Handler"], None]


class Service:
    """Metadata, key set and feed of an issuer in memory; everything may be changed while it runs.

    :param path: under which path of its origin it lives.
    :param silence: for how many seconds the feed waits for news.
    """

    def __init__(self, *, path: str = "", silence: float = 10.0) -> None:
        self.path = path
        self.silence = silence
        self.asked: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {METADATA: [], KEYS: [], FEED: []}
        self.shown_keys: list[str] = []
        self.misbehave: dict[str, Misbehaviour] = {}
        self.feed_id = "feed-1"
        self.keys_version = "v1"
        self.entries: list[dict[str, Any]] = []
        self.as_of_lag = 0
        self.as_of_frozen: int | None = None
        self.date_offset = 0
        self.news = threading.Condition()
        self._server: _Server | None = None
        self.port = 0
        self.start()
        self.issuer = Issuer(self.url, audience="orders")
        self.issuer.clock.advance(int(time.time()) - self.issuer.clock.now())
        self.published = [self.issuer._signing.verification_key]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """As a process that is killed: every connection is cut."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None

    def guard(self, **options: Any) -> Guard:
        return Guard(self.url, **({"audience": "orders"} | options))

    def token(self, **given: Any) -> str:
        """A genuine token; the clock of the issuer is that of the machine here."""
        self.issuer.clock.advance(int(time.time()) - self.issuer.clock.now())
        return self.issuer.token(**given)

    def metadata(self) -> dict[str, Any]:
        return {"issuer": self.url, "jwks_uri": self.url + KEYS, "token_endpoint": self.url + "/token"}

    def revoke(self, kind: str, subject: str, version: int | None = None) -> None:
        expires = None if kind == "key" else int(time.time()) + 1020
        entry = {"kind": kind, "subject": subject, "min_version": version, "expires_at": expires}
        with self.news:
            self.entries.append(entry)
            self.news.notify_all()

    def rotate(self, *, announce: bool = True, publish: bool = True) -> SigningKey:
        """Sign with a new key from now on."""
        self.issuer._signing = new = SigningKey.generate("ES256")
        if publish:
            self.published.append(new.verification_key)
        if announce:
            with self.news:
                self.keys_version += "+"
                self.news.notify_all()
        return new

    def page(self, after: str | None) -> dict[str, Any]:
        feed, _, seq = (after or "").rpartition(".")
        reset = feed != self.feed_id or int(seq) > len(self.entries)
        start = 0 if reset else int(seq)
        found = self.entries[start : start + PAGE]
        end = start + len(found)
        return {
            "feed_id": self.feed_id,
            "cursor": f"{self.feed_id}.{end}",
            "as_of": (self.as_of_frozen or int(time.time()) + self.date_offset) - self.as_of_lag,
            "keys": self.keys_version,
            "reset": reset,
            "entries": found,
            "more": end < len(self.entries),
        }

    def wait_for_news(self, after: str | None, wait: str, keys: str | None) -> dict[str, Any]:
        """The next page, at once when there is something to say."""
        version = keys or self.keys_version
        end = time.monotonic() + (0 if wait == "0" else self.silence)
        with self.news:
            while True:
                page = self.page(after)
                left = end - time.monotonic()
                if page["reset"] or page["entries"] or self.keys_version != version or left <= 0 or not self._server:
                    return page
                self.news.wait(min(left, 0.5))


class Handler(BaseHTTPRequestHandler):
    """Answers for a `Service`."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        service = self.server.service
        parts = urlsplit(self.path)
        path = parts.path.removeprefix(service.path) if parts.path.startswith(service.path) else parts.path
        service.asked[path] += 1
        service.times.setdefault(path, []).append(time.monotonic())
        if path in service.misbehave:
            service.misbehave[path](self)
        elif path == METADATA:
            self.say(service.metadata())
        elif path == KEYS:
            self.send(public_key_set(service.published), {"Cache-Control": "public, max-age=300"})
        elif path == FEED:
            service.shown_keys.append(self.headers.get("Authorization", ""))
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.say(service.wait_for_news(asked.get("after"), asked.get("wait", "1"), asked.get("keys")))
        else:
            self.send(b"", status=404)

    def do_POST(self) -> None:
        service = self.server.service
        path = urlsplit(self.path).path.removeprefix(service.path)
        service.asked[path] += 1
        if path in service.misbehave:
            service.misbehave[path](self)
        else:
            self.send(b"", status=404)

    def form(self) -> dict[str, str]:
        """The form that was posted, read to its end."""
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        return {name: values[0] for name, values in parse_qs(sent, strict_parsing=True).items()}

    def say(self, value: Any, **how: Any) -> None:
        self.send(msgspec.json.encode(value), **how)

    def send(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) + self.server.service.date_offset)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        self._open: set[socket.socket] = set()
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a guard that hangs up on a server that misbehaves is what is tested

    def cut(self) -> None:
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(**options: Any) -> Iterator[Service]:
    service = Service(**options)
    try:
        yield service
    finally:
        service.stop()


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait until something holds; whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
