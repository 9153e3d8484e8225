"""Slips with the middleware, in Starlette and without a framework: an error, and never an open route."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import FastAPI
from litestar import Litestar, get
from litestar.config.cors import CORSConfig
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from uvicorn import Config

from tests.guard_adapters.in_process import Answer, answer_of, ask_asgi, http_scope
from watchword.guard import Guard
from watchword.guard.asgi import GuardMiddleware
from watchword.guard.fastapi import FastAPIGuard
from watchword.guard.starlette import authentication, guarded
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()
NOT_GUARDS = [FastAPIGuard(GUARD), GUARD.require(), Guard, "https://auth.example", None]


async def app(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("in")(scope, receive, send)


async def endpoint(_: Request) -> PlainTextResponse:
    return PlainTextResponse("in")


SLIPS: list[dict[str, Any]] = [
    *({name: ["/x"]} for name in ("exclude", "exclude_paths", "paths", "except_path", "role", "required")),
    *({key: value} for key in ("roles", "scopes") for value in (None, [], "", " ", (), set(), {}, [""], [None], 5)),
    *({"max_age": value} for value in (True, False, -1, "60", 60.0)),
    *({"optional": value} for value in ("no", "false", 0, 1, None, [])),
]


@pytest.mark.parametrize("slip", SLIPS)
def test_options(slip: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        GuardMiddleware(app, GUARD, **slip)
    with pytest.raises((TypeError, ValueError)):
        guarded(GUARD, **slip)


@pytest.mark.parametrize(
    "slip",
    [
        *({"prefix": value} for value in ("", "api", "/api/*", "/api/{id}", ["/api"], None, "https://x/api", "/a//b")),
        *({"except_paths": value} for value in ("/health", ["health"], ["/*"], ["/a*"], None, [None], ["/a/{x}"])),
        {"prefix": "/api", "except_paths": ["/api/*"]},
    ],
)
def test_paths(slip: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match="guard:"):
        GuardMiddleware(app, GUARD, **slip)


@pytest.mark.parametrize("given", NOT_GUARDS)
def test_what_is_no_guard(given: Any) -> None:
    for make in (lambda: GuardMiddleware(app, given), lambda: authentication(given), lambda: guarded(given)):
        with pytest.raises(TypeError, match="guard:"):
            make()


def test_the_wrong_way_round() -> None:
    with pytest.raises(TypeError, match="takes a Guard"):
        GuardMiddleware(GUARD, app)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes an application first"):
        GuardMiddleware(GUARD, GUARD)  # type: ignore[arg-type]


def test_as_a_decorator_or_without_parentheses() -> None:
    with pytest.raises(TypeError, match=r"middleware=\[guarded\(guard\)\]"):
        guarded(endpoint)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"middleware=\[guarded\(guard\)\]"):
        guarded(GUARD)(endpoint)  # type: ignore[operator]
    with pytest.raises(TypeError, match="roles or scopes"):
        guarded(GUARD, "admin")  # type: ignore[arg-type]
    for place in (
        lambda: Route("/", endpoint, middleware=[guarded]),  # type: ignore[list-item]
        lambda: Mount("/", routes=[], middleware=[guarded]),  # type: ignore[list-item]
        lambda: WebSocketRoute("/", endpoint, middleware=[guarded]),  # type: ignore[list-item]
    ):
        with pytest.raises(TypeError, match=r"middleware=\[guarded\(guard\)\]"):
            place()


@pytest.mark.parametrize(
    "late",
    [
        lambda: Starlette(routes=[Route("/", endpoint)], middleware=[guarded]),  # type: ignore[list-item]
        lambda: Starlette(
            routes=[Route("/", endpoint)], middleware=[Middleware(GuardMiddleware, guard=GUARD, roles=[])]
        ),
        lambda: Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(GuardMiddleware)]),
    ],
)
async def test_what_starlette_makes_late_never_starts(late: Any) -> None:
    made = late()
    with pytest.raises((TypeError, ValueError)), TestClient(made):
        pass
    with pytest.raises((TypeError, ValueError)):  # a server without lifespan: so ends each request
        await ask_asgi(made, http_scope("/"))


async def ask(made: Any, path: str, method: str = "GET", **more: Any) -> Answer:
    return answer_of(await ask_asgi(made, http_scope(path, method=method, **more)))


class Endpoint(HTTPEndpoint):
    async def get(self, _: Request) -> PlainTextResponse:
        return PlainTextResponse("in")


async def test_endpoints_of_every_kind_are_guarded() -> None:
    routes = [
        Route("/async", endpoint, middleware=[guarded(GUARD)]),
        Route("/sync", lambda _: PlainTextResponse("in"), middleware=[guarded(GUARD)]),
        Route("/class", Endpoint, middleware=[guarded(GUARD)]),
        Mount("/mount", app, middleware=[guarded(GUARD)]),
    ]
    for path in ("/async", "/sync", "/class", "/mount/below"):
        assert (await ask(Starlette(routes=routes), path)).status == 401
        good = http_scope(path, [f"Bearer {ISSUER.token()}".encode()])
        assert answer_of(await ask_asgi(Starlette(routes=routes), good)).status == 200


def test_a_server_knows_what_middleware_makes_as_an_application() -> None:
    """Also where another framework than Starlette makes it: servers and tools look for `async def __call__`."""
    made = guarded(GUARD)
    whole = made.cls(app, *made.args, **made.kwargs)
    config = Config(whole)
    config.load()
    assert config.interface == "asgi3"
    client = TestClient(whole)
    assert client.get("/").status_code == 401
    assert [client.get("/", headers=ISSUER.headers()).status_code for _ in range(2)] == [200, 200]


PREFLIGHT = {
    "method": "OPTIONS",
    "headers": [
        (b"origin", b"https://page.example"),
        (b"access-control-request-method", b"GET"),
        (b"access-control-request-headers", b"authorization"),
    ],
}
CORS: dict[str, Any] = {"allow_origins": ["https://page.example"], "allow_headers": ["Authorization"]}


def starlette(*order: str) -> Any:
    made = {"cors": Middleware(CORSMiddleware, **CORS), "guard": guarded(GUARD)}
    return Starlette(routes=[Route("/x", endpoint)], middleware=[made[name] for name in order])


def fastapi(*order: str) -> Any:
    made = FastAPI()
    for name in reversed(order):
        if name == "cors":
            made.add_middleware(CORSMiddleware, **CORS)
        else:
            made.add_middleware(GuardMiddleware, guard=GUARD)
    return made


def plain(*order: str) -> Any:
    made: Any = app
    for name in reversed(order):
        made = CORSMiddleware(made, **CORS) if name == "cors" else GuardMiddleware(made, GUARD)
    return made


def litestar(*order: str) -> Any:
    @get("/x")
    async def answer() -> str:
        return "in"

    inside = [DefineMiddleware(GuardMiddleware, guard=GUARD)] if order[-1] == "guard" else []
    cors = CORSConfig(**CORS)
    made = Litestar([answer], middleware=inside, cors_config=cors, logging_config=None)
    return made if inside else GuardMiddleware(made, GUARD)  # type: ignore[arg-type]  # its own types of ASGI


LINES = {
    starlette: "below the line that adds the guard",
    fastapi: "below the line that adds the guard",
    plain: "app = CORSMiddleware(GuardMiddleware(app, guard)",
    litestar: "cors_config=CORSConfig",
}


@pytest.mark.parametrize("make", LINES)
async def test_a_preflight_that_is_refused_is_told_of_once(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    made = make("guard", "cors")
    with caplog.at_level(logging.WARNING, "watchword.guard"):
        for _ in range(3):
            assert (await ask(made, "/x", **PREFLIGHT)).status == 401
    (record,) = [each for each in caplog.records if each.name == "watchword.guard"]
    assert "preflight for '/x'" in record.getMessage()
    assert LINES[make] in record.getMessage()


@pytest.mark.parametrize("make", LINES)
async def test_in_the_right_order_nothing_is_told(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    made = make("cors", "guard")
    answer = await ask(made, "/x", **PREFLIGHT)
    assert (answer.status // 100, answer.headers["access-control-allow-origin"]) == (2, "https://page.example")
    assert (await ask(made, "/x")).status == 401
    assert not [each for each in caplog.records if each.name == "watchword.guard"]


@pytest.mark.parametrize("missing", [0, 1])
async def test_other_options_are_no_preflight(missing: int, caplog: pytest.LogCaptureFixture) -> None:
    headers = [pair for number, pair in enumerate(PREFLIGHT["headers"]) if number != missing]
    assert (await ask(plain("guard"), "/x", method="OPTIONS", headers=headers)).status == 401
    assert (await ask(plain("guard"), "/x", method="GET", headers=PREFLIGHT["headers"])).status == 401
    assert not [each for each in caplog.records if each.name == "watchword.guard"]


# As the guide has it: the application is there when the module is imported, and the service is somewhere else.
module_guard = Guard("http://127.0.0.1:4000")
module_apps = [
    Starlette(routes=[Route("/x", endpoint, middleware=[guarded(module_guard)])]),
    GuardMiddleware(app, module_guard),
    GuardMiddleware(Starlette(routes=[Route("/x", endpoint)]), module_guard, prefix="/x", scopes="a"),
    Starlette(routes=[Route("/x", endpoint)], middleware=[authentication(module_guard)]),
]


@pytest.mark.parametrize("made", module_apps)
async def test_another_guard_for_a_while(made: Any, watchword_issuer: Issuer) -> None:
    with watchword_issuer.trusted_by(module_guard) as guard:
        assert guard is module_guard
        good = [watchword_issuer.headers("ada", scopes=["a"])["Authorization"].encode()]
        for _ in range(2):
            assert answer_of(await ask_asgi(made, http_scope("/x", good))).status == 200
        foreign = [Issuer().headers("ada", scopes=["a"])["Authorization"].encode()]
        assert answer_of(await ask_asgi(made, http_scope("/x", foreign))).status == 401
    assert module_guard.recall(good[0]) is None
    assert module_guard.issuer == "http://127.0.0.1:4000"
