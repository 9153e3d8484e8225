"""A guard that is only made where it ought to be asked, or stands where no framework looks, opens nothing."""

# No `from __future__ import annotations` here: FastAPI evaluates annotations, and these name local variables.

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import flask
import litestar
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient
from flask.views import MethodView
from litestar.testing import TestClient as LitestarClient
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.guard_adapters import django_site
from watchword.guard.fastapi import FastAPIGuard
from watchword.guard.flask import FlaskGuard, current_caller
from watchword.guard.litestar import LitestarGuard
from watchword.guard.starlette import guarded
from watchword.testing import Issuer

ISSUER = Issuer()
GOOD = ISSUER.headers("ada")
EMPTY: tuple[Any, ...] = ((), frozenset(), [], set(), {}, "", range(0), iter(()))


# FastAPI -------------------------------------------------------------------------------------------------------------


def fastapi_slips(auth: FastAPIGuard) -> dict[str, Callable[..., Any]]:
    """Functions that make a dependency while a request is answered."""

    def plain() -> Any:
        return auth.required(roles="admin")

    async def awaited() -> Any:
        return auth.optional()

    def generator() -> Iterator[Any]:
        yield auth.required()

    async def forgotten() -> None:
        auth.required()

    class Made:
        def __init__(self) -> None:
            self.caller = auth.required()

    class Called:
        def __call__(self) -> Any:
            return auth.required()

    return {
        "lambda": lambda: auth.required(scopes="read"),
        "plain": plain,
        "awaited": awaited,
        "generator": generator,
        "forgotten": forgotten,
        "made": Made,
        "called": Called(),
    }


@pytest.mark.parametrize("name", fastapi_slips(FastAPIGuard(ISSUER.guard())))
def test_a_dependency_that_is_made_for_a_request_lets_nobody_in(name: str) -> None:
    auth = FastAPIGuard(ISSUER.guard())
    slip = fastapi_slips(auth)[name]
    router = APIRouter()
    app = FastAPI()
    app.get("/route", dependencies=[Depends(slip)])(lambda: "in")
    router.get("/router")(lambda: "in")
    app.include_router(router, dependencies=[Depends(slip)])
    app.get("/endpoint")(slip)

    @app.get("/parameter")
    def parameter(caller: Annotated[Any, Depends(slip)]) -> str:
        return "in"

    client = TestClient(app)
    for path in ("/route", "/router", "/parameter", "/endpoint"):
        with pytest.raises(RuntimeError, match=r"checks nothing .* write `caller: Annotated\[Caller"):
            client.get(path, headers=GOOD)


def test_a_module_that_is_imported_for_a_request_may_make_dependencies(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "imported_late.py").write_text(
        "from fastapi import FastAPI\nfrom watchword.guard.fastapi import FastAPIGuard\n"
        "from watchword.testing import Issuer\n"
        "app = FastAPI(dependencies=[FastAPIGuard(Issuer().guard()).required()])\n"
    )
    app = FastAPI()

    @app.get("/")
    def late() -> str:
        import imported_late  # type: ignore[import-not-found]

        return str(imported_late.app.title)

    assert TestClient(app).get("/").json() == "FastAPI"


# Starlette -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["endpoint", "sync", "class", "dispatch"])
def test_a_middleware_that_is_made_for_a_request_lets_nobody_in(where: str) -> None:
    guard = ISSUER.guard()

    def sync(_: Any) -> PlainTextResponse:
        guarded(guard)
        return PlainTextResponse("in")

    async def endpoint(request: Any) -> PlainTextResponse:
        return sync(request)

    class Shown(HTTPEndpoint):
        async def get(self, request: Any) -> PlainTextResponse:
            return sync(request)

    async def dispatch(request: Any, call_next: Any) -> Any:
        guarded(guard)
        return await call_next(request)

    async def plain(_: Any) -> PlainTextResponse:
        return PlainTextResponse("in")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.router.routes.append(Route("/late", plain, middleware=[guarded(guard)]))  # which is as good as any
        yield

    routes = {"endpoint": endpoint, "sync": sync, "class": Shown, "dispatch": plain}
    outside = [Middleware(BaseHTTPMiddleware, dispatch=dispatch if where == "dispatch" else lambda it, then: then(it))]
    with TestClient(Starlette(routes=[Route("/", routes[where])], middleware=outside, lifespan=lifespan)) as client:
        with pytest.raises(RuntimeError, match=r"checks nothing .*Route\(path, endpoint, middleware="):
            client.get("/", headers=GOOD)
        if where != "dispatch":
            assert [client.get("/late", headers=each).status_code for each in ({}, GOOD)] == [401, 200]


# Litestar ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lambda", "plain", "awaited", "returned", "not awaited", "made before"])
def test_a_guard_of_ones_own_that_only_makes_ours_lets_nobody_in(name: str) -> None:
    auth = LitestarGuard(ISSUER.guard())
    before = auth.required()

    def plain(*_: Any) -> None:
        auth.required()

    async def awaited(*_: Any) -> None:
        auth.optional()

    async def returned(*_: Any) -> Any:
        return before

    slips: dict[str, Any] = {
        "lambda": lambda *_: auth.required(),
        "plain": plain,
        "awaited": awaited,
        "returned": returned,
        "not awaited": lambda *given: before(given[0], given[1]),
        "made before": lambda *_: before,
    }

    @litestar.get("/", guards=[slips[name]])
    async def handler() -> str:
        return "in"

    with LitestarClient(litestar.Litestar([handler], plugins=[auth])) as client:
        assert client.get("/").status_code == client.get("/", headers=GOOD).status_code == 500


