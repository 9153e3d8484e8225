"""Slips in a FastAPI application raise where they are written, with the line to write; none lets a stranger in."""

# No `from __future__ import annotations` here: FastAPI evaluates annotations, and these name local variables.

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Query, Request, Security, WebSocket

from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from watchword.guard import Caller, Guard
from watchword.guard.asgi import GuardMiddleware
from watchword.guard.fastapi import FastAPIGuard
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()
AUTH = FastAPIGuard(GUARD)
PASTE = FastAPIGuard(GUARD, paste=True)
NEEDS = GUARD.require()
GOOD = f"Bearer {ISSUER.token('ada')}".encode()

# What a hurried person may put where a dependency belongs.
WRONG: dict[str, Any] = {
    "auth": AUTH,
    "auth.required": AUTH.required,
    "auth.optional": AUTH.optional,
    "paste.required": PASTE.required,
    "guard": GUARD,
    "guard.check": GUARD.check,
    "guard.check_async": GUARD.check_async,
    "guard.verify": GUARD.verify,
    "guard.verify_async": GUARD.verify_async,
    "guard.recall": GUARD.recall,
    "guard.require": GUARD.require,
    "guard.require()": NEEDS,
    "needs.check": NEEDS.check,
    "needs.check_async": NEEDS.check_async,
    "needs.check_optional": NEEDS.check_optional,
    "needs.check_optional_async": NEEDS.check_optional_async,
    "needs.recall": NEEDS.recall,
    "auth.lifespan": AUTH.lifespan,
    "FastAPIGuard": FastAPIGuard,
    "Guard": Guard,
    "Caller": Caller,
    "Caller.of": Caller.of,
    "GuardMiddleware": GuardMiddleware,
}
MADE = {"auth.required()": AUTH.required(), "auth.optional()": AUTH.optional(), "paste": PASTE.required()}
OURS = [name for name in WRONG if name.startswith(("auth", "paste"))]


def parameter(annotation: Any = Any, **default: Any) -> Callable[..., Any]:
    """A route with one parameter."""
    if default:

        def route(caller: annotation = default["value"]) -> str:
            return "in"
    else:

        def route(caller: annotation) -> str:  # type: ignore[misc]
            return "in"

    return route


def bare(value: Any) -> Callable[..., Any]:
    def route(caller=value):  # type: ignore[no-untyped-def]
        return "in"

    return route


def plain() -> str:
    return "in"


def on_route(app: Any, *given: Any) -> None:
    app.get("/x", dependencies=list(given))(plain)


def on_router(app: Any, *given: Any) -> None:
    router = APIRouter(dependencies=list(given))
    router.get("/x")(plain)
    app.include_router(router)


def on_include(app: Any, *given: Any) -> None:
    router = APIRouter()
    router.get("/x")(plain)
    app.include_router(router, dependencies=list(given))


def on_app(_: Any, *given: Any) -> None:
    FastAPI(dependencies=list(given)).get("/x")(plain)


def on_websocket(app: Any, *given: Any) -> None:
    async def socket(websocket: WebSocket) -> None: ...

    app.websocket("/x", dependencies=list(given))(socket)


def on_websocket_router(app: Any, *given: Any) -> None:
    async def socket(websocket: WebSocket) -> None: ...

    router = APIRouter(dependencies=list(given))
    router.add_api_websocket_route("/x", socket)
    app.include_router(router)


PLACES = [on_route, on_router, on_include, on_app, on_websocket, on_websocket_router]


