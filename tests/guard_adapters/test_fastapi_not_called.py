"""What makes a dependency was not called, or `Depends` was forgotten: FastAPI would ask nothing, so it is refused."""

# No `from __future__ import annotations` here: FastAPI evaluates annotations, and these name local variables.

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Query, Request
from fastapi.testclient import TestClient
from pydantic import AfterValidator

from watchword.errors import TokenError
from watchword.guard import Caller
from watchword.guard.fastapi import FastAPIGuard
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()
AUTH = FastAPIGuard(GUARD)
MADE = AUTH.required()
Ours = Annotated[Caller, MADE]
GOOD = ISSUER.headers("ada")


def shown(request: Request) -> str | None:
    return request.headers.get("authorization")


class Check:
    """`Depends(Check)` in place of `Depends(Check("admin"))`."""

    def __init__(self, role: str = "admin") -> None:
        self.role = role

    def __call__(self, caller: Ours) -> Caller:
        return caller

    def method(self, caller: Ours) -> Caller:
        return caller


class ByGlobal:
    def __call__(self, request: Request) -> Caller:
        return GUARD.check(shown(request))


class Context:
    def __init__(self, caller: Ours) -> None:
        self.caller = caller


def role(name: str, caller: Ours) -> Caller:
    return caller


def by_global(request: Request) -> str:
    return GUARD.check(shown(request)).user_id


def not_begun(request: Request) -> Iterator[Caller]:
    yield GUARD.check(shown(request))


async def not_begun_on_a_loop(request: Request) -> Any:
    yield await GUARD.check_async(shown(request))


NOT_CALLED: dict[str, Callable[..., Any]] = {
    "class": Check,
    "class with a global": ByGlobal,
    "object": lambda: Check("admin"),
    "method": lambda: Check().method,
    "context": lambda: Context,
    "partial": lambda: functools.partial(role, "admin"),
    "Depends": lambda: Depends(Check("admin")),
    "Depends of ours": lambda: Depends(MADE),
}


def not_asked(request: Request) -> Any:
    return not_begun(request)


def not_asked_on_a_loop(request: Request) -> Any:
    return not_begun_on_a_loop(request)


def generator_expression(request: Request) -> Any:
    return (GUARD.check(each) for each in [shown(request)])


def not_entered(request: Request) -> Any:
    return contextlib.contextmanager(not_begun)(request)


def not_entered_on_a_loop(request: Request) -> Any:
    return contextlib.asynccontextmanager(not_begun_on_a_loop)(request)


NOT_BEGUN: dict[str, Callable[..., Any]] = {
    "generator": not_asked,
    "generator on a loop": not_asked_on_a_loop,
    "expression": generator_expression,
    "context manager": not_entered,
    "context manager on a loop": not_entered_on_a_loop,
}


def ask(app: FastAPI, **given: Any) -> Any:
    return TestClient(app).get("/x", **given)


@pytest.mark.parametrize("name", [*NOT_CALLED, *NOT_BEGUN])
def test_what_is_neither_called_nor_begun_lets_nobody_in(name: str) -> None:
    dependency = Depends((NOT_CALLED | NOT_BEGUN)[name])

    def route(caller: Annotated[Caller, dependency]) -> str:
        return "in"

    for signed in ([], [MADE]):
        if signed and name == "class with a global":
            continue  # the route asks already
        app, taken = FastAPI(), FastAPI()
        app.get("/x", dependencies=[*signed, dependency])(lambda: "in")
        taken.get("/x", dependencies=signed)(route)
        for each in (app, taken):
            with pytest.raises(TypeError, match="which returns it"):
                ask(each, headers=GOOD)


def test_what_a_view_begins_or_calls_is_its_own() -> None:
    def rows(caller: Ours) -> Any:
        return (each for each in [caller.user_id])

    def session(caller: Ours) -> Any:
        return contextlib.nullcontext(caller), contextlib.contextmanager(lambda: iter([caller]))()

    app = FastAPI()

    @app.get("/x")
    def route(
        caller: Ours,
        found: Annotated[Iterator[str], Depends(rows)],
        opened: Annotated[Any, Depends(session)],
        check: Annotated[Check, Depends(lambda: Check())],  # noqa: PLW0108  a class is a slip
    ) -> str:
        with opened[1] as inner:
            return next(found) + check(inner).user_id

    assert ask(app).status_code == 401
    assert ask(app, headers=GOOD).json() == "adaada"


@pytest.mark.parametrize(
    "forgotten",
    [by_global, functools.partial(role, "admin"), Check(), Check().method, Context, ByGlobal(), GUARD.check, GUARD],
)
def test_what_stands_without_Depends_raises_where_the_route_is_written(forgotten: Any) -> None:
    """The caller was what the query string said."""

    def beside(user: Annotated[Any, forgotten] = None) -> str:
        return "in"

    def required(user: Annotated[str, forgotten]) -> str:
        return user

    def by_default(user=forgotten) -> str:  # type: ignore[no-untyped-def]
        return "in"

    for route in (beside, required, by_default):
        for register in (
            lambda route=route: FastAPI().get("/x")(route),
            lambda route=route: FastAPI().get("/x", dependencies=[Depends(route)])(lambda: "in"),
        ):
            with pytest.raises(TypeError, match="guard: "):
                register()


def test_what_stands_beside_for_others_stays() -> None:
    class Marker:
        def __call__(self, page: int = 1) -> int:
            return page

    app = FastAPI()

    @app.get("/x")
    def route(
        caller: Ours,
        name: Annotated[str, AfterValidator(str.strip), Query(), Marker, Marker(), lambda it: it, "text"] = "x",
    ) -> str:
        return caller.user_id + name

    assert ask(app, headers=GOOD).json() == "adax"
    assert ask(app).status_code == 401


def test_a_class_may_keep_what_it_asks() -> None:
    class Service:
        auth: FastAPIGuard = AUTH

        def __init__(self, request: Request) -> None:
            self.caller = self.auth.guard.check(shown(request))

    app = FastAPI()

    @app.get("/x")
    def route(it: Annotated[Service, Depends()]) -> str:
        return it.caller.user_id

    assert ask(app, headers=GOOD).json() == "ada"
    with pytest.raises(TokenError):
        ask(app)
