"""What dependencies hand on: a caller with something more passes, a guard goes to who asks it; and classes."""

# No `from __future__ import annotations` here: FastAPI evaluates annotations, and these name local variables.

import functools
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, NamedTuple, Protocol, TypeVar

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import BaseModel

from watchword.errors import TokenError
from watchword.guard import Caller, Guard
from watchword.guard.fastapi import FastAPIGuard
from watchword.guard.requirement import Requirement
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()
AUTH = FastAPIGuard(GUARD)
NEEDS = GUARD.require(roles="admin")
Ours = Annotated[Caller, AUTH.required()]
GOOD = ISSUER.headers("ada")
ADMIN = ISSUER.headers("ada", roles=["admin"])


def statuses(app: FastAPI, path: str = "/x") -> list[int]:
    client = TestClient(app)
    return [client.get(path, headers=each).status_code for each in ({}, GOOD)]


# A caller with something more ----------------------------------------------------------------------------------------


class Context(NamedTuple):
    caller: Any
    tenant: str


def with_more(caller: Ours) -> Any:
    return caller, "t1"


def by_name(caller: Ours) -> Any:
    return {"caller": caller}


def named(caller: Ours) -> Any:
    return Context(caller, "t1")


def yielded(caller: Ours) -> Any:
    yield caller, {}


def closed_over(caller: Ours) -> Any:
    return lambda: caller


def bound(caller: Ours) -> Any:
    return functools.partial(print, caller)


def names_auth(caller: Ours) -> Any:
    return with_auth


def with_auth() -> Any:
    return AUTH


@pytest.mark.parametrize("dependency", [with_more, by_name, named, yielded, closed_over, bound, names_auth])
def test_a_caller_with_something_more_shows_that_a_check_has_run(dependency: Any) -> None:
    app, router = FastAPI(), APIRouter(dependencies=[Depends(dependency)])
    router.get("/router")(lambda: "in")
    app.include_router(router)
    app.get("/x", dependencies=[Depends(dependency)])(lambda: "in")
    assert statuses(app) == statuses(app, "/router") == [401, 200]
    app.dependency_overrides[dependency] = lambda: {"caller": ISSUER.caller("eve")}
    assert statuses(app) == statuses(app, "/router") == [200, 200]


def test_a_question_that_is_not_called_is_none() -> None:
    def role(caller: Ours) -> Any:
        return caller.has_role

    def method(caller: Ours) -> Any:
        return caller.to_dict

    for slip in (role, method):
        app = FastAPI()
        app.get("/x", dependencies=[Depends(slip)])(lambda: "in")
        with pytest.raises(TypeError, match="which returns it"):
            TestClient(app).get("/x", headers=GOOD)


def test_a_function_that_names_a_guard_is_refused_where_nobody_asked() -> None:
    app = FastAPI()
    app.get("/x", dependencies=[Depends(lambda: with_auth)])(lambda: "in")
    app.get("/optional", dependencies=[Depends(lambda: with_auth), AUTH.optional()])(lambda: "in")
    for path in ("/x", "/optional"):
        with pytest.raises(TypeError, match="which returns it"):
            TestClient(app).get(path)


def role(name: str = "admin") -> Any:
    def check_role(caller: Ours) -> None:
        assert caller.has_role(name)

    return check_role


def test_what_makes_a_dependency_and_is_not_called_makes_none() -> None:
    """`Depends(role)` in place of `Depends(role("admin"))`."""

    def route(caller: Annotated[Caller, Depends(role)]) -> str:
        return caller.user_id

    app = FastAPI()
    app.get("/x", dependencies=[Depends(role)])(lambda: "in")
    app.get("/signed", dependencies=[AUTH.required(), Depends(role)])(lambda: "in")
    app.get("/parameter")(route)
    app.get("/right", dependencies=[Depends(role("admin"))])(lambda: "in")
    for path in ("/x", "/signed", "/parameter"):
        with pytest.raises(TypeError, match="which returns it"):
            TestClient(app).get(path, headers=GOOD)
    assert TestClient(app).get("/right", headers=ADMIN).status_code == 200


# A guard to who asks it ----------------------------------------------------------------------------------------------


class Asks(Protocol):
    async def check_async(self, authorization: str | None) -> Caller: ...


def get_auth() -> FastAPIGuard:
    return AUTH


def of_the_state(request: Request) -> Any:
    return request.app.state.auth


