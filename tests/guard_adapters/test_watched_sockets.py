"""A WebSocket that is open when its caller's rights end is closed; in every ASGI framework, and on a real server."""

from __future__ import annotations

import asyncio
import http.client
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
import wsproto
from wsproto import events

from tests.guard.service import Service
from tests.guard_adapters.serving import on_uvicorn, on_werkzeug
from tests.guard_adapters.sockets import APPS, Socket
from tests.guard_adapters.test_places_sockets import bearer, cookie, opened, protocols
from watchword.guard import AccessCookie, Caller, FirstMessage, Guard, Subprotocol
from watchword.guard.asgi import GuardMiddleware
from watchword.testing import LIFE, Issuer

OURS = (b"origin", b"https://shop.test")
PLACES = (AccessCookie(), Subprotocol(), FirstMessage(seconds=20))
WAYS: dict[str, Callable[[str], list[tuple[bytes, bytes]]]] = {
    "header": lambda token: [bearer(token)],
    "cookie": lambda token: [cookie(token), OURS],
    "sub-protocol": lambda token: [protocols("watchword.bearer", token)],
    "first message": lambda _: [],
}


@pytest.fixture
def issuer() -> Issuer:
    return Issuer("https://shop.test/auth", audience="orders")


async def enter(app: Any, way: str, token: str) -> Socket:
    """A socket that ada has opened, and which works."""
    socket, first = await opened(app, *WAYS[way](token))
    assert first["type"] == "websocket.accept"
    if way == "first message":
        socket.say(text=token)
    assert (await socket.hear())["text"].startswith("ada")
    return socket


async def is_closed(socket: Socket, code: str) -> None:
    closed = await socket.hear()
    assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 4401, code)
    await asyncio.wait({socket.task}, timeout=30)
    assert socket.task.done(), "the handler has ended, since it heard of it"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", APPS)
async def test_a_log_out_closes_the_socket(name: str, way: str, issuer: Issuer) -> None:
    """And only those of that session."""
    session, guard = str(uuid.uuid4()), issuer.guard(tokens_from=PLACES)
    app = APPS[name](guard)
    mine = await enter(app, way, issuer.token("ada", session_id=session))
    other = await enter(app, way, issuer.token("ada"))
    issuer.revoke_session(session)
    await is_closed(mine, "token_revoked")
    other.say(text="still here")
    assert (await other.hear())["text"] == "still here"
    await other.end()
    await asyncio.sleep(0)  # the callback of the task's end
    assert len(guard._judge.standing.watches) == 0


@pytest.mark.parametrize("name", APPS)
async def test_a_change_of_roles_and_a_revoked_key_close_it_too(name: str, issuer: Issuer) -> None:
    app = APPS[name](issuer.guard())
    socket = await enter(app, "header", issuer.token("ada"))
    issuer.revoke_user("ada")
    await is_closed(socket, "token_revoked")
    socket = await enter(app, "header", issuer.token("ada"))
    issuer.revoke_key()
    await is_closed(socket, "token_revoked")


