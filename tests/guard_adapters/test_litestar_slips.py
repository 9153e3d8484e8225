"""Slips in a Litestar application stop it from being made, with what to write; none lets a stranger in."""

# No `from __future__ import annotations` here: Litestar evaluates annotations.

import warnings
from typing import Any

import pytest
from litestar import Controller, Litestar, Router, WebSocket, asgi, get, websocket
from litestar.di import NamedDependency, Provide
from litestar.testing import TestClient

from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from watchword.guard import Caller, Guard, Requirement
from watchword.guard.asgi import GuardMiddleware
from watchword.guard.litestar import LitestarGuard, Optional, Required
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()
AUTH = LitestarGuard(GUARD)
NEEDS = GUARD.require()

WRONG: dict[str, Any] = {
    "auth": AUTH,
    "auth.required": AUTH.required,
    "auth.optional": AUTH.optional,
    "guard": GUARD,
    "guard.check": GUARD.check,
    "guard.check_async": GUARD.check_async,
    "guard.recall": GUARD.recall,
    "guard.verify": GUARD.verify,
    "guard.require": GUARD.require,
    "guard.require()": NEEDS,
    "needs.check": NEEDS.check,
    "needs.check_async": NEEDS.check_async,
    "Guard": Guard,
    "Requirement": Requirement,
    "GuardMiddleware": GuardMiddleware,
    "LitestarGuard": LitestarGuard,
    "Required": Required,
    "Optional": Optional,
    "guard.start": GUARD.start,
}


def handler(**given: Any) -> Any:
    @get("/x", sync_to_thread=False, **given)
    def answer() -> str:
        return "in"

    return answer


def by_handler(given: Any) -> Litestar:
    return Litestar([handler(guards=[given])], plugins=[AUTH])


def by_controller(given: Any) -> Litestar:
    class Mine(Controller):
        guards = [given]  # noqa: RUF012  Litestar's way

        @get("/x", sync_to_thread=False)
        def answer(self) -> str:
            return "in"

    return Litestar([Mine], plugins=[AUTH])


def by_router(given: Any) -> Litestar:
    return Litestar([Router("/", route_handlers=[handler()], guards=[given])], plugins=[AUTH])


def by_application(given: Any) -> Litestar:
    return Litestar([handler()], guards=[given], plugins=[AUTH])


def by_socket(given: Any) -> Litestar:
    @websocket("/x", guards=[given])
    async def answer(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()

    return Litestar([answer], plugins=[AUTH])


def by_mount(given: Any) -> Litestar:
    @asgi("/x", is_mount=True, copy_scope=True, guards=[given])
    async def answer(scope: Any, receive: Any, send: Any) -> None: ...

    return Litestar([answer], plugins=[AUTH])


PLACES = [by_handler, by_controller, by_router, by_application, by_socket, by_mount]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WRONG)
def test_in_guards(name: str, place: Any) -> None:
    with pytest.raises(Exception) as raised:
        place(WRONG[name])
    # A router copies what it is given, and a Guard cannot be copied.
    assert "guards=[auth.required()]" in str(raised.value) or "cannot be pickled or copied" in str(raised.value)
    assert not name.startswith("auth") or "guards=[auth." in str(raised.value)


@pytest.mark.parametrize("name", ["auth.required", "auth.optional"])
async def test_without_the_plugin_they_let_nobody_in_either(name: str) -> None:
    app = Litestar([handler(guards=[WRONG[name]])], logging_config=None)
    assert answer_of(await ask_asgi(app, http_scope("/x"))).status == 500


@pytest.mark.parametrize("name", [*WRONG, "auth.required()"])
def test_as_a_provider(name: str) -> None:
    given = WRONG.get(name, AUTH.required())

    def application() -> None:
        @get("/x", sync_to_thread=False, dependencies={"who": Provide(given)})
        def answer(who: NamedDependency[Any]) -> str:
            return "in"

        Litestar([answer], plugins=[AUTH])

    with warnings.catch_warnings():  # of Litestar's, which are no refusals
        warnings.simplefilter("ignore")
        with pytest.raises(Exception, match=r"guards=\[auth.|must be a callable|is not defined"):
            application()


def test_as_a_provider_that_no_handler_takes() -> None:
    """Litestar never calls it, also without the plugin."""
    with pytest.raises(TypeError, match="nothing in `dependencies`"):
        Litestar([handler(dependencies={"who": Provide(AUTH.required())})], logging_config=None)


@pytest.mark.parametrize("name", ["required", "optional"])
def test_as_a_decorator_or_middleware(name: str) -> None:
    for decorate in (getattr(AUTH, name), getattr(AUTH, name)()):
        with pytest.raises(TypeError):
            decorate(handler())
        with pytest.raises(TypeError):
            Litestar([handler(middleware=[decorate])], plugins=[AUTH])


@pytest.mark.parametrize("name", ["required", "optional"])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        *(
            (("admin",), {}),
            ((["admin"],), {}),
            ((), {"role": "admin"}),
            ((), {"scope": "x"}),
            ((), {"exclude": ["/"]}),
        ),
        *(((), {key: value}) for key in ("roles", "scopes") for value in (None, [], "", " ", (), set(), {}, [""])),
        *(((), {key: value}) for key in ("roles", "scopes") for value in ([None], 5, True, b"admin", frozenset())),
        *(((), {"max_age": value}) for value in (True, False, -1, "60", 60.0)),
    ],
)
def test_wrong_values(name: str, given: Any, named: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        getattr(AUTH, name)(*given, **named)


@pytest.mark.parametrize("given", [AUTH, NEEDS, Guard, "https://auth.example", None])
def test_what_is_no_guard(given: Any) -> None:
    with pytest.raises(TypeError, match="LitestarGuard takes a Guard"):
        LitestarGuard(given)


# As the guide has it: the application is there when the module is imported, and the service is somewhere else.
auth = LitestarGuard(Guard("http://127.0.0.1:4000"))


@get("/needs", guards=[auth.required()])
async def needs(caller: NamedDependency[Caller]) -> str:
    return caller.user_id


@get("/maybe", guards=[auth.optional()])
async def maybe(caller: NamedDependency[Caller | None]) -> str:
    return caller.user_id if caller else "nobody"


app = Litestar([needs, maybe], plugins=[auth], logging_config=None)


def test_another_guard_for_a_while(watchword_issuer: Issuer) -> None:
    real = auth.guard
    with watchword_issuer.trusted_by(auth), TestClient(app) as client:
        assert client.get("/needs", headers=watchword_issuer.headers("ada")).text == "ada"
        assert client.get("/needs").json()["code"] == "token_missing"
        assert client.get("/maybe").text == "nobody"
    auth.guard = watchword_issuer.guard()
    try:
        with TestClient(app) as client:
            assert client.get("/needs", headers=watchword_issuer.headers("ada")).text == "ada"
            assert client.get("/needs", headers=Issuer().headers()).status_code == 401
    finally:
        auth.guard = real


def test_the_document() -> None:
    shown = app.openapi_schema.to_schema()["paths"]
    assert {"200", "401", "403"} <= shown["/needs"]["get"]["responses"].keys()
    assert "application/problem+json" in shown["/maybe"]["get"]["responses"]["401"]["content"]
    assert shown["/maybe"]["get"]["security"][0] == {}
    assert {} not in shown["/needs"]["get"]["security"]
