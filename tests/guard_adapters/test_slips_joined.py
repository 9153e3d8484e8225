"""Two guards that `and` joins, which leaves one of them, and refusals that are returned: nobody is let in by that."""

from collections.abc import Callable, Iterator
from itertools import count
from types import ModuleType
from typing import Any

import litestar
import pytest
from litestar.testing import TestClient as LitestarClient

from tests.guard_adapters import django_site

django_site.configure(django_site.NAMED)

from django.test import Client, override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from ninja import NinjaAPI  # noqa: E402
from ninja.security import APIKeyQuery  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402

from watchword.errors import WatchwordError  # noqa: E402
from watchword.guard import Caller, django, drf, ninja, starlette  # noqa: E402
from watchword.guard.aiohttp import AiohttpGuard  # noqa: E402
from watchword.guard.fastapi import FastAPIGuard  # noqa: E402
from watchword.guard.flask import FlaskGuard  # noqa: E402
from watchword.guard.litestar import LitestarGuard  # noqa: E402
from watchword.testing import Issuer  # noqa: E402

ISSUER = Issuer()
GUARD = ISSUER.guard()
GOOD = ISSUER.headers("ada")
NAMES = count()
FASTAPI, LITESTAR, FLASK, AIOHTTP = FastAPIGuard(GUARD), LitestarGuard(GUARD), FlaskGuard(GUARD), AiohttpGuard(GUARD)


@pytest.fixture(autouse=True)
def used() -> Iterator[None]:
    with django.use_guard(GUARD):
        yield


# Two that are joined --------------------------------------------------------------------------------------------------


class Clerk(drf.HasCaller):
    roles = "clerk"


class Reader(drf.HasCaller):
    scopes = "orders:read"


def named(make: Callable[..., Any]) -> Callable[[], Any]:
    """Joins two that have names already."""

    def join() -> Any:
        first, second = make(roles="clerk"), make(scopes="orders:read")
        kept = [first, second]
        return (kept[0] and kept[1], first, second)

    return join


async def handler(_: Any) -> None: ...


JOINED: dict[str, Callable[[], Any]] = {
    "FastAPI": lambda: FASTAPI.required(roles="clerk") and FASTAPI.required(),
    "FastAPI, named": named(FASTAPI.required),
    "Litestar": lambda: LITESTAR.required(roles="clerk") and LITESTAR.required(),
    "Litestar, named": named(LITESTAR.required),
    "Starlette": lambda: starlette.guarded(GUARD, roles="clerk") and starlette.guarded(GUARD),
    "Starlette, named": named(lambda **asked: starlette.guarded(GUARD, **asked)),
    "Ninja": lambda: ninja.required(roles="clerk") and ninja.required(),
    "Ninja, named": named(ninja.required),
    "Flask": lambda: (FLASK.required(roles="clerk") and FLASK.required())(lambda: "in"),
    "aiohttp": lambda: (AIOHTTP.required(roles="clerk") and AIOHTTP.required())(handler),
    "Django": lambda: (django.guarded(roles="clerk") and django.guarded())(lambda request: None),
    "DRF": lambda: [drf.has_roles("clerk") and drf.has_scopes("orders:read")],
    "DRF, classes": lambda: [Clerk and Reader],
    "DRF, or": lambda: [Reader or Clerk],
    "DRF, not": lambda: [not Clerk],
    "DRF, joined": lambda: [Clerk & Reader and IsAuthenticated],
    "DRF, joined on the right": lambda: [IsAuthenticated & Reader and Clerk],
    "DRF, joined by or": lambda: [(IsAuthenticated | Reader) and IsAuthenticated],
    "DRF, of three": lambda: [(Clerk | Reader & Clerk) and IsAuthenticated],
}