def test_a_guard_of_ones_own_may_ask_ours() -> None:
    auth = LitestarGuard(ISSUER.guard())
    ours = auth.required()

    async def own(connection: Any, handler: Any) -> None:
        await ours(connection, handler)

    def other(*_: Any) -> None: ...

    @litestar.get("/", guards=[own, other])
    async def handler() -> str:
        return "in"

    with LitestarClient(litestar.Litestar([handler], plugins=[auth])) as client:
        assert [client.get("/").status_code, client.get("/", headers=GOOD).status_code] == [401, 200]


# Flask ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["view", "hook"])
@pytest.mark.parametrize("name", ["required", "optional"])
def test_a_decorator_that_is_made_for_a_request_gives_nothing_away(name: str, where: str) -> None:
    app, auth = flask.Flask("slip"), FlaskGuard(ISSUER.guard())

    def slip() -> None:
        getattr(auth, name)()

    def kept() -> None:
        _ = getattr(auth, name)()

    app.get("/kept")(lambda: kept() or "in")
    if where == "hook":
        app.before_request(slip)

    @app.get("/")
    def view() -> str:
        slip()
        return "in"

    for headers in ({}, GOOD):
        answer = app.test_client().get("/", headers=headers)
        assert (answer.status_code, answer.text == "in") == (500, False)
    app.testing = True
    with pytest.raises(RuntimeError, match=r"returns is thrown away here, so it protects nothing: write it above"):
        app.test_client().get("/")
    app.before_request_funcs.clear()
    with pytest.raises(RuntimeError, match=r"checks nothing; write it as a decorator: @auth\.required\(\) above"):
        app.test_client().get("/kept")


def test_a_decorator_that_is_made_for_a_request_may_be_used_there() -> None:
    app, auth = flask.Flask("used"), FlaskGuard(ISSUER.guard())

    @app.get("/<role>")
    def view(role: str) -> Any:
        return auth.required(roles=role)(lambda: current_caller.user_id)()

    client = app.test_client()
    admin = ISSUER.headers("ada", roles=["admin"])
    assert [client.get("/admin", headers=each).status_code for each in ({}, GOOD, admin)] == [401, 403, 200]


@pytest.mark.parametrize("wrong", ["decorator", "method_decorators"])
def test_decorators_of_a_class_under_another_name_are_told_of(wrong: str) -> None:
    auth = FlaskGuard(ISSUER.guard())
    for given in ([auth.required()], auth.optional(), {"get": auth.required()}):
        view = type("Orders", (MethodView,), {"get": lambda _: "in", wrong: given})
        app = flask.Flask("class")
        app.testing = True
        app.add_url_rule("/", view_func=view.as_view("orders"))
        with pytest.raises(RuntimeError, match=rf"Orders\.{wrong} protects nothing; write `decorators = "):
            app.test_client().get("/")
    app = flask.Flask("right")
    right = type("Right", (MethodView,), {"get": lambda _: "in", "decorators": [auth.required()]})
    app.add_url_rule("/right", view_func=right.as_view("right"))
    assert app.test_client().get("/right").status_code == 401


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", EMPTY, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("name", ["roles", "scopes"])
def test_empty_names_are_refused_everywhere_alike(name: str, empty: Any) -> None:
    guard = ISSUER.guard()
    django_site.configure(guard)
    from watchword.guard.django import guarded as guarded_in_django
    from watchword.guard.drf import HasCaller

    auth = FlaskGuard(guard)
    app = flask.Flask("empty")
    for write in (
        guard.require,
        auth.required,
        auth.optional,
        lambda **asked: auth.protect(app, **asked),
        guarded_in_django,
        FastAPIGuard(guard).required,
        LitestarGuard(guard).required,
        lambda **asked: type("Own", (HasCaller,), asked),
    ):
        with pytest.raises(ValueError, match=f"{name} are empty; leave them out"):
            write(**{name: empty})


@pytest.mark.parametrize(
    "empty", [each for each in EMPTY if not isinstance(each, frozenset)], ids=lambda each: type(each).__name__
)
@pytest.mark.parametrize("name", ["roles", "scopes"])
async def test_empty_names_let_nobody_through_a_check(name: str, empty: Any) -> None:
    guard, shown = ISSUER.guard(), GOOD["Authorization"]
    asked = {name: empty}
    token = shown.partition(" ")[2]
    for check in (guard.check, guard.verify):
        with pytest.raises(ValueError, match="are empty; leave them out"):
            check(shown if check == guard.check else token, **asked)
    with pytest.raises(ValueError, match="are empty; leave them out"):
        await guard.check_async(shown, **asked)
    assert guard.check(shown).user_id == "ada"
