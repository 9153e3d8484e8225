"""A check that is named and not called, as in `if not guard.check:`, says nothing: code that does so answers nobody."""

# No `from __future__ import annotations` here: FastAPI evaluates annotations.

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from types import ModuleType
from typing import Any

import flask
import litestar
import pytest
import quart
from aiohttp import web
from fastapi import APIRouter, Depends, FastAPI, Request
from litestar.testing import TestClient as LitestarClient

from tests.guard_adapters import django_site

django_site.configure(django_site.NAMED)

from django.http import HttpResponse  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from ninja import NinjaAPI  # noqa: E402

from watchword.guard import django, ninja, slips  # noqa: E402
from watchword.guard.aiohttp import AiohttpGuard  # noqa: E402
from watchword.guard.fastapi import FastAPIGuard  # noqa: E402
from watchword.guard.flask import FlaskGuard  # noqa: E402
from watchword.guard.litestar import LitestarGuard  # noqa: E402
from watchword.guard.quart import QuartGuard  # noqa: E402
from watchword.testing import Issuer  # noqa: E402

ISSUER = Issuer()
GUARD = ISSUER.guard()
NEEDS = GUARD.require()
GOOD = ISSUER.headers("ada")
NAMES = count()
ADAPTERS = (
    *(AiohttpGuard(GUARD), FastAPIGuard(GUARD), FlaskGuard(GUARD), LitestarGuard(GUARD), QuartGuard(GUARD)),
    ninja.required,
)
"""Each looks at its framework's views once it is imported."""


class Held:
    guard = GUARD


@pytest.fixture(autouse=True)
def used() -> Iterator[None]:
    with django.use_guard(GUARD):
        yield


# What it is told by ---------------------------------------------------------------------------------------------------


def named() -> dict[str, Callable[..., Any]]:  # noqa: C901  a list
    outer = GUARD

    def statement() -> None:
        GUARD.check  # noqa: B018

    def in_a_block() -> None:
        try:
            GUARD.verify  # noqa: B018
        except Exception:  # noqa: BLE001
            raise LookupError from None

    def negated() -> str:
        if not GUARD.check:
            return "out"
        return "in"

    def asked() -> str | None:
        return "in" if NEEDS.check else None

    def joined() -> str:
        return GUARD.check and "in"

    def alternative(x: Any = None) -> str:
        if x or GUARD.check:
            return "in"
        return "out"

    def looped() -> str:
        while NEEDS.check_async:
            return "in"
        return "out"

    def of_an_outer_function() -> str:
        return "in" if outer.check else "out"

    def of_a_class() -> bool:
        return not Held.guard.check

    async def on_a_loop() -> None:
        await GUARD.check_async("")
        NEEDS.check_async  # noqa: B018

    made: list[Any] = [statement, in_a_block, negated, asked, joined, alternative, looped]
    return {each.__name__: each for each in [*made, of_an_outer_function, of_a_class, on_a_loop]}


def called() -> dict[str, Callable[..., Any]]:
    def checked(shown: str) -> str:
        if GUARD.check(shown) and NEEDS.check(shown).has_role("admin"):
            return "in"
        assert GUARD.ready
        return "out"

    def handed_on(shown: str) -> Any:
        check = GUARD.check if shown else NEEDS.check
        return [check(shown), *map(GUARD.check, [shown])], asyncio.to_thread(GUARD.check, shown)

    def compared(shown: str) -> bool:
        return GUARD.check is not None and GUARD is not None and bool(GUARD)

    return {each.__name__: each for each in (checked, handed_on, compared)}


@pytest.mark.parametrize("name", named())
def test_code_that_names_a_check_and_does_not_call_it_is_found(name: str) -> None:
    with pytest.raises(TypeError, match="does not call it, so that nothing is checked"):
        slips.refuse_not_called(named()[name])


@pytest.mark.parametrize("name", called())
def test_code_that_calls_it_or_hands_it_on_stays(name: str) -> None:
    slips.refuse_not_called(called()[name])