@pytest.mark.parametrize("wrapped", [Depends, Security, lambda each: each], ids=["Depends", "Security", "bare"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WRONG)
def test_in_a_list_of_dependencies(place: Any, wrapped: Any, name: str) -> None:
    with pytest.raises(Exception) as raised:
        place(FastAPI(), wrapped(WRONG[name]))
    if name in OURS and name != "auth.lifespan":
        assert "dependencies=[auth.required()]" in str(raised.value)


@pytest.mark.parametrize("wrapped", [Depends, Security])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", MADE)
def test_wrapped_once_too_often(place: Any, wrapped: Any, name: str) -> None:
    with pytest.raises(TypeError, match=r"no dependency; write `caller: Annotated\[Caller"):
        place(FastAPI(), wrapped(MADE[name]))
    with pytest.raises((TypeError, AssertionError)):  # FastAPI's own for the second
        place(FastAPI(), wrapped(wrapped(AUTH.required)))


def forms(thing: Any) -> dict[str, Callable[..., Any]]:
    """Every way in which a route's parameter could ask for it."""
    return {
        "Annotated[Caller, Depends(x)]": parameter(Annotated[Caller, Depends(thing)]),
        "Annotated[Caller, Security(x)]": parameter(Annotated[Caller, Security(thing)]),
        "Annotated[Any, Depends(x)]": parameter(Annotated[Any, Depends(thing)]),
        "caller: Caller = Depends(x)": parameter(Caller, value=Depends(thing)),
        "caller = Depends(x)": bare(Depends(thing)),
        "caller = Security(x)": bare(Security(thing)),
        "Annotated[Caller, x]": parameter(Annotated[Caller, thing]),
        "caller: Caller = x": parameter(Caller, value=thing),
        "Annotated[Caller | None, x] = None": parameter(Annotated[Caller | None, thing], value=None),
        "Annotated[Caller, x] | None = None": parameter(Annotated[Caller, thing] | None, value=None),
        "Annotated[Caller, Depends(x)] | None = None": parameter(Annotated[Caller, Depends(thing)] | None, value=None),
    }


FORMS = list(forms(None))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", WRONG)
def test_as_a_parameter(name: str, form: str) -> None:
    with pytest.raises(Exception) as raised:
        FastAPI().get("/x")(forms(WRONG[name])[form])
    if name in OURS and name != "auth.lifespan":
        assert "Annotated[Caller" in str(raised.value)
        assert "auth." in str(raised.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", WRONG)
def test_as_a_parameter_of_a_websocket_or_of_a_dependency(name: str, form: str) -> None:
    route = forms(WRONG[name])[form]
    with pytest.raises(Exception):  # noqa: B017  as above
        FastAPI().websocket("/x")(route)
    with pytest.raises(Exception):  # noqa: B017  as above
        FastAPI().get("/x", dependencies=[Depends(route)])(plain)


@pytest.mark.parametrize("name", [name for name in OURS if name != "auth.lifespan"])
def test_without_any_annotation(name: str) -> None:
    with pytest.raises(TypeError, match=r"no dependency; write `caller: Annotated\[Caller"):
        FastAPI().get("/x")(bare(WRONG[name]))


@pytest.mark.parametrize("name", MADE)
def test_the_right_line_wrapped_as_a_parameter(name: str) -> None:
    for form in ("Annotated[Caller, Depends(x)]", "caller = Depends(x)", "caller = Security(x)"):
        with pytest.raises(TypeError, match=r"no dependency; write `caller: Annotated\[Caller"):
            FastAPI().get("/x")(forms(MADE[name])[form])
    with pytest.raises(TypeError, match="no dependency"):  # FastAPI does not look into a union
        FastAPI().get("/x")(parameter(Annotated[Caller, MADE[name]] | None, value=None))


@pytest.mark.parametrize(
    "route",
    [
        parameter(Caller),
        parameter(Caller, value=None),
        parameter(Caller | None, value=None),
        parameter(list[Caller], value=()),
        parameter(Annotated[Caller | None, Query()], value=None),
        parameter(Annotated[Caller | None, Body()], value=None),
    ],
)
def test_a_caller_never_comes_out_of_a_request(route: Any) -> None:
    with pytest.raises(TypeError, match=r"only a guard yields one: write `caller: Annotated\[Caller, auth.required"):
        FastAPI().get("/x")(route)


@pytest.mark.parametrize("name", ["required", "optional"])
def test_as_a_decorator(name: str) -> None:
    for decorate in (getattr(AUTH, name), getattr(AUTH, name)(), AUTH):
        with pytest.raises(TypeError, match=r"write `caller: Annotated\[Caller"):
            decorate(plain)


@pytest.mark.parametrize("name", ["required", "optional"])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        *((("admin",), {}), ((["admin"],), {}), ((), {"role": "admin"}), ((), {"scope": "x"}), ((), {"admin": True})),
        *(((), {key: value}) for key in ("roles", "scopes") for value in (None, [], "", " ", (), set(), {}, [""])),
        *(((), {key: value}) for key in ("roles", "scopes") for value in ([None], 5, True, b"admin", [b"a"], [["a"]])),
        *(((), {key: frozenset()}) for key in ("roles", "scopes")),
        *(((), {"max_age": value}) for value in (True, False, -1, "60", 60.0, [60])),
    ],
)
def test_wrong_values(name: str, given: Any, named: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        getattr(AUTH, name)(*given, **named)
    with pytest.raises((TypeError, ValueError)):
        getattr(AUTH, name)(**{**named, "roles": iter(())})


def test_roles_without_their_name() -> None:
    with pytest.raises(TypeError, match=r'roles or scopes\? Write auth.required\(roles="…"\)'):
        AUTH.required("admin")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [AUTH, NEEDS, Guard, "https://auth.example", None])
