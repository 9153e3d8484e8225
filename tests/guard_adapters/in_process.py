"""Requests to applications without a socket: as fast as it gets, and with bytes that no client would send."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from typing import Any

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


def wsgi(app: Any) -> Ask:
    """Asks a WSGI application; two headers are joined as servers do it."""

    def ask(path: str, values: Iterable[bytes]) -> Answer:
        given = b",".join(values)
        environ: dict[str, Any] = {
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
        }
        if values:
            environ["HTTP_AUTHORIZATION"] = given.decode("latin-1")
        begun: list[Any] = []
        body = app(environ, lambda *start: begun.append(start))
        try:
            content = b"".join(body)
        finally:
            getattr(body, "close", lambda: None)()
        status, headers = begun[0][:2]
        return Answer(int(status[:3]), {name.lower(): value for name, value in headers}, content)

    return ask
