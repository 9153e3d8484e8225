"""What is made and not asked, not awaited, thrown away, or for another path: each is refused, in each adapter."""

# No `from __future__ import annotations` here: FastAPI evaluates annotations.

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import flask
import grpc
import pytest
import quart
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from tests.guard_adapters import django_site

django_site.configure(django_site.NAMED)

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer  # type: ignore[import-untyped]  # noqa: E402
from channels.routing import URLRouter  # type: ignore[import-untyped]  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from ninja import NinjaAPI  # noqa: E402

from tests.guard_adapters.in_process import http_scope  # noqa: E402
from watchword.errors import TokenError  # noqa: E402
from watchword.guard import Guard  # noqa: E402
from watchword.guard.aiohttp import AiohttpGuard  # noqa: E402
from watchword.guard.channels import guarded as guarded_consumer  # noqa: E402
from watchword.guard.django import get_guard, guarded, use_guard  # noqa: E402
from watchword.guard.fastapi import FastAPIGuard  # noqa: E402
from watchword.guard.flask import FlaskGuard  # noqa: E402
from watchword.guard.grpc import GrpcGuard  # noqa: E402
from watchword.guard.ninja import optional, required  # noqa: E402
from watchword.guard.quart import QuartGuard  # noqa: E402
from watchword.testing import Issuer  # noqa: E402

ISSUER = Issuer()
GUARD = ISSUER.guard()
GOOD = ISSUER.headers("ada")
NAMES = itertools.count()

Slip = Callable[[Guard, Any], Any]
"""What stands in a handler: with the guard, and the Authorization header or None."""

SLIPS: dict[str, Slip] = {
    "not awaited": lambda guard, header: (guard.check_async(header), "in")[1],
    "truth of what is not awaited": lambda guard, header: "in" if guard.check_async(header) else "out",
    "required and not awaited": lambda guard, header: (needs.check_async(header), "in")[1],
    "only required": lambda guard, header: (guard.require(roles="admin"), "in")[1],
}
needs = GUARD.require()


@pytest.fixture(autouse=True)
def used() -> Iterator[None]:
    with use_guard(GUARD):
        yield


# In a handler --------------------------------------------------------------------------------------------------------


def in_fastapi(slip: Slip) -> int:
    app = FastAPI()

    async def dependency(request: Request) -> None:
        slip(GUARD, request.headers.get("authorization"))

    def threaded(request: Request) -> Any:
        return slip(GUARD, request.headers.get("authorization"))

    app.get("/one", dependencies=[Depends(dependency)])(lambda: "in")
    app.get("/two", dependencies=[Depends(threaded)])(lambda: "in")
    app.get("/three")(threaded)
    client = TestClient(app, raise_server_exceptions=False)
    return min(client.get(f"/{name}").status_code for name in ("one", "two", "three"))


def in_flask(slip: Slip) -> int:
    app = flask.Flask("slip")
    app.add_url_rule("/", view_func=lambda: slip(GUARD, flask.request.headers.get("Authorization")))
    return app.test_client().get("/").status_code


def in_quart(slip: Slip) -> int:
    app = quart.Quart("slip")

    async def view() -> Any:
        return slip(GUARD, quart.request.headers.get("Authorization"))

    app.add_url_rule("/", view_func=view)

    async def ask() -> int:
        return (await app.test_client().get("/")).status_code

    return asyncio.run(ask())


def in_aiohttp(slip: Slip) -> int:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=slip(GUARD, request.headers.get("Authorization")))

    app = web.Application()
    app.router.add_get("/", handler)
    return asyncio.run(status_of(app))


async def status_of(app: web.Application, where: str = "/", **given: Any) -> int:
    async with AiohttpClient(TestServer(app)) as client, client.get(where, **given) as answer:
        return answer.status


def in_django(slip: Slip) -> int:
    def view(request: Any) -> Any:
        return HttpResponse(slip(get_guard(), request.headers.get("Authorization")))

    async def view_async(request: Any) -> Any:
        return view(request)

    return min(at(view), at(view_async))


def at(view: Any, *others: Any) -> int:
    """The status of a view that is routed."""
    urls: Any = ModuleType(f"urls_{next(NAMES)}")
    urls.urlpatterns = [path("", view), *(path(f"{number}", each) for number, each in enumerate(others))]
    with override_settings(ROOT_URLCONF=urls):
        return Client(raise_request_exception=False).get("/").status_code


def in_ninja(slip: Slip) -> int:
    def of(operation: Any, **given: Any) -> int:
        api = NinjaAPI(urls_namespace=f"slips-{next(NAMES)}")
        api.get("/", **given)(operation)
        urls: Any = ModuleType(f"urls_{next(NAMES)}")
        urls.urlpatterns = [path("", api.urls)]
        with override_settings(ROOT_URLCONF=urls):
            return Client(raise_request_exception=False).get("/").status_code

    def ask(request: Any) -> Any:
        return slip(get_guard(), request.headers.get("Authorization"))

    async def ask_async(request: Any) -> Any:
        return ask(request)

    def plain(request: Any) -> str:
        return "in"

    async def plain_async(request: Any) -> str:
        return "in"

    return min(of(ask), of(ask_async), of(plain, auth=ask), of(plain_async, auth=ask_async), of(plain_async, auth=ask))


