"""A guard that was thrown away, or is written for another path, opens nothing."""

# No `from __future__ import annotations` here: FastAPI evaluates annotations.

import functools
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import grpc
import pytest
import quart
from aiohttp import web

from tests.guard_adapters import django_site, shared_routes

django_site.configure(django_site.NAMED)

from channels.routing import URLRouter  # type: ignore[import-untyped]  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils.decorators import method_decorator  # noqa: E402
from django.views import View  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from ninja import NinjaAPI  # noqa: E402

from tests.guard_adapters.test_channels import connect  # noqa: E402
from tests.guard_adapters.test_slips_that_open_nothing import at, status_of  # noqa: E402
from watchword.guard.aiohttp import AiohttpGuard  # noqa: E402
from watchword.guard.channels import GuardMiddleware  # noqa: E402
from watchword.guard.django import guarded, use_guard  # noqa: E402
from watchword.guard.flask import FlaskGuard  # noqa: E402
from watchword.guard.grpc import GrpcGuard  # noqa: E402
from watchword.guard.quart import QuartGuard  # noqa: E402
from watchword.testing import Issuer  # noqa: E402

ISSUER = Issuer()
GUARD = ISSUER.guard()
NAMES = itertools.count()


@pytest.fixture(autouse=True)
def used() -> Iterator[None]:
    with use_guard(GUARD):
        yield


# Thrown away ---------------------------------------------------------------------------------------------------------


def test_Django_refuses_a_view_whose_guard_was_thrown_away() -> None:
    def make() -> Any:
        return lambda request: HttpResponse("in")

    bare, given, wrapped, before, twice = make(), make(), make(), make(), make()
    _ = guarded(bare), guarded(roles="admin")(given), guarded(wrapped)
    assert [at(bare), at(given), at(csrf_exempt(wrapped))] == [500] * 3
    assert [at(guarded(before)), at(csrf_exempt(guarded(before)))] == [401] * 2
    assert at(twice, guarded(twice)) == 200  # routed twice on purpose

    class Shown(View):
        @method_decorator(guarded)
        def get(self, request: Any) -> Any:
            return HttpResponse("in")

    assert at(Shown.as_view()) == 401


def test_Django_refuses_a_method_or_object_whose_guard_was_thrown_away() -> None:
    class Shop:
        def show(self, request: Any) -> Any:
            return HttpResponse("in")

        __call__ = show

    class Uncounted(Shop):
        __hash__ = None  # type: ignore[assignment]

    bare, other, partly = Shop(), Shop(), functools.partial(Shop().show)
    _ = guarded(bare.show), guarded(roles="admin")(bare), guarded(partly)
    assert [at(bare.show), at(bare), at(csrf_exempt(bare.show)), at(partly)] == [500] * 4
    assert [at(other.show), at(other), at(Uncounted())] == [200] * 3
    assert [at(guarded(other.show)), at(guarded(Uncounted()))] == [401] * 2
    twice = Shop()
    assert at(twice.show, guarded(twice.show)) == 200


HOOKS = ["before_request", "before_app_request", "url_value_preprocessor", "app_url_value_preprocessor"]


@pytest.mark.parametrize("kind", [flask, quart])
@pytest.mark.parametrize("on", ["app", "blueprint"])
@pytest.mark.parametrize("name", [*HOOKS, "before_websocket", "after_request", "teardown_request"])
def test_a_guard_above_a_hook_is_refused(kind: Any, on: str, name: str) -> None:
    """The hook is registered bare: it ran before every request, and checked nothing."""
    app, blueprint = kind.Flask("a") if kind is flask else kind.Quart("a"), kind.Blueprint("b", "b")
    auth = (FlaskGuard if kind is flask else QuartGuard)(GUARD)
    register = getattr(app if on == "app" else blueprint, name, None)
    if register is None:
        return  # no framework has each of them in both places
    with pytest.raises(RuntimeError, match="above the route"):

        @auth.required()
        @register
        def check(*_: Any) -> None: ...


@pytest.mark.parametrize("on", ["app", "blueprint"])
async def test_a_hook_whose_guard_was_thrown_away_is_refused_at_the_request(on: str) -> None:
    def check() -> None: ...

    async def check_async() -> None: ...

    for thrown, status in ((True, 500), (False, 401)):
        app, group = flask.Flask("a"), flask.Blueprint("b", "b")
        group.add_url_rule("/", "x", lambda: "in")
        guarded_check = FlaskGuard(GUARD).required()(check)
        (app if on == "app" else group).before_request(check if thrown else guarded_check)
        app.register_blueprint(group)
        assert app.test_client().get("/").status_code == status
        quart_app, quart_group = quart.Quart("a"), quart.Blueprint("b", "b")
        quart_group.add_url_rule("/", "x", shown)
        guarded_async = QuartGuard(GUARD).required()(check_async)
        (quart_app if on == "app" else quart_group).before_request(check_async if thrown else guarded_async)
        quart_app.register_blueprint(quart_group)
        assert (await quart_app.test_client().get("/")).status_code == status


async def shown() -> str:
    return "in"


def test_a_guard_above_an_operation_of_ninjas_is_noticed() -> None:
    api = NinjaAPI(urls_namespace=f"slips-{next(NAMES)}")
    with pytest.raises(RuntimeError, match=r"above the route of 'operation'[\s\S]*@api\.get"):

        @guarded(roles="admin")
        @api.get("/")
        def operation(request: Any) -> str:
            return "in"


