"""What FastAPI loses of two that are written as one: it raises where it is written, or refuses the request."""

# No `from __future__ import annotations` here: FastAPI evaluates annotations, and these name local variables.

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.testclient import TestClient
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from typing_extensions import TypeAliasType

from watchword.errors import TokenError, WatchwordError
from watchword.guard import Caller
from watchword.guard.fastapi import FastAPIGuard
from watchword.guard.starlette import GuardMiddleware, guarded
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()
AUTH = FastAPIGuard(GUARD)
GOOD = ISSUER.headers("ada")

Admin = Annotated[Caller, AUTH.required(roles="admin")]
Named = TypeAliasType("Named", Admin)


def own() -> None:
    return None


def asking(caller: Admin) -> Caller:
    return caller


def ask(app: FastAPI, path: str = "/x", **given: Any) -> int:
    return TestClient(app, raise_server_exceptions=False).get(path, **given).status_code


# In one annotation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[Caller, AUTH.required(roles="admin"), AUTH.required()],
        Annotated[Admin, AUTH.required(scopes="orders:read")],
        Annotated[Admin, AUTH.optional()],
        Annotated[Named, AUTH.required()],
        Annotated[Any, AUTH.required(), Depends(own)],
        Annotated[Any, Depends(asking), Depends(own)],
        Annotated[str | None, Depends(asking), Query()],
        TypeAliasType("Both", Annotated[Admin, AUTH.optional()]),
        TypeAliasType("Function", Annotated[Any, asking]),
    ],
)
def test_two_dependencies_for_one_parameter_raise_where_the_route_is_written(annotation: Any) -> None:
    """FastAPI asks the last one, and drops what the others need."""

    def route(caller: annotation = None) -> str:
        return "in"

    with pytest.raises(TypeError, match=r"FastAPI asks only the last|FastAPI never calls"):
        FastAPI().get("/x")(route)


def test_one_dependency_for_one_parameter_is_asked() -> None:
    app = FastAPI()

    @app.get("/same")
    def same(caller: Annotated[Admin, AUTH.required(roles="admin")]) -> str:
        return "in"

    @app.get("/named")
    def named(caller: Named) -> str:
        return "in"

    @app.get("/last")
    def last(caller: Annotated[Any, Depends(own), AUTH.required(roles="admin")]) -> str:
        return "in"

    for path in ("/same", "/named", "/last"):
        assert ask(app, path) == 401
        assert ask(app, path, headers=GOOD) == 403
        assert ask(app, path, headers=ISSUER.headers("ada", roles=["admin"])) == 200


# In a router ----------------------------------------------------------------------------------------------------------


async def endpoint(_: Any) -> PlainTextResponse:
    return PlainTextResponse("in")


@pytest.mark.parametrize(
    "route",
    [
        Route("/x", endpoint, middleware=[guarded(GUARD)]),
        Route("/x", endpoint, middleware=[Middleware(GZipMiddleware), guarded(GUARD, roles="admin")]),
        Route("/x", endpoint, middleware=[Middleware(GuardMiddleware, guard=GUARD, prefix="/x")]),
        WebSocketRoute("/x", endpoint, middleware=[guarded(GUARD)]),
    ],
)
def test_a_route_whose_middleware_a_router_drops_raises_where_it_is_included(route: Any) -> None:
    router = APIRouter(routes=[route])
    with pytest.raises(TypeError, match="without its middleware"):
        FastAPI().include_router(router)
    with pytest.raises(TypeError, match="without its middleware"):
        FastAPI().include_router(router=router)


def test_routes_whose_middleware_stays_are_guarded() -> None:
    router = APIRouter(routes=[Route("/open", endpoint, middleware=[Middleware(GZipMiddleware)])])
    router.routes.append(Mount("/mount", routes=[Route("/x", endpoint)], middleware=[guarded(GUARD)]))
    app = FastAPI(routes=[Route("/x", endpoint, middleware=[guarded(GUARD)])])
    app.include_router(router)
    assert [ask(app), ask(app, headers=GOOD), ask(app, "/open")] == [401, 200, 200]
    assert ask(app, "/mount/x") in {401, 404}  # an older FastAPI leaves it out


def test_a_dependency_that_a_router_gets_after_its_routes_raises_where_it_is_included() -> None:
    late, early = APIRouter(), APIRouter()
    early.dependencies.append(AUTH.required())
    for router in (late, early):
        router.get("/x")(lambda: "in")
    late.dependencies.append(AUTH.required())
    with pytest.raises(TypeError, match=r"'/x' was made before"):
        FastAPI().include_router(late)
    app = FastAPI()
    app.include_router(early)
    assert [ask(app), ask(app, headers=GOOD)] == [401, 200]


# Returned in place of raised ------------------------------------------------------------------------------------------


def returned(request: Request) -> Any:
    try:
        return GUARD.check(request.headers.get("authorization"))
    except WatchwordError as error:
        return error


def answered(request: Request) -> Any:
    found = returned(request)
    return GUARD.refusal(found) if isinstance(found, WatchwordError) else found


@pytest.mark.parametrize("dependency", [returned, answered])
def test_a_refusal_that_is_returned_lets_nobody_in(dependency: Callable[..., Any]) -> None:
    app = FastAPI()
    app.get("/dropped", dependencies=[Depends(dependency)])(lambda: "in")

    @app.get("/caller")
    def caller(caller: Annotated[Caller, Depends(dependency)]) -> str:
        return "in"

    @app.get("/unread")
    def unread(caller: Annotated[Any, Depends(dependency)]) -> str:
        return "in"

    for path in ("/dropped", "/caller", "/unread"):
        with pytest.raises(TypeError, match="which lets them in: raise it"):
            TestClient(app).get(path)
        assert ask(app, path, headers=GOOD) == 200


def test_a_route_may_look_at_what_a_check_has_raised() -> None:
    app = FastAPI()

    @app.get("/x")
    def route(found: Annotated[Caller | TokenError, Depends(returned)]) -> str:
        return found.code if isinstance(found, TokenError) else found.user_id

    assert [TestClient(app).get("/x", headers=headers).json() for headers in ({}, GOOD)] == ["token_missing", "ada"]