def without_a_module() -> None: ...


without_a_module.__module__ = None  # type: ignore[assignment]  # as what Pydantic makes


def test_what_has_no_code_of_Pythons_stays() -> None:
    slips.refuse_not_called(lambda: without_a_module or None)
    for each in (None, len, object(), Issuer, str.upper, GUARD, ADAPTERS[0]):
        slips.refuse_not_called(each)


# In each framework ----------------------------------------------------------------------------------------------------


def view(*_: Any) -> str:
    if not GUARD.check:
        return "out"
    return "in"


async def view_async(*_: Any) -> str:
    GUARD.check  # noqa: B018
    return "in"


def test_in_FastAPI_it_raises_where_the_route_is_written() -> None:
    def dependency(request: Request) -> None:
        if not GUARD.check:
            raise LookupError

    async def route(request: Request) -> str:
        NEEDS.check_async  # noqa: B018
        return "in"

    for add in (
        lambda: FastAPI().get("/", dependencies=[Depends(dependency)])(lambda: "in"),
        lambda: APIRouter().get("/")(route),
        lambda: FastAPI().websocket("/")(route),
    ):
        with pytest.raises(TypeError, match="does not call it"):
            add()


def test_in_Flask_and_Quart_nobody_is_answered() -> None:
    app = flask.Flask("slip")
    app.add_url_rule("/", view_func=view)
    on_a_loop = quart.Quart("slip")
    on_a_loop.add_url_rule("/", view_func=view_async)

    async def ask() -> int:
        return (await on_a_loop.test_client().get("/", headers=GOOD)).status_code

    for _ in range(2):
        assert app.test_client().get("/", headers=GOOD).status_code == 500
        assert asyncio.run(ask()) == 500


def test_a_hook_that_asks_nothing_lets_nobody_in() -> None:
    def before() -> None:
        if not GUARD.check:
            flask.abort(401)

    app = flask.Flask("slip")
    app.before_request(before)
    app.add_url_rule("/", view_func=lambda: "in")
    assert [app.test_client().get("/", headers=GOOD).status_code for _ in range(2)] == [500, 500]


def test_in_aiohttp_the_application_does_not_start() -> None:
    async def handler(request: web.Request) -> web.Response:
        if not GUARD.check:
            raise web.HTTPUnauthorized
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    with pytest.raises(TypeError, match="does not call it"):
        asyncio.run(app.startup())


def test_in_Django_and_Ninja_nobody_is_answered() -> None:
    def in_django(request: Any) -> HttpResponse:
        return HttpResponse(view(request) if GUARD.check else "out")

    urls: Any = ModuleType(f"not_called_{next(NAMES)}")
    urls.urlpatterns = [path("", in_django)]
    with override_settings(ROOT_URLCONF=urls):
        for _ in range(2):
            assert Client(raise_request_exception=False).get("/", headers=GOOD).status_code == 500
    api = NinjaAPI(urls_namespace=f"not-called-{next(NAMES)}")
    for add in (lambda: api.get("/")(view), lambda: api.get("/", auth=view)(lambda request: "in")):
        with pytest.raises(TypeError, match="does not call it"):
            add()


def test_in_Litestar_nobody_is_answered() -> None:
    async def own(connection: Any, handler: Any) -> None:
        if not GUARD.check:
            raise LookupError

    @litestar.get("/guarded", guards=[own])
    async def guarded() -> str:
        return "in"

    with LitestarClient(litestar.Litestar([guarded], logging_config=None)) as client:
        assert client.get("/guarded", headers=GOOD).status_code == 500

    @litestar.get("/")
    async def answer() -> str:
        GUARD.check  # noqa: B018
        return "in"

    for handler in (guarded, answer):
        with pytest.raises(TypeError, match="does not call it"):
            litestar.Litestar([handler], plugins=[LitestarGuard(GUARD)])
