"""Requests to applications without a socket: as fast as it gets, and with bytes that no client would send."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

from tests.guard_adapters.serving import Answer

Ask = Callable[[str, Iterable[bytes]], Answer]
"""Path and Authorization headers in, answer out."""


def http_scope(path: str, authorizations: Iterable[bytes] = (), **changed: Any) -> dict[str, Any]:
    """What a server gives an ASGI application."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), *((b"authorization", value) for value in authorizations)],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "state": {},
        **changed,
    }


async def ask_asgi(app: Any, scope: dict[str, Any], first: str = "http.request") -> list[dict[str, Any]]:
    """Every message that the application sends."""
    sent: list[dict[str, Any]] = []
    events = iter([{"type": first, "body": b"", "more_body": False}])

    async def receive() -> Any:
        event = next(events, None)
        return event if event is not None else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def answer_of(sent: list[dict[str, Any]]) -> Answer:
    """The messages as an answer."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(each.get("body", b"") for each in sent[1:]))


def asgi(app: Any, loop: asyncio.AbstractEventLoop) -> Ask:
    """Asks an ASGI application."""
    return lambda path, values: answer_of(loop.run_until_complete(ask_asgi(app, http_scope(path, values))))


class AsgiApi(NamedTuple):
    """An ASGI application, asked as `serving.Api` is."""

    app: Any
    loop: asyncio.AbstractEventLoop
    prefix: str = ""

    def ask(self, path: str, headers: Iterable[tuple[str, str | bytes]] = (), method: str = "GET") -> Answer:
        """Send a request with these header lines."""
        path, _, query = (self.prefix + path).partition("?")
        lines = [(b"host", b"testserver"), *((name.lower().encode(), _bytes(value)) for name, value in headers)]
        scope = http_scope(unquote(path), raw_path=path.encode(), query_string=query.encode(), method=method)
        scope["headers"] = lines
        return answer_of(self.loop.run_until_complete(ask_asgi(self.app, scope)))


class WsgiApi(NamedTuple):
    """A WSGI application, asked likewise; repeated headers are joined as servers do it."""

    app: Any
    prefix: str = ""

    def ask(self, path: str, headers: Iterable[tuple[str, str | bytes]] = (), method: str = "GET") -> Answer:
        """Send a request with these header lines."""
        path, _, query = (self.prefix + path).partition("?")
        environ = wsgi_environ(unquote(path, "latin-1"), REQUEST_METHOD=method, QUERY_STRING=query)
        for name, value in headers:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            joined = [environ[key]] if key in environ else []
            environ[key] = ",".join([*joined, _bytes(value).decode("latin-1")])
        return answer_by(self.app, environ)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def wsgi_environ(path: str, **changed: Any) -> dict[str, Any]:
    """What a server gives a WSGI application."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "testserver",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **changed,
    }


def answer_by(app: Any, environ: dict[str, Any]) -> Answer:
    """A WSGI application's answer."""
    begun: list[Any] = []
    body = app(environ, lambda *start: begun.append(start))
    try:
        content = b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()
    status, headers = begun[0][:2]
    return Answer(int(status[:3]), {name.lower(): value for name, value in headers}, content)


def wsgi(app: Any) -> Ask:
    """Asks a WSGI application; two headers are joined as servers do it."""

    def ask(path: str, values: Iterable[bytes]) -> Answer:
        environ = wsgi_environ(path)
        if values:
            environ["HTTP_AUTHORIZATION"] = b",".join(values).decode("latin-1")
        return answer_by(app, environ)

    return ask


class AiohttpApi(NamedTuple):
    """An aiohttp application, asked as `serving.Api` is; it reads bytes as its own server does."""

    app: Any
    loop: asyncio.AbstractEventLoop

    def ask(self, path: str, headers: Iterable[tuple[str, str | bytes]] = (), method: str = "GET") -> Answer:
        """Send a request with these header lines."""
        return self.loop.run_until_complete(self._ask(path, [(name, _bytes(value)) for name, value in headers], method))

    async def _ask(self, path: str, headers: list[tuple[str, bytes]], method: str) -> Answer:
        from aiohttp import web
        from aiohttp.test_utils import make_mocked_request
        from multidict import CIMultiDict

        request: Any = make_mocked_request(method, path, app=self.app)
        request._headers = CIMultiDict((name, value.decode("utf-8", "surrogateescape")) for name, value in headers)
        raw = tuple((name.encode(), value) for name, value in headers)
        request._message = request._message._replace(raw_headers=raw)
        try:
            found: Any = await self.app._handle(request)
        except web.HTTPException as refused:
            found = refused
        return Answer(found.status, {name.lower(): value for name, value in found.headers.items()}, found.body or b"")


def aiohttp(app: Any, loop: asyncio.AbstractEventLoop) -> Ask:
    """Asks an aiohttp application."""
    app.freeze()
    return lambda path, values: AiohttpApi(app, loop).ask(path, [("Authorization", value) for value in values])


def every_one(guard: Any, loop: asyncio.AbstractEventLoop) -> dict[str, Ask]:
    """The small API behind each adapter of HTTP, by name."""
    from tests.guard_adapters import apps

    asks = {name: asgi(make(guard), loop) for name, make in apps.ASGI.items()}
    asks |= {name: wsgi(make(guard)) for name, make in apps.WSGI.items()}
    asks["aiohttp"] = aiohttp(apps.aiohttp(guard), loop)
    asks["drf"] = lambda path, values: asks["django"]("/drf" + path, values)
    asks["ninja"] = lambda path, values: asks["django"]("/ninja" + path, values)
    return asks
