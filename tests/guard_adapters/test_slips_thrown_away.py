"""What a maker of an adapter returns protects nothing where a statement drops it: each maker says so."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import flask
import litestar
import pytest
from fastapi import FastAPI
from litestar.testing import TestClient as LitestarClient
from quart import Quart
from starlette.applications import Starlette

from tests.guard_adapters import django_site

django_site.configure(django_site.NAMED)

from rest_framework.decorators import permission_classes  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.test import APIRequestFactory  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from watchword.guard import channels, django, drf, ninja, starlette  # noqa: E402
from watchword.guard.aiohttp import AiohttpGuard  # noqa: E402
from watchword.guard.fastapi import FastAPIGuard  # noqa: E402
from watchword.guard.flask import FlaskGuard  # noqa: E402
from watchword.guard.grpc import GrpcGuard  # noqa: E402
from watchword.guard.litestar import LitestarGuard  # noqa: E402
from watchword.guard.quart import QuartGuard  # noqa: E402
from watchword.testing import Issuer  # noqa: E402

ISSUER = Issuer()
GUARD = ISSUER.guard()
FLASK, GRPC, QUART, AIOHTTP = FlaskGuard(GUARD), GrpcGuard(GUARD), QuartGuard(GUARD), AiohttpGuard(GUARD)
LITESTAR, FASTAPI = LitestarGuard(GUARD), FastAPIGuard(GUARD)


@pytest.fixture(autouse=True)
def used() -> Iterator[None]:
    with django.use_guard(GUARD):
        yield


async def application(*_: Any) -> None: ...


# Lambdas, which return what they make, unlike the makers alone.
MAKERS: dict[str, Callable[[], Any]] = {
    "Starlette": lambda: starlette.guarded(GUARD),
    "Starlette, optional": lambda: starlette.authentication(GUARD),
    "FastAPI": lambda: FASTAPI.required(roles="admin"),
    "FastAPI, optional": lambda: FASTAPI.optional(),  # noqa: PLW0108
    "Litestar": lambda: LITESTAR.required(roles="admin"),
    "Flask": lambda: FLASK.required(),  # noqa: PLW0108
    "Flask, applied": lambda: FLASK.required()(application),
    "Quart": lambda: QUART.optional(),  # noqa: PLW0108
    "aiohttp": lambda: AIOHTTP.required()(application),
    "Django": lambda: django.guarded(roles="admin"),
    "Django, bare": lambda: django.guarded(application),
    "Django, applied": lambda: django.guarded(roles="admin")(application),
    "Ninja": lambda: ninja.required(),  # noqa: PLW0108
    "DRF, scopes": lambda: drf.has_scopes("orders:read"),
    "DRF, roles": lambda: drf.has_roles("admin"),
    "Channels": lambda: channels.guarded(application),
    "Channels, asked": lambda: channels.guarded(roles="admin"),
    "Channels, applied": lambda: channels.guarded(roles="admin")(application),
    "Channels, middleware": lambda: channels.GuardMiddleware(application),
    "gRPC": lambda: GRPC.interceptor(),  # noqa: PLW0108
    "gRPC, aio": lambda: GRPC.aio_interceptor(),  # noqa: PLW0108
}


@pytest.mark.parametrize("name", MAKERS)
def test_each_maker_refuses_to_be_dropped_and_may_be_kept(name: str) -> None:
    make = MAKERS[name]
    assert make() is not None
    with pytest.raises(RuntimeError, match=r"returns is thrown away here, so it protects nothing"):
        make()


@pytest.mark.parametrize("auth", [FLASK, QUART], ids=["Flask", "Quart"])
async def test_a_decorator_that_is_applied_and_dropped_in_a_view_opens_nothing(auth: Any) -> None:
    app: Any = flask.Flask("a") if auth is FLASK else Quart("a")

    def view() -> str:
        auth.required()(lambda: None)
        return "in"

    app.get("/")(view)
    answer = app.test_client().get("/")
    assert (answer if auth is FLASK else await answer).status_code == 500


def test_a_Litestar_guard_that_is_only_made_for_a_request_opens_nothing() -> None:
    made = LITESTAR.required()

    async def before(_: litestar.Request[Any, Any, Any]) -> None:
        _kept = LITESTAR.required()

    slips: list[dict[str, Any]] = [
        {"guards": [lambda connection, handler: LITESTAR.required()]},
        {"guards": [lambda connection, handler: LITESTAR.required()(connection, handler)]},  # noqa: PLW0108
        {"guards": [lambda connection, handler: made(connection, handler)]},  # noqa: PLW0108
        {"before_request": before},
    ]
    for plugins in ([], [LITESTAR]):
        for slip in slips:

            @litestar.get("/", **slip)
            async def answer() -> str:
                return "in"

            with LitestarClient(litestar.Litestar([answer], plugins=plugins, logging_config=None)) as client:
                assert client.get("/").status_code == 500


def test_a_permission_above_a_method_opens_nothing_where_no_authentication_looks() -> None:
    from django.core.exceptions import ImproperlyConfigured

    for ours in (drf.HasCaller, drf.HasCaller | IsAuthenticated, IsAuthenticated | drf.has_roles("admin")):

        class Slip(APIView):
            authentication_classes: ClassVar[list[Any]] = []

            @permission_classes([ours])
            def get(self, request: Any) -> Response:
                return Response("in")

        with pytest.raises(ImproperlyConfigured, match=r"protects nothing above a method"):
            Slip.as_view()(APIRequestFactory().get("/"))

    class NotOurs(APIView):
        authentication_classes: ClassVar[list[Any]] = []

        @permission_classes([IsAuthenticated])
        def get(self, request: Any) -> Response:
            return Response("in")

    assert NotOurs.as_view()(APIRequestFactory().get("/")).status_code == 401  # by the site's own default


def test_an_interceptor_that_is_asked_and_dropped_opens_nothing() -> None:
    ours = GRPC.interceptor()

    def intercept(continuation: Any, details: Any) -> Any:
        ours.intercept_service(continuation, details)
        return continuation(details)

    with pytest.raises(RuntimeError, match=r"interceptor returns is thrown away here"):
        intercept(lambda _: None, None)


def test_frameworks_that_make_a_middleware_later_make_it() -> None:
    for app in (FastAPI(), Starlette()):
        app.add_middleware(starlette.GuardMiddleware, guard=GUARD)
        assert app.build_middleware_stack() is not None
