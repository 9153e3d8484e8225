"""What each way of guarding an application covers, and what lies beside it: as the guides say it, and no better."""

# No `from __future__ import annotations` here: frameworks evaluate annotations.

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from litestar import Litestar, Router, asgi, get, websocket
from litestar import WebSocket as LitestarSocket
from litestar.static_files import create_static_files_router
from litestar.types import Receive, Scope, Send
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from watchword.guard.asgi import GuardMiddleware
from watchword.guard.fastapi import FastAPIGuard
from watchword.guard.litestar import LitestarGuard
from watchword.guard.starlette import guarded
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "DELETE", "TRACE", "BREW", "get")


async def plain(_: Any) -> PlainTextResponse:
    return PlainTextResponse("in")


async def any_socket(socket: Any) -> None:
    await socket.accept()
    await socket.close()


@pytest.fixture
def files(tmp_path: Path) -> str:
    (tmp_path / "a.txt").write_text("in")
    return str(tmp_path)


async def status(app: Any, path: str, method: str = "GET", good: bool = False) -> int:
    values = [ISSUER.headers("ada")["Authorization"].encode()] if good else []
    return answer_of(await ask_asgi(app, http_scope(path, values, method=method))).status


async def connects(app: Any, path: str) -> bool:
    scope = http_scope(path, type="websocket", extensions={})
    del scope["method"]
    return (await ask_asgi(app, scope, "websocket.connect"))[0]["type"] == "websocket.accept"


def fastapi(files: str, **given: Any) -> FastAPI:
    """One of everything that a FastAPI application may hold."""
    app = FastAPI(**given)
    app.get("/route")(lambda: "in")
    app.head("/head")(lambda: None)
    app.options("/options")(lambda: None)
    router = APIRouter(prefix="/router")
    router.get("/route")(lambda: "in")
    app.include_router(router)

    async def socket(websocket: WebSocket) -> None:
        await any_socket(websocket)

    app.websocket("/socket")(socket)
    inner = FastAPI()
    inner.get("/route")(lambda: "in")
    app.mount("/inner", inner)
    app.mount("/files", StaticFiles(directory=files))
    app.add_route("/plain", plain)
    app.router.routes.append(WebSocketRoute("/plain-socket", any_socket))
    return app


FASTAPI_BESIDE = [
    *("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/inner/route", "/inner/docs"),
    *("/inner/openapi.json", "/files/a.txt", "/plain"),
]
NOWHERE = ["/nowhere", "/inner/nowhere", "/files/nowhere"]


async def test_dependencies_of_a_fastapi_application_cover_its_own_routes_only(files: str) -> None:
    """The guide says so, and what lies beside them."""
    app = fastapi(files, dependencies=[FastAPIGuard(GUARD).required()])
    for path, method in (("/route", "GET"), ("/router/route", "GET"), ("/head", "HEAD"), ("/options", "OPTIONS")):
        assert await status(app, path, method) == 401
        assert await status(app, path, method, good=True) == 200
    assert not await connects(app, "/socket")
    assert {path: await status(app, path) for path in FASTAPI_BESIDE} == dict.fromkeys(FASTAPI_BESIDE, 200)
    assert await connects(app, "/plain-socket")
    assert [await status(app, path) for path in NOWHERE] == [404, 404, 404]
    assert await status(app, "/route", "BREW") == 405


def by_add_middleware(files: str) -> Any:
    app = fastapi(files)
    app.add_middleware(GuardMiddleware, guard=GUARD)
    return app


def around(files: str) -> Any:
    return GuardMiddleware(fastapi(files), GUARD)


@pytest.mark.parametrize("make", [by_add_middleware, around])
async def test_the_middleware_of_a_fastapi_application_covers_everything(make: Any, files: str) -> None:
    app = make(files)
    for path in (*FASTAPI_BESIDE, *NOWHERE, "/", "", "/route", "/router/route", "/route/", "//", "/%2e%2e/"):
        for method in METHODS:
            assert await status(app, path, method) == 401, (path, method)
    for path in ("/socket", "/plain-socket", "/inner/socket", "/nowhere"):
        assert not await connects(app, path)
    assert [await status(app, path, good=True) for path in FASTAPI_BESIDE] == [200] * len(FASTAPI_BESIDE)
    assert await status(app, "/route", good=True) == 200


async def test_the_documentation_pages_may_be_left_out(files: str) -> None:
    """As the guide writes it."""
    app = fastapi(files)
    left_out = ["/docs", "/docs/oauth2-redirect", "/openapi.json"]
    app.add_middleware(GuardMiddleware, guard=GUARD, except_paths=left_out)
    for path in FASTAPI_BESIDE:
        assert await status(app, path) == (200 if path in left_out else 401)


