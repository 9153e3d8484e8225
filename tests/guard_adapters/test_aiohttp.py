"""aiohttp beyond the table: WebSockets, groups by path, preflights, and slips."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from watchword.errors import TokenError
from watchword.guard import Subprotocol
from watchword.guard.aiohttp import AiohttpGuard, RequestRefused, find_caller, get_caller
from watchword.testing import Issuer

ISSUER = Issuer()
GOOD = ISSUER.headers("ada")


@pytest.fixture
def auth() -> AiohttpGuard:
    return AiohttpGuard(ISSUER.guard())


async def hello(request: web.Request) -> web.Response:
    caller = find_caller(request)
    return web.Response(text=caller.user_id if caller else "nobody")


async def statuses(app: web.Application, *asked: tuple[str, str, dict[str, str]]) -> list[int]:
    async with TestClient(TestServer(app)) as client:
        found = []
        for method, path, headers in asked:
            from yarl import URL

            async with client.request(method, URL(path, encoded=True), headers=headers) as answer:
                found.append(answer.status)
        return found


async def test_paths_of_a_group(auth: AiohttpGuard) -> None:
    """Whole paths; an encoded slash finds another route than it seems to, and always needs a token."""
    app = web.Application()
    for path in ("/api/orders", "/api/health", "/open", "/api/static/{name}", "/api/{name}", "/"):
        app.router.add_get(path, hello)
    auth.protect(app, prefix="/api", except_paths=["/api/health", "/api/static/*"])
    strange = ["/api/static%2Fx", "/api/static/..%2f", "/%61pi/orders", "/api/static/%2e%2e/orders", "/API/x"]
    refused = ["/api/orders", "/api/unknown/x", "/api", "/api/static", *strange]
    asked = [("GET", path, {}) for path in refused]
    found = await statuses(app, *asked)
    assert found == [401] * len(refused), dict(zip(refused, found, strict=True))


async def test_what_a_group_leaves_open(auth: AiohttpGuard) -> None:
    app = web.Application()
    for path in ("/api/orders", "/api/health", "/open", "/api/static/{name}"):
        app.router.add_get(path, hello)
    auth.protect(app, prefix="/api", except_paths=["/api/health", "/api/static/*"])
    opened = [("GET", path, {}) for path in ("/open", "/api/health", "/api/static/x", "/api/st%61tic/x")]
    assert await statuses(app, *opened, ("GET", "/api/orders", GOOD), ("POST", "/api/orders", GOOD)) == [
        *[200] * 5,
        405,
    ]


async def test_a_WebSocket_is_refused_before_its_handshake(auth: AiohttpGuard) -> None:
    @auth.required()
    async def chat(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(get_caller(request).user_id)
        return socket

    app = web.Application()
    app.router.add_get("/", chat)
    async with TestClient(TestServer(app)) as client:
        async with client.ws_connect("/", headers=GOOD) as socket:
            assert await socket.receive_str() == "ada"
        from aiohttp import WSServerHandshakeError

        with pytest.raises(WSServerHandshakeError, match="401"):
            await client.ws_connect("/")


async def test_a_WebSocket_that_watches_its_caller_ends_with_the_log_out() -> None:
    """As the guide says; the token is sent as a sub-protocol here."""
    issuer = Issuer()
    auth = AiohttpGuard(issuer.guard(tokens_from=Subprotocol()))

    @auth.required()
    async def chat(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["watchword.bearer"])
        await socket.prepare(request)
        try:
            async with get_caller(request).watch():
                async for message in socket:
                    await socket.send_str(message.data)
        except TokenError as error:
            await socket.close(code=4401, message=error.code.encode())
        return socket

    app = web.Application()
    app.router.add_get("/", chat)
    async with TestClient(TestServer(app)) as client:
        offered = ["watchword.bearer", issuer.token("ada", session_id="s")]
        async with client.ws_connect("/", protocols=offered) as socket:
            assert socket.protocol == "watchword.bearer"
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
            issuer.revoke_session("s")
            message = await socket.receive(timeout=30)
            assert (message.data, message.extra) == (4401, "token_revoked")


async def test_a_refused_preflight_is_logged_once(auth: AiohttpGuard, caplog: pytest.LogCaptureFixture) -> None:
    app = web.Application()
    auth.protect(app)
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    with caplog.at_level(logging.WARNING, "watchword.guard"):
        assert await statuses(app, *[("OPTIONS", "/", preflight)] * 2) == [401, 401]
    assert len([each for each in caplog.messages if "before the guard in `middlewares`" in each]) == 1


async def test_a_middleware_sees_the_refusal(auth: AiohttpGuard) -> None:
    """As aiohttp's exception of that status."""
    seen: list[Any] = []

    @web.middleware
    async def own(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        try:
            found: web.StreamResponse = await handler(request)
        except web.HTTPForbidden as error:
            seen.append(error)
            return web.Response(status=418)
        return found

    app = web.Application(middlewares=[own])
    app.router.add_get("/", auth.required(roles="admin")(hello))
    assert await statuses(app, ("GET", "/", GOOD), ("GET", "/", {})) == [418, 401]
    assert isinstance(seen[0], RequestRefused)
    assert seen[0].refusal.code == "role_missing"


async def test_methods_of_classes(auth: AiohttpGuard) -> None:
    class Orders:
        @auth.required()
        async def listed(self, request: web.Request) -> web.Response:
            return await hello(request)

    app = web.Application()
    app.router.add_get("/", Orders().listed)
    assert await statuses(app, ("GET", "/", {}), ("GET", "/", GOOD)) == [401, 200]


async def test_a_caller_is_wanted_where_no_guard_is(auth: AiohttpGuard) -> None:
    async def bare(request: web.Request) -> web.Response:
        return web.Response(text=get_caller(request).user_id)

    async def slip(request: web.Request) -> web.Response:
        auth.required()
        return await hello(request)

    app = web.Application()
    app.router.add_get("/", bare)
    app.router.add_get("/slip", slip)
    assert await statuses(app, ("GET", "/", GOOD), ("GET", "/slip", GOOD)) == [500, 500]


async def test_the_guard_starts_and_stops_with_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    guard, did = ISSUER.guard(), []
    monkeypatch.setattr(guard, "start", lambda: did.append("start"))
    monkeypatch.setattr(guard, "stop", lambda: did.append("stop"))
    app = web.Application()
    AiohttpGuard(guard).protect(app)
    assert await statuses(app, ("GET", "/", {})) == [401]
    assert did == ["start", "stop"]


def test_slips_raise_where_they_are_written(auth: AiohttpGuard) -> None:
    with pytest.raises(TypeError, match=r"the parentheses are missing: write @auth\.required\(\)"):
        auth.required(hello)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="what is needed is given by name"):
        auth.required("admin")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"for the class View write @auth\.required\(…\) above each of its methods"):
        auth.required()(web.View)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an aiohttp handler is an `async def`"):
        auth.required()(lambda request: request)
    with pytest.raises(TypeError, match=r"takes a web\.Application"):
        auth.protect(hello)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="optional is True or False"):
        auth.protect(web.Application(), optional=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="AiohttpGuard takes a Guard"):
        AiohttpGuard("https://auth.example")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scopes are empty"):
        auth.optional(scopes="")


def test_a_guard_above_its_route(auth: AiohttpGuard) -> None:
    routes = web.RouteTableDef()
    with pytest.raises(RuntimeError, match="stands above the route of 'orders'"):

        @auth.required()
        @routes.get("/orders")
        async def orders(request: web.Request) -> web.Response:
            return await hello(request)
