"""FastAPI drops what a dependency returns, and what it cannot read: neither lets a stranger in."""

# These annotations are texts on purpose.
from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Security, WebSocket

from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from watchword.errors import TokenError
from watchword.guard import Guard
from watchword.guard.fastapi import FastAPIGuard
from watchword.testing import Issuer

if TYPE_CHECKING:
    from watchword.guard import Caller

ISSUER = Issuer()
GUARD = ISSUER.guard()
NEEDS = GUARD.require(roles="admin")
AUTH = FastAPIGuard(GUARD)
MADE = AUTH.required(roles="admin")
GOOD = [f"Bearer {ISSUER.token('ada', roles=['admin'])}".encode()]


def status(app: FastAPI, authorizations: Any = GOOD, path: str = "/x") -> int:
    return answer_of(asyncio.run(ask_asgi(app, http_scope(path, authorizations)))).status


def helper() -> Any:
    return NEEDS


def by_a_helper() -> Any:
    return helper()


def by_a_variable() -> Any:
    needs = NEEDS
    return needs  # noqa: RET504  that is the slip


def for_some(request: Request) -> Any:
    return NEEDS if request.method == "GET" else None


async def on_the_loop() -> Any:
    return helper()


def generator() -> Any:
    yield helper()


async def generator_on_the_loop() -> Any:
    yield helper()


class Held:
    def __call__(self) -> Any:
        return helper()

    async def method(self) -> Any:
        return helper()


async def checked(request: Request) -> Any:
    return await GUARD.check_async(request.headers.get("authorization"))


def asking_the_guard(header: str) -> Any:
    return GUARD.check(header)


def asking(needs: Any) -> Any:
    def asked(header: str) -> Any:
        return needs.check(header)

    return asked


# What a view that gets it could not ask either.
NEVER: dict[str, Any] = {
    "helper": by_a_helper,
    "variable": by_a_variable,
    "conditional": for_some,
    "tuple": lambda: (NEEDS,),
    "list": lambda: [NEEDS, 1],
    "dict": lambda: {"needs": NEEDS},
    "on the loop": on_the_loop,
    "generator": generator,
    "generator on the loop": generator_on_the_loop,
    "object": Held(),
    "method": Held().method,
    "call forgotten": lambda: NEEDS.check,
    "call forgotten, on a loop": lambda: NEEDS.check_async,
    "partial": lambda: functools.partial(NEEDS.check),
    "partial of the dependency": functools.partial(lambda x: x, NEEDS),
    "scheme": lambda: MADE.dependency,
}
# What a view may ask, and a list of dependencies does not.
DROPPED: dict[str, Any] = {
    "guard by a helper": lambda: [GUARD][0],
    "guard.check": lambda: GUARD.check,
    "guard.recall": lambda: GUARD.recall,
    "function of it": lambda: asking_the_guard,
    "function of a variable": lambda: asking(NEEDS),
    "await forgotten": lambda: checked(Request(http_scope("/x"))),
}


def made(dependency: Any, place: str) -> FastAPI:
    app, router, given = FastAPI(), APIRouter(), Depends(dependency)
    if place == "route":
        app.get("/x", dependencies=[given])(lambda: "in")
    elif place == "nested":
        app.get("/x", dependencies=[Depends(lambda asked=given: None)])(lambda: "in")
    elif place == "router":
        router.get("/x")(lambda: "in")
        app.include_router(router, dependencies=[given])
    elif place == "after a good one":
        app.get("/x", dependencies=[AUTH.optional(), given])(lambda: "in")
    else:
        app.get("/x")(lambda caller=given: "in")
    return app


@pytest.mark.parametrize("place", ["route", "router", "after a good one", "nested", "parameter"])
@pytest.mark.parametrize("name", [*NEVER, *DROPPED])
def test_what_was_to_be_asked_and_is_only_returned(name: str, place: str) -> None:
    """Also by a helper, a variable or in a collection, where only the value tells."""
    if name in DROPPED and place in {"parameter", "nested"}:
        if name != "await forgotten":
            assert status(made(DROPPED[name], place)) == 200  # a view may ask it
        return
    with pytest.raises(TypeError, match="no dependency for FastAPI"):
        status(made((NEVER | DROPPED)[name], place))


def test_a_websocket_is_not_let_in_either() -> None:
    from starlette.testclient import TestClient

    app = FastAPI()

    @app.websocket("/x", dependencies=[Depends(by_a_helper)])
    async def route(websocket: WebSocket) -> None:
        await websocket.accept()

    with pytest.raises(TypeError, match="which returns it"), TestClient(app).websocket_connect("/x"):
        pass