@pytest.mark.parametrize("place", ["application", "mount", "around"])
async def test_the_middleware_of_a_starlette_application_or_mount_covers_all_in_it(place: str, files: str) -> None:
    routes = [
        *(Route("/route", plain), WebSocketRoute("/socket", any_socket)),
        *(Mount("/inner", Starlette(routes=[Route("/route", plain)])), Mount("/files", StaticFiles(directory=files))),
    ]
    made: dict[str, Any] = {
        "application": Starlette(routes=[Mount("/a", routes=routes)], middleware=[guarded(GUARD)]),
        "mount": Starlette(routes=[Mount("/a", routes=routes, middleware=[guarded(GUARD)])]),
        "around": GuardMiddleware(Starlette(routes=[Mount("/a", routes=routes)]), GUARD, prefix="/a"),
    }
    app = made[place]
    for path in ("/a/route", "/a/inner/route", "/a/files/a.txt", "/a/nowhere", "/a/inner/nowhere", "/a/files/nowhere"):
        for method in METHODS:
            assert await status(app, path, method) == 401
    for path in ("/a/socket", "/a/nowhere"):
        assert not await connects(app, path)
    for path in ("/a/route", "/a/inner/route", "/a/files/a.txt"):
        assert await status(app, path, good=True) == 200
    assert await status(app, "/nowhere") == (401 if place == "application" else 404)


async def test_the_middleware_of_a_starlette_route_covers_the_methods_that_it_has() -> None:
    """For others Starlette answers 405 by itself, for other paths 404: the guide says so."""
    app = Starlette(routes=[Route("/route", plain, methods=["GET", "OPTIONS"], middleware=[guarded(GUARD)])])
    found = {method: await status(app, "/route", method) for method in METHODS}
    assert {method for method, each in found.items() if each == 401} == {"GET", "HEAD", "OPTIONS"}
    assert {each for method, each in found.items() if method not in {"GET", "HEAD", "OPTIONS"}} == {405}
    assert await status(app, "/nowhere") == 404


def litestar(files: str, place: str) -> Any:
    auth = LitestarGuard(GUARD)

    @get("/route", sync_to_thread=False)
    def route() -> str:
        return "in"

    @websocket("/socket")
    async def socket(socket: LitestarSocket[Any, Any, Any]) -> None:
        await any_socket(socket)

    @asgi("/mount", is_mount=True, copy_scope=True)
    async def mount(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("in")(scope, receive, send)  # type: ignore[arg-type]  # its own types of ASGI

    handlers: list[Any] = [route, socket, mount, create_static_files_router("/files", directories=[files])]
    given: dict[str, Any] = {"plugins": [auth], "logging_config": None}
    if place == "application":
        return Litestar(handlers, guards=[auth.required()], **given)
    if place == "router":
        return Litestar([Router("/a", route_handlers=handlers, guards=[auth.required()])], **given)
    return GuardMiddleware(Litestar(handlers, **given), GUARD)  # type: ignore[arg-type]  # its own types of ASGI


@pytest.mark.parametrize("place", ["application", "router"])
async def test_guards_of_a_litestar_application_or_router_cover_all_that_is_routed(place: str, files: str) -> None:
    app = litestar(files, place)
    top = "/a" if place == "router" else ""
    for path in ("/route", "/mount", "/mount/below", "/files/a.txt"):
        assert await status(app, top + path) == 401
        assert await status(app, top + path, "OPTIONS") == 401
        assert await status(app, top + path, good=True) == 200
    assert await status(app, f"{top}/files/a.txt", "HEAD") == 401
    assert not await connects(app, f"{top}/socket")
    for path in ("/schema", "/schema/openapi.json", "/schema/swagger", "/schema/redoc"):
        assert await status(app, path) == (401 if place == "application" else 200)
    assert await status(app, f"{top}/nowhere") == 404
    assert await status(app, f"{top}/route", "BREW") == 405


async def test_the_middleware_around_litestar_covers_everything(files: str) -> None:
    app = litestar(files, "around")
    for path in ("/route", "/mount/below", "/files/a.txt", "/schema", "/schema/openapi.json", "/nowhere", "/"):
        for method in METHODS:
            assert await status(app, path, method) == 401
    for path in ("/socket", "/nowhere"):
        assert not await connects(app, path)
    assert await status(app, "/route", good=True) == 200