def get_needs() -> Any:
    return NEEDS


def get_check() -> Any:
    return NEEDS.check


def in_a_collection() -> Any:
    return {"auth": AUTH, "needs": NEEDS}


async def by_auth(request: Request, auth: Annotated[FastAPIGuard, Depends(get_auth)]) -> str:
    return (await auth.guard.check_async(request.headers.get("authorization"), roles="admin")).user_id


async def by_state(request: Request, auth: Annotated[Any, Depends(of_the_state)]) -> str:
    return (await auth.guard.check_async(request.headers.get("authorization"), roles="admin")).user_id


async def by_needs(request: Request, needs: Annotated[Requirement, Depends(get_needs)]) -> str:
    return (await needs.check_async(request.headers.get("authorization"))).user_id


async def by_protocol(request: Request, needs: Annotated[Asks, Depends(get_needs)]) -> str:
    return (await needs.check_async(request.headers.get("authorization"))).user_id


def by_check(request: Request, check=Depends(get_check)) -> str:  # type: ignore[no-untyped-def]  # noqa: B008
    def inner() -> Any:
        return check(request.headers.get("authorization"))

    return inner().user_id  # type: ignore[no-any-return]


async def by_collection(request: Request, held: Annotated[dict[str, Any], Depends(in_a_collection)]) -> str:
    return (await held["needs"].check_async(request.headers.get("authorization"))).user_id


@pytest.mark.parametrize("route", [by_auth, by_state, by_needs, by_protocol, by_check, by_collection])
def test_a_parameter_takes_what_is_asked_there(route: Any) -> None:
    app = FastAPI()
    app.state.auth = AUTH
    app.get("/route")(route)
    app.get("/dependency", dependencies=[Depends(route)])(lambda: "in")
    client = TestClient(app)
    for path in ("/route", "/dependency"):
        assert client.get(path, headers=ADMIN).status_code == 200
        for headers in ({}, GOOD):
            with pytest.raises(TokenError):
                client.get(path, headers=headers)


def test_what_stands_in_for_a_dependency_may_have_parameters() -> None:
    app = FastAPI()
    app.get("/x", dependencies=[Depends(with_more)])(lambda: "in")
    app.dependency_overrides[with_more] = by_needs
    assert TestClient(app).get("/x", headers=ADMIN).status_code == 200


def ask(route: Any) -> None:
    app = FastAPI()
    app.state.auth = AUTH
    app.get("/x")(route)
    TestClient(app).get("/x", headers=GOOD)


@pytest.mark.parametrize(
    "dependency", [get_auth, of_the_state, get_needs, get_check, lambda: GUARD, lambda: [GUARD][0]]
)
@pytest.mark.parametrize("annotation", [Caller, Caller | None, str, None])
def test_a_parameter_for_something_else_takes_none(annotation: Any, dependency: Any) -> None:
    def route(caller: Annotated[annotation, Depends(dependency)]) -> str:
        return str(caller)

    with pytest.raises(TypeError, match="which returns it"):
        ask(route)


@pytest.mark.parametrize("dependency", [get_auth, of_the_state, get_needs, get_check, in_a_collection])
def test_a_parameter_that_nobody_reads_takes_none(dependency: Any) -> None:
    def route(_: Annotated[Any, Depends(dependency)]) -> str:
        return "_"

    with pytest.raises(TypeError, match="which returns it"):
        ask(route)


@pytest.mark.parametrize("made", [lambda: AUTH.required, lambda: [Ours.__metadata__[0]], lambda: AUTH.optional])  # type: ignore[attr-defined]
def test_no_view_can_ask_what_only_fastapi_asks(made: Any) -> None:
    def route(auth: Annotated[Any, Depends(made)]) -> str:
        return str(auth)

    with pytest.raises(TypeError, match="which returns it"):
        ask(route)


# How far a value is looked through -----------------------------------------------------------------------------------


def test_what_a_client_sends_is_looked_through_two_levels_deep() -> None:
    async def body(request: Request) -> Any:
        return await request.json()

    def cyclic() -> Any:
        itself: dict[str, Any] = {}
        itself["self"] = itself
        return itself

    app = FastAPI()
    app.post("/x", dependencies=[AUTH.required(), Depends(body), Depends(cyclic)])(lambda: "in")
    for depth in (1, 400, 900):
        assert TestClient(app).post("/x", content="[" * depth + "]" * depth, headers=GOOD).status_code == 200


