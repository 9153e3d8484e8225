"""`api_keys=True` reaches the guard through each kind of adapter, and nothing is open without it."""

from __future__ import annotations

from typing import Any

import flask
import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.guard_adapters.in_process import ask_asgi, http_scope
from watchword.api_keys import make
from watchword.guard.asgi import GuardMiddleware
from watchword.guard.fastapi import FastAPIGuard
from watchword.guard.flask import FlaskGuard
from watchword.guard.starlette import authentication
from watchword.guard.wsgi import GuardMiddleware as WsgiMiddleware
from watchword.ids import new_id
from watchword.testing import Issuer

ISSUER = Issuer("https://auth.test", audience="orders")
ROUTES: dict[str, dict[str, Any]] = {"/open": {"api_keys": True}, "/closed": {}}


def by_fastapi() -> Any:
    app, auth = FastAPI(), FastAPIGuard(ISSUER.guard())
    for path, asked in ROUTES.items():
        app.get(path, dependencies=[auth.required(scopes="read", **asked)])(lambda: "ada")
    return httpx2.ASGITransport(app=app)


def by_starlette() -> Any:
    async def answer(_: object) -> PlainTextResponse:
        return PlainTextResponse("ada")

    def guarded(**asked: Any) -> Any:
        return GuardMiddleware(Starlette(routes=[Route("/{any}", answer)]), ISSUER.guard(), scopes="read", **asked)

    apps = {path: guarded(**asked) for path, asked in ROUTES.items()}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await apps[scope["path"]](scope, receive, send)

    return httpx2.ASGITransport(app=app)


def by_flask() -> flask.Flask:
    app, auth = flask.Flask("orders"), FlaskGuard(ISSUER.guard())

    @app.get("/open")
    @auth.required(scopes="read", api_keys=True)
    def read() -> str:
        return "ada"

    @app.get("/closed")
    @auth.required(scopes="read")
    def refuse() -> str:
        return "ada"

    return app


def by_wsgi() -> Any:
    def answer(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"ada"]

    apps = {path: WsgiMiddleware(answer, ISSUER.guard(), scopes="read", **asked) for path, asked in ROUTES.items()}
    return lambda environ, start: apps[environ["PATH_INFO"]](environ, start)


@pytest.mark.parametrize("made", [by_fastapi, by_starlette])
@pytest.mark.parametrize("first", ["/open", "/closed"])
async def test_asynchronous_ones(made: Any, first: str) -> None:
    header = ISSUER.headers("ada", scopes=("read",), client_id="api_key")
    async with httpx2.AsyncClient(transport=made(), base_url="http://test") as client:
        found = {path: (await client.get(path, headers=header)).status_code for path in (first, "/open", "/closed")}
    assert found == {"/open": 200, "/closed": 401}


@pytest.mark.parametrize("made", [by_flask, by_wsgi])
@pytest.mark.parametrize("first", ["/open", "/closed"])
def test_synchronous_ones(made: Any, first: str) -> None:
    header = ISSUER.headers("ada", scopes=("read",), client_id="api_key")
    with httpx2.Client(transport=httpx2.WSGITransport(app=made()), base_url="http://test") as client:
        found = {path: client.get(path, headers=header).status_code for path in (first, "/open", "/closed")}
    assert found == {"/open": 200, "/closed": 401}


@pytest.mark.parametrize("api_keys", [False, True])
async def test_Starlettes_own_authentication(api_keys: bool) -> None:
    @requires("read")
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.user.identity)

    app = Starlette(routes=[Route("/", answer)], middleware=[authentication(ISSUER.guard(), api_keys=api_keys)])
    header = ISSUER.headers("ada", scopes=("read",), client_id="api_key")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        assert (await client.get("/", headers=header)).status_code == (200 if api_keys else 401)


async def test_a_WebSocket_with_a_key_in_its_address_is_refused_with_a_word() -> None:
    """Browsers send no header with a WebSocket, so this is where someone would try."""

    async def app(*_: Any) -> None:
        pytest.fail("nothing was shown")

    key = make(new_id()).text
    scope = http_scope("/", type="websocket", query_string=f"key={key}".encode())
    scope |= {"extensions": {"websocket.http.response": {}}, "subprotocols": []}
    sent = await ask_asgi(GuardMiddleware(app, ISSUER.guard(), api_keys=True), scope, "websocket.connect")
    assert sent[0]["status"] == 401
    assert b"An API key in an address is not read" in sent[1]["body"]
    assert key.encode() not in sent[1]["body"]