def test_what_is_no_guard(given: Any) -> None:
    with pytest.raises(TypeError, match="FastAPIGuard takes a Guard"):
        FastAPIGuard(given)


REQUIRED = AUTH.required(roles="admin")


def returning() -> dict[str, Any]:
    """Dependencies that only return what was made elsewhere."""
    outer = GUARD.require()
    module = ModuleType("deps")
    vars(module).update(needs=NEEDS)
    globals()["DEPS"] = module

    async def on_the_loop() -> Any:
        return NEEDS

    def generator() -> Any:
        yield REQUIRED

    async def generator_on_the_loop() -> Any:
        yield NEEDS

    def for_some(x: str = "") -> Any:
        if x:
            return None
        return AUTH

    class Held:
        def __call__(self) -> Any:
            return outer

        def method(self) -> Any:
            return REQUIRED

    return {
        "a requirement": lambda: NEEDS,
        "a dependency": lambda: REQUIRED,
        "of an outer function": lambda: outer,
        "of a module": lambda: DEPS.needs,  # type: ignore[name-defined]  # noqa: F821
        "on the loop": on_the_loop,
        "generator": generator,
        "generator on the loop": generator_on_the_loop,
        "for some": for_some,
        "object": Held(),
        "method": Held().method,
    }


@pytest.mark.parametrize("name", returning())
def test_a_dependency_that_returns_what_was_to_be_asked(name: str) -> None:
    """FastAPI drops it, or hands it to the route, and all callers are let in: it raises where the route is written.

    Where a router is included FastAPI reads dependencies late, and it raises at the request.
    """
    given = Depends(returning()[name])
    late = FastAPI()
    on_include(late, given)
    with pytest.raises(TypeError, match="which returns it"):
        asyncio.run(ask_asgi(late, http_scope("/x", [GOOD])))
    for place in PLACES:
        if place is not on_include:
            with pytest.raises(TypeError, match=r"no dependency for FastAPI; .*, which returns it"):
                place(FastAPI(), given)
    for route in (parameter(Annotated[Caller, given]), bare(given)):
        with pytest.raises(TypeError, match=r"no dependency for FastAPI; .*, which returns it"):
            FastAPI().get("/x")(route)


def test_a_dependency_that_returns_a_guard() -> None:
    """A route may ask it. In a list of dependencies no one does."""

    def its_guard() -> Guard:
        return GUARD

    app = FastAPI()

    @app.get("/x")
    def route(request: Request, guard: Annotated[Guard, Depends(its_guard)]) -> str:
        return guard.check(request.headers.get("authorization")).user_id

    assert answer_of(asyncio.run(ask_asgi(app, http_scope("/x", [GOOD])))).body == b'"ada"'
    with pytest.raises(TypeError, match="which returns it"):
        on_route(app, Depends(its_guard))


def right(app: FastAPI) -> None:
    """All that is to be written, in all places."""
    required, optional = Annotated[Caller, AUTH.required()], Annotated[Caller | None, AUTH.optional()]

    @app.get("/parameter")
    def one(caller: required) -> str:  # type: ignore[valid-type]
        return caller.user_id  # type: ignore[attr-defined]

    @app.get("/default")
    async def two(caller: Caller = AUTH.required()) -> str:  # noqa: B008  FastAPI's way
        return caller.user_id

    @app.get("/both")
    async def three(caller: required, perhaps: optional) -> str:  # type: ignore[valid-type]
        assert caller == perhaps
        return caller.user_id  # type: ignore[attr-defined]

    @app.get("/list", dependencies=[AUTH.required()])
    async def four() -> str:
        return "ada"

    @app.get("/scheme")
    async def five(caller: Annotated[Caller, Depends(AUTH.required(max_age=9).dependency)]) -> str:
        return caller.user_id

    app.include_router(APIRouter(routes=[]), dependencies=[AUTH.required()])


@pytest.mark.parametrize("path", ["/parameter", "/default", "/both", "/list", "/scheme"])
def test_what_is_written_rightly_guards(path: str) -> None:
    app = FastAPI()
    right(app)
    for query in (b"", b"scopes=x&roles=y&max_age=1&authorization=z&caller=ada&connection=1&asked=1"):
        refused = answer_of(asyncio.run(ask_asgi(app, http_scope(path, query_string=query))))
        assert (refused.status, refused.code) == (401, "token_missing")
    assert answer_of(asyncio.run(ask_asgi(app, http_scope(path, [GOOD])))).body == b'"ada"'