async def test_what_a_handler_sends_afterwards_goes_nowhere_and_ends_it(issuer: Issuer) -> None:
    """A handler that only sends hears of it as of a client that has gone."""
    session, again = str(uuid.uuid4()), asyncio.Event()

    async def ticker(_: Any, __: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await again.wait()
        await send({"type": "websocket.send", "text": "too late"})

    socket, _ = await opened(GuardMiddleware(ticker, issuer.guard()), bearer(issuer.token(session_id=session)))
    issuer.revoke_session(session)
    again.set()
    await asyncio.wait({socket.task}, timeout=30)
    assert isinstance(socket.task.exception(), OSError)
    closed = await socket.hear()
    assert (closed["type"], closed["code"]) == ("websocket.close", 4401)


@pytest.mark.parametrize("why", ["token_revoked", "token_expired"])
async def test_the_close_comes_before_its_handler_ends(issuer: Issuer, why: str) -> None:
    """Or a server sees a handler that failed, cuts the connection off, and the client never learns why."""
    session, again, told = str(uuid.uuid4()), asyncio.Event(), list[Any]()

    async def ticker(_: Any, __: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await again.wait()
        await send({"type": "websocket.send", "text": "too late"})

    async def server(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            told.append(message.get("reason", message["type"]))
            await send(message)

        try:
            await GuardMiddleware(ticker, guard)(scope, receive, noted)
        except OSError:
            told.append("ended")

    guard = issuer.guard()
    socket, _ = await opened(server, bearer(issuer.token(session_id=session)))
    if why == "token_expired":
        issuer.clock.advance(LIFE)
    else:
        issuer.revoke_session(session)
    again.set()
    await asyncio.wait({socket.task}, timeout=30)
    assert told == ["websocket.accept", why, "ended"]


async def test_a_socket_that_was_never_accepted_is_refused(issuer: Issuer) -> None:
    session, begun, go_on = str(uuid.uuid4()), asyncio.Event(), asyncio.Event()

    async def slow(_: Any, __: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await send({"type": "websocket.accept"})

    app = GuardMiddleware(slow, issuer.guard())
    socket = Socket(app, "/ws", [bearer(issuer.token(session_id=session))])
    await begun.wait()
    issuer.revoke_session(session)
    assert (await socket.hear())["type"] == "websocket.close"
    go_on.set()
    await asyncio.wait({socket.task}, timeout=30)
    assert isinstance(socket.task.exception(), OSError)


# On a real server, by the feed ----------------------------------------------------------------------------------------


class Client:
    """A WebSocket over TCP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)

    def say(self, event: wsproto.events.Event) -> None:
        self._writer.write(self._protocol.send(event))

    async def hear(self) -> Any:
        """The next event."""
        while True:
            for event in self._protocol.events():
                return event
            received = await self._reader.read(65536)
            self._protocol.receive_data(received or None)


@asynccontextmanager
async def connected(port: int, path: str, **how: Any) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer)
    client.say(events.Request(host=f"127.0.0.1:{port}", target=path, **how))
    try:
        async with asyncio.timeout(60):
            yield client
    finally:
        writer.close()


@pytest.mark.parametrize("name", APPS)
async def test_on_a_real_server_a_log_out_closes_what_is_open(name: str, issuer: Issuer) -> None:
    """Over TCP, by the feed, with each way in."""
    from tests.guard.service import serving

    with serving() as service:
        guard = service.guard(tokens_from=(AccessCookie(), Subprotocol(), FirstMessage(seconds=20)))
        assert guard.wait_until_ready(30)
        path = "/ws/" if name == "starlette" else "/ws"
        with on_uvicorn(APPS[name](guard), ws="wsproto", lifespan="off") as api:
            for way in WAYS:
                await _log_out_closes(service, api.port, path, way)
        guard.stop()


async def _log_out_closes(service: Service, port: int, path: str, way: str) -> None:
    session = str(uuid.uuid4())
    token = service.token(user_id="ada", session_id=session)
    how: dict[str, Any] = {
        "header": {"extra_headers": [bearer(token)]},
        "cookie": {
            "extra_headers": [(b"cookie", f"watchword_access={token}".encode()), (b"origin", service.url.encode())]
        },
        "sub-protocol": {"subprotocols": ["watchword.bearer", token]},
        "first message": {},
    }[way]
    async with connected(port, path, **how) as client:
        accepted = await client.hear()
        assert isinstance(accepted, events.AcceptConnection), way
        assert accepted.subprotocol == ("watchword.bearer" if way == "sub-protocol" else None)
        if way == "first message":
            client.say(events.TextMessage(token))
        assert (await client.hear()).data.startswith("ada")
        service.revoke("session", session)
        closed = await client.hear()
        assert isinstance(closed, events.CloseConnection), way
        assert (closed.code, closed.reason) == (4401, "token_revoked")


async def test_on_a_real_server_a_hijacked_socket_never_opens(issuer: Issuer) -> None:
    app = APPS["asgi"](issuer.guard(tokens_from=AccessCookie()))
    with on_uvicorn(app, ws="wsproto", lifespan="off") as api:
        for origin in (b"https://evil.test", b"null"):
            headers = [cookie(issuer.token("ada")), (b"origin", origin)]
            async with connected(api.port, "/ws", extra_headers=headers) as client:
                refused = await client.hear()
                assert isinstance(refused, events.RejectConnection)
                assert refused.status_code == 403


# Server-sent events ---------------------------------------------------------------------------------------------------


def streaming(guard: Guard) -> Any:
    from collections.abc import AsyncIterator as Each
    from typing import Annotated

    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    from watchword.guard.fastapi import FastAPIGuard

    app, auth = FastAPI(), FastAPIGuard(guard)

    async def ticks() -> Each[str]:
        yield "data: 1\n\n"
        await asyncio.sleep(3600)

    async def stream(caller: Annotated[Caller, auth.required()]) -> StreamingResponse:
        return StreamingResponse(caller.watch().while_good(ticks()), media_type="text/event-stream")

    stream.__annotations__["caller"] = Annotated[Caller, auth.required()]
    stream.__annotations__["return"] = StreamingResponse
    app.get("/events")(stream)
    return app


def test_server_sent_events_of_threads_end_with_the_session(issuer: Issuer) -> None:
    """As the guide writes it for Flask."""
    from flask import Flask, Response

    from watchword.guard.flask import FlaskGuard, find_caller

    app, auth = Flask(__name__), FlaskGuard(issuer.guard(tokens_from=AccessCookie()))

    def values(caller: Caller) -> Any:
        with caller.watch() as watch:
            yield "data: 1\n\n"
            while not watch.wait(3600):
                yield "data: never\n\n"

    def stream() -> Response:
        caller = find_caller()
        assert caller is not None
        return Response(values(caller), mimetype="text/event-stream")

    app.get("/events")(auth.required()(stream))
    session = str(uuid.uuid4())
    headers = {"Cookie": f"__Host-watchword_access={issuer.token('ada', session_id=session)}"}
    with on_werkzeug(app) as api, closing(http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)) as connection:
        connection.request("GET", "/events", headers=headers)
        answer = connection.getresponse()
        assert answer.readline() == b"data: 1\n"
        issuer.revoke_session(session)
        assert answer.read() == b"\n"


async def test_server_sent_events_end_with_the_session(issuer: Issuer) -> None:
    """By the cookie, as EventSource sends it; and the next connection is refused."""
    with on_uvicorn(streaming(issuer.guard(tokens_from=AccessCookie())), lifespan="off") as api:
        session = str(uuid.uuid4())
        token = issuer.token("ada", session_id=session)
        lines = f"GET /events HTTP/1.1\r\nHost: x\r\nCookie: __Host-watchword_access={token}\r\n"
        lines += "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n\r\n"
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(lines.encode())
            await reader.readuntil(b"data: 1\n\n")
            issuer.revoke_session(session)
            assert await reader.readuntil(b"0\r\n\r\n")  # the end of a chunked answer
            writer.write(lines.encode())
            assert b"401" in await reader.readline()
            writer.close()