def in_grpc(slip: Slip) -> int:
    def asked(context: Any) -> bytes:
        return str(slip(GUARD, dict(context.invocation_metadata()).get("authorization"))).encode()

    class Threads:
        def One(self, _: Any, context: Any) -> bytes:
            return asked(context)

        def Many(self, _: Any, context: Any) -> Iterator[bytes]:
            yield asked(context)

    class Loop:
        async def One(self, _: Any, context: Any) -> bytes:
            return asked(context)

        async def Many(self, _: Any, context: Any) -> Any:
            yield asked(context)

    found = [served(Threads()), served(Loop(), on_a_loop=True)]
    return 200 if any(found) else 500


def served(servicer: Any, *, on_a_loop: bool = False) -> list[bytes]:
    """What comes back from both methods."""

    def same(given: bytes) -> bytes:
        return given

    def ask(port: int) -> list[bytes]:
        found: list[bytes] = []
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            with contextlib.suppress(grpc.RpcError):
                found.append(channel.unary_unary("/t.T/One", same, same)(b"", timeout=60))
            with contextlib.suppress(grpc.RpcError):
                found.extend(channel.unary_stream("/t.T/Many", same, same)(b"", timeout=60))
        return found

    handlers = {
        "One": grpc.unary_unary_rpc_method_handler(servicer.One, same, same),
        "Many": grpc.unary_stream_rpc_method_handler(servicer.Many, same, same),
    }
    generic = grpc.method_handlers_generic_handler("t.T", handlers)

    async def loop() -> list[bytes]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((generic,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await asyncio.to_thread(ask, port)
        finally:
            await server.stop(0)

    if on_a_loop:
        return asyncio.run(loop())
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((generic,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        return ask(port)
    finally:
        server.stop(0)


def in_channels(slip: Slip) -> int:
    def asked(scope: Any) -> None:
        slip(get_guard(), dict(scope["headers"]).get(b"authorization"))

    class OnALoop(AsyncWebsocketConsumer):  # type: ignore[misc]
        async def connect(self) -> None:
            asked(self.scope)
            await self.accept()

    class InAThread(WebsocketConsumer):  # type: ignore[misc]
        def connect(self) -> None:
            asked(self.scope)
            self.accept()

    return max(connected(OnALoop), connected(InAThread))


def connected(consumer: Any) -> int:
    """Tell by a status whether a consumer accepts."""
    sent: list[str] = []
    received = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}])

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = http_scope("/", type="websocket", headers=[], subprotocols=[])
    with contextlib.suppress(RuntimeError, TypeError, TokenError):
        asyncio.run(URLRouter([path("", consumer.as_asgi())])(scope, receive, send))
    return 200 if "websocket.accept" in sent else 500


ADAPTERS = {
    each.__name__[3:]: each
    for each in (in_fastapi, in_flask, in_quart, in_aiohttp, in_django, in_ninja, in_grpc, in_channels)
}


@pytest.mark.parametrize("name", SLIPS)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_handler_that_does_not_ask_answers_nobody(adapter: str, name: str) -> None:
    assert ADAPTERS[adapter](SLIPS[name]) == 500


@pytest.mark.parametrize(
    ("adapter", "make"),
    [
        ("fastapi", FastAPIGuard(GUARD).required),
        ("flask", FlaskGuard(GUARD).required),
        ("quart", QuartGuard(GUARD).required),
        ("aiohttp", AiohttpGuard(GUARD).required),
        ("django", guarded),
        ("ninja", required),
        ("ninja", optional),
        ("grpc", GrpcGuard(GUARD).required),
        ("channels", guarded_consumer),
    ],
)
def test_what_an_adapter_makes_for_a_request_answers_nobody(adapter: str, make: Any) -> None:
    assert ADAPTERS[adapter](lambda guard, header: (make(roles="admin"), "in")[1]) == 500
    assert ADAPTERS[adapter](lambda guard, header: "in") == 200


def test_ninjas_own_authentication_that_forgets_to_await_ours() -> None:
    ours = required(roles="admin")

    async def own(request: Any) -> Any:
        return ours(request)

    async def drops(request: Any) -> Any:
        ours(request)
        return True

    async def operation(request: Any) -> str:
        return "in"

    for each in (own, drops):
        api = NinjaAPI(urls_namespace=f"slips-{next(NAMES)}")
        api.get("/", auth=each)(operation)
        urls: Any = ModuleType(f"urls_{next(NAMES)}")
        urls.urlpatterns = [path("", api.urls)]
        with override_settings(ROOT_URLCONF=urls):
            assert Client(raise_request_exception=False).get("/").status_code == 401