def test_two_levels_are_looked_through() -> None:
    for value, status in (([[NEEDS]], 500), ({"a": (NEEDS,)}, 500), ([[[NEEDS]]], 200)):
        app = FastAPI()
        app.get("/x", dependencies=[Depends(returning(value))])(lambda: "in")
        assert TestClient(app, raise_server_exceptions=False).get("/x").status_code == status


def returning(value: Any) -> Any:
    def dependency() -> Any:
        return [value][0]

    return dependency


# Classes -------------------------------------------------------------------------------------------------------------


Kind = TypeVar("Kind")


class Bare:
    caller: Ours
    page: int = 1


class Inherits(Bare):
    size: int = 1


@dataclass
class LeavesOut(Bare):
    size: int = 1


@dataclass
class NotGiven:
    caller: Ours = field(init=False)


class ByDefault:
    caller: Caller = AUTH.required()


class ByText:
    caller: "Annotated[Caller, AUTH.required()]"


class ByAnother:
    tenant: Annotated[Any, Depends(with_more)]


class Nested:
    inner: Annotated[Bare, Depends()]


class InAUnion:
    caller: Annotated[Caller, AUTH.required()] | None = None


class OfAKind(Generic[Kind]):
    caller: Ours


class OtherParameters:
    caller: Ours

    def __init__(self, page: int = 1) -> None: ...


@pytest.mark.parametrize(
    "given", [Bare, Inherits, LeavesOut, NotGiven, ByDefault, ByText, ByAnother, Nested, InAUnion, OtherParameters]
)
def test_a_class_whose_field_fastapi_does_not_see_raises_where_the_route_is_written(given: Any) -> None:
    """It reads `__init__`, so the route was open to all."""

    def route(it: Annotated[given, Depends()]) -> str:
        return "in"

    for register in (
        lambda: FastAPI().get("/x")(route),
        lambda: FastAPI().websocket("/x")(route),
        lambda: FastAPI().get("/x", dependencies=[Depends(given)])(lambda: "in"),
    ):
        with pytest.raises(TypeError, match=r"add @dataclass above the class \w+, or write its `__init__` with '\w+'"):
            register()


@pytest.mark.parametrize("given", [functools.partial(Bare), functools.partial(OtherParameters, 2), OfAKind[int]])
def test_what_makes_such_a_class_raises_too(given: Any) -> None:
    with pytest.raises(TypeError, match="add @dataclass"):
        FastAPI().get("/x", dependencies=[Depends(given)])(lambda: "in")


def test_a_class_of_a_function_with_texts_raises_too() -> None:
    auth = AUTH

    class Local:
        caller: "Annotated[Caller, auth.required()]"

    assert auth is AUTH
    with pytest.raises(TypeError, match="add @dataclass"):
        FastAPI().get("/x", dependencies=[Depends(Local)])(lambda: "in")


@dataclass
class Fields(Bare):
    caller: Ours
    page: int = 1


class InheritsInit(Fields): ...


class Written:
    caller: Ours

    def __init__(self, who: Ours) -> None:
        self.caller = who


class AsksForMore:
    caller: Ours

    def __init__(self, caller: Annotated[Caller, AUTH.required(max_age=60)]) -> None:
        self.caller = caller


class ByTheContext:
    caller: Caller
    again: Ours

    def __init__(self, it: Annotated[Fields, Depends()]) -> None:
        self.caller = self.again = it.caller


class Tuple(NamedTuple):
    caller: Ours


@pytest.mark.parametrize("given", [Fields, InheritsInit, Written, AsksForMore, ByTheContext, Tuple])
def test_a_class_whose_fields_are_parameters_guards(given: Any) -> None:
    app = FastAPI()

    @app.get("/x")
    def route(it: Annotated[given, Depends()]) -> str:
        return str(it.caller.user_id)

    assert statuses(app) == [401, 200]


def test_a_class_without_a_guard_is_no_business_of_ours() -> None:
    class Page(BaseModel):
        size: int = 1

    class Plain:
        page: Annotated[Page, Depends()]
        guard: Guard
        unknown: "Unknown"  # type: ignore[name-defined]  # noqa: F821

    app = FastAPI()
    app.get("/x", dependencies=[Depends(Plain), Depends(Page)])(lambda: "in")
    assert statuses(app) == [200, 200]