@pytest.mark.parametrize("name", JOINED)
def test_two_that_and_joins_raise_where_it_is_written(name: str) -> None:
    """Python takes the second, so that what the first needs was dropped."""
    with pytest.raises((TypeError, RuntimeError), match=r"guard: "):
        JOINED[name]()


def test_permissions_that_are_joined_rightly_are_asked() -> None:
    made = [each() for each in (Clerk & Reader, IsAuthenticated & Reader, (Clerk | IsAuthenticated) & Reader)]
    assert [type(each).__name__ for each in made] == ["AND", "AND", "AND"]
    assert Clerk & Reader == Clerk & Reader
    assert len({Clerk & Reader, Clerk & Reader, Clerk | Reader}) == 2


# Returned in place of raised, or in place of asked --------------------------------------------------------------------


def returned(request: Any) -> Any:
    try:
        return GUARD.check(request.headers.get("authorization"))
    except WatchwordError as error:
        return error


def answered(request: Any) -> Any:
    found = returned(request)
    return GUARD.refusal(found) if isinstance(found, WatchwordError) else found


def ask_ninja(operation: Any, auth: Any, where: str = "/", **headers: str) -> int:
    api = NinjaAPI(urls_namespace=f"joined-{next(NAMES)}")
    api.get("/", auth=auth)(operation)
    urls: Any = ModuleType(f"joined_urls_{next(NAMES)}")
    urls.urlpatterns = [path("", api.urls)]
    with override_settings(ROOT_URLCONF=urls):
        return Client(raise_request_exception=False).get(where, headers=headers).status_code


def plain(request: Any) -> str:
    return "in"


async def plain_async(request: Any) -> str:
    return "in"


def asynchronous(function: Callable[[Any], Any]) -> Any:
    async def auth(request: Any) -> Any:
        return function(request)

    return auth


@pytest.mark.parametrize("auth", [returned, answered])
def test_Ninjas_own_function_that_returns_a_refusal_lets_nobody_in(auth: Any) -> None:
    for operation, given in ((plain, auth), (plain_async, auth), (plain_async, asynchronous(auth))):
        assert ask_ninja(operation, given) == 500
        assert ask_ninja(operation, given, **GOOD) == 200


@pytest.mark.parametrize("auth", [lambda _: GUARD, lambda _: GUARD.check, lambda _: [GUARD.require().check]])
def test_Ninjas_own_function_that_returns_what_was_to_be_asked_lets_nobody_in(auth: Any) -> None:
    for operation, given in ((plain, auth), (plain_async, auth), (plain_async, asynchronous(auth))):
        assert ask_ninja(operation, given, **GOOD) == 500


def test_Ninja_asks_nothing_after_ours() -> None:
    class Key(APIKeyQuery):
        def authenticate(self, request: Any, key: str | None) -> Any:
            return "known" if key == "good" else None

    for auth in ([ninja.optional(), ninja.required(roles="clerk")], (ninja.required(), Key())):
        with pytest.raises(TypeError, match="put it last"):
            ask_ninja(plain, auth)
    both = [Key(), ninja.required()]
    assert [ask_ninja(plain, both), ask_ninja(plain, both, **GOOD), ask_ninja(plain, both, "/?key=good")] == [
        401,
        200,
        200,
    ]


@pytest.mark.parametrize("function", [returned, answered])
def test_a_Litestar_guard_that_returns_a_refusal_lets_nobody_in(function: Any) -> None:
    def threaded(connection: Any, _: Any) -> Any:
        found = function(connection)
        return None if isinstance(found, Caller) else found

    async def own(connection: Any, handler: Any) -> Any:
        return threaded(connection, handler)

    for plugins in ([], [LITESTAR]):
        for each in (own, threaded):

            @litestar.get("/", guards=[each])
            async def answer() -> str:
                return "in"

            with LitestarClient(litestar.Litestar([answer], plugins=plugins, logging_config=None)) as client:
                assert client.get("/").status_code == 500
                assert client.get("/", headers=GOOD).status_code == 200