def test_overrides_caches_and_generators_stay_as_they_are() -> None:
    """Dependencies are looked at by what they return, and run as they are."""
    ran: list[str] = []

    def once() -> str:
        ran.append("once")
        return "real"

    async def opened() -> Any:
        ran.append("open")
        try:
            yield "it"
        except LookupError:
            ran.append("told")
            raise
        finally:
            ran.append("closed")

    app = FastAPI()

    @app.get("/x", dependencies=[Depends(once), Depends(checked)])
    async def route(a: str = Depends(once), b: str = Depends(once), c: str = Depends(opened)) -> str:
        if a == "fails":
            raise LookupError
        return a + b + c

    assert answer_of(asyncio.run(ask_asgi(app, http_scope("/x", GOOD)))).body == b'"realrealit"'
    assert ran == ["once", "open", "closed"]
    app.dependency_overrides[once] = lambda: "fails"
    with contextlib.suppress(LookupError):
        status(app)
    assert ran[-3:] == ["open", "told", "closed"]
    app.dependency_overrides[once] = helper
    with pytest.raises(TypeError, match="which returns it"):
        status(app)
    app.dependency_overrides = {}
    with pytest.raises(TokenError):
        status(app, [])


def test_a_page_of_rows_is_not_looked_through() -> None:
    app = FastAPI()
    app.get("/x", dependencies=[Depends(lambda: [NEEDS] * 9)])(lambda: "in")
    assert status(app) == 200


# Annotations ----------------------------------------------------------------------------------------------------------


def in_a_function() -> list[Any]:  # noqa: C901  one line each
    """Routes as in `create_app()`: FastAPI does not know the names of a function."""
    auth = FastAPIGuard(GUARD)
    needs = auth.required()
    Admin = Annotated[Any, auth.required()]  # noqa: N806

    def required(caller: Annotated[Caller, auth.required(roles="admin")] = None): ...  # type: ignore[assignment]
    def without_default(caller: Annotated[Caller, auth.required(roles="admin")]): ...
    def optional(caller: Annotated[Any, auth.optional()] = None): ...
    def in_a_union(caller: Optional[Annotated[Any, auth.required()]] = None): ...  # noqa: UP045
    def type_only(caller: Caller = None): ...  # type: ignore[assignment]
    def variable(caller: Annotated[Any, needs] = None): ...
    def alias(caller: Admin = None): ...  # type: ignore[valid-type]
    def depends(caller: Annotated[Any, Depends(needs)] = None): ...
    def security(caller: Annotated[Any, Security(auth)] = None): ...
    def nested(caller: list["Caller"] = ()): ...  # type: ignore[assignment]  # noqa: UP037

    return [required, without_default, optional, in_a_union, type_only, variable, alias, depends, security, nested]


@pytest.mark.parametrize("name", [each.__name__ for each in in_a_function()])
def test_an_annotation_that_fastapi_cannot_read_raises_where_it_stands(name: str) -> None:
    """It was a parameter of the query, so that a route with a default was open to all."""
    auth, needs, Admin = AUTH, MADE, Annotated[Any, MADE]  # noqa: F841, N806  as where the route is written
    route = {each.__name__: each for each in in_a_function()}[name]
    for register in (
        lambda: FastAPI().get("/x")(route),
        lambda: FastAPI().post("/x")(route),
        lambda: FastAPI().websocket("/x")(route),
        lambda: FastAPI().get("/x", dependencies=[Depends(route)])(lambda: "in"),
    ):
        with pytest.raises(TypeError, match="cannot read the annotation"):
            register()


def test_what_fastapi_reads_or_has_by_default_stays() -> None:
    class Unknown: ...

    def readable(caller: Annotated[Any, AUTH.required()]) -> str:
        return "in"

    def by_default(caller: Caller = AUTH.required()) -> str:  # noqa: B008  FastAPI's way
        return "in"

    def beside(caller: Annotated["Caller", AUTH.required()]) -> str:  # noqa: UP037
        return "in"

    by_name: Any = Depends(lambda: GUARD)

    def words(kind: Literal["required()", "Caller"] = "Caller", guard: Guard = by_name) -> str:
        return "in"

    for route in (readable, by_default, beside, words):
        app = FastAPI()
        app.get("/x")(route)
        assert status(app) == 200
        assert status(app, []) == (200 if route is words else 401)

    def of_another(thing: Unknown = None): ...  # type: ignore[assignment]

    FastAPI().get("/x")(of_another)  # no business of ours


def test_no_request_fills_the_token_of_an_embedded_service() -> None:
    """`Depends(auth.verify)` took it from `?token=`, where it ends in logs, and without what the route needs."""
    from watchword import Watchword

    service = object.__new__(Watchword)  # as far as FastAPI looks
    given = Depends(service.verify)
    for register in (
        lambda: FastAPI().get("/x", dependencies=[given])(lambda: "in"),
        lambda: FastAPI().get("/x")(lambda claims=given: "in"),
    ):
        with pytest.raises(TypeError, match="verify is no dependency for FastAPI"):
            register()