@pytest.mark.parametrize("name", ["module", "thrown away", "routed before", "a method", "in a sub-application"])
async def test_aiohttp_does_not_start_with_a_handler_whose_guard_is_elsewhere(name: str) -> None:
    auth, app = AiohttpGuard(GUARD), web.Application()

    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="in")

    class Shown(web.View):
        async def get(self) -> web.Response:
            return web.Response(text="in")

    if name == "module":
        shared_routes.routes = web.RouteTableDef()
        _ = auth.required()(shared_routes.routes.get("/")(handler))
        app.add_routes(shared_routes.routes)
    elif name == "a method":
        _ = auth.required()(Shown.get)
        app.router.add_view("/", Shown)
    elif name == "in a sub-application":
        inner = web.Application()
        inner.router.add_get("/", handler)
        app.add_subapp("/inner", inner)
        _ = auth.required()(handler)
    else:
        if name == "routed before":
            app.router.add_get("/", handler)
        _ = auth.required()(handler)
        if name == "thrown away":
            app.router.add_get("/", handler)
    with pytest.raises(RuntimeError, match=r"above the route of .*, or what it returned was thrown away"):
        await web.AppRunner(app).setup()


async def test_aiohttp_starts_with_a_handler_that_is_routed_twice_on_purpose() -> None:
    auth, app, inner = AiohttpGuard(GUARD), web.Application(), web.Application()

    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="in")

    app.router.add_get("/open", handler)
    inner.router.add_get("/mine", auth.required()(handler))
    app.add_subapp("/inner", inner)
    assert await status_of(app, "/open") == 200


# Paths ---------------------------------------------------------------------------------------------------------------


async def test_a_prefix_relative_to_a_sub_application_of_aiohttp_guards() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="in")

    for prefix, spared, wanted in (
        ("/one", [], {"/sub/one": 401, "/sub/one/two": 401, "/sub/open": 200}),
        ("/sub/one", [], {"/sub/one": 401, "/sub/open": 200}),
        ("/deep/one", [], {"/sub/one": 200, "/sub/deep/one": 401, "/sub/deep/open": 200}),
        ("/", ["/open"], {"/sub/one": 401, "/sub/open": 401}),
        ("/", ["/sub/open"], {"/sub/one": 401, "/sub/open": 200}),
    ):
        for path_, status in wanted.items():
            app, middle, inner = web.Application(), web.Application(), web.Application()
            for each in ("/one", "/one/two", "/open"):
                inner.router.add_get(each, handler)
            AiohttpGuard(GUARD).protect(inner, prefix=prefix, except_paths=spared)
            middle.router.add_get("/one", handler)
            middle.router.add_get("/open", handler)
            inner.add_subapp("/deep", middle)
            app.add_subapp("/sub", inner)
            assert await status_of(app, path_) == status, (prefix, spared, path_)


async def test_a_prefix_relative_to_a_nested_router_of_Channels_guards() -> None:
    from tests.guard_adapters.channels_app import Greet

    for asked, wanted in (
        ({"prefix": "/one"}, {"/sub/one": False, "/sub/open": True}),
        ({"prefix": "/sub/one"}, {"/sub/one": False, "/sub/open": True}),
        ({"except_paths": ["/open"]}, {"/sub/one": False, "/sub/open": False}),
        ({"except_paths": ["/sub/open"]}, {"/sub/one": False, "/sub/open": True}),
    ):
        inner = URLRouter([path("one", Greet.as_asgi()), path("open", Greet.as_asgi())])
        app = URLRouter([path("sub/", GuardMiddleware(inner, **asked))])
        for where, accepted in wanted.items():
            assert (await connect(app, where))[0] is accepted, (asked, where)


# gRPC ----------------------------------------------------------------------------------------------------------------


async def test_an_interceptor_in_the_place_of_threads_is_refused() -> None:
    auth = GrpcGuard(GUARD)
    for given in ([auth.aio_interceptor()], auth.aio_interceptor(), (auth.aio_interceptor(),)):
        with pytest.raises(TypeError, match=r"write interceptors=\[…\]"):
            grpc.aio.server(given)
    server = grpc.aio.server(ThreadPoolExecutor(1), interceptors=[auth.aio_interceptor()])
    with pytest.raises(TypeError, match=r"write grpc.server\(…, interceptors=\[…\]\)"):
        server.add_generic_rpc_handlers((auth.aio_interceptor(),))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {}),))


# Streams -------------------------------------------------------------------------------------------------------------


async def test_a_decorator_that_is_made_while_an_answer_streams_ends_it() -> None:
    app, auth = quart.Quart("stream"), QuartGuard(GUARD)

    async def view() -> Any:
        async def body() -> Any:
            auth.required()
            yield "in"

        return body()

    app.add_url_rule("/", view_func=view)
    with pytest.raises(RuntimeError, match="checks nothing"):
        await app.test_client().get("/")

    other, auth_too = flask.Flask("stream"), FlaskGuard(GUARD)

    def streamed() -> Any:
        def body() -> Any:
            auth_too.required()
            yield "in"

        return flask.stream_with_context(body())  # type: ignore[call-overload]

    other.add_url_rule("/", view_func=lambda: flask.Response(streamed()))
    with pytest.raises(RuntimeError, match="checks nothing"):
        other.test_client().get("/")
