"""Quart beyond the table: WebSockets, groups, preflights, other decorators, and slips."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from quart import Blueprint, Quart, websocket
from quart.testing import WebsocketResponseError
from quart.testing.connections import WebsocketDisconnectError
from quart.views import MethodView

from watchword.guard.quart import QuartGuard, RequestRefused, current_caller, find_caller
from watchword.testing import Issuer

ISSUER = Issuer()
GOOD = ISSUER.headers("ada")


@pytest.fixture
def auth() -> QuartGuard:
    return QuartGuard(ISSUER.guard())


async def status(app: Quart, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> int:
    return int((await app.test_client().open(path, method=method, headers=headers)).status_code)


@pytest.mark.parametrize("how", ["decorated", "protected"])
async def test_a_WebSocket_is_refused_before_it_is_accepted(auth: QuartGuard, how: str) -> None:
    app, entered = Quart("ws"), []

    async def chat() -> None:
        entered.append(current_caller.user_id)
        await websocket.send(current_caller.user_id)

    app.websocket("/")(chat if how == "protected" else auth.required()(chat))
    if how == "protected":
        auth.protect(app)
    client = app.test_client()
    async with client.websocket("/", headers=GOOD) as connection:
        assert await connection.receive() == "ada"
    with pytest.raises(WebsocketResponseError) as refused:
        async with client.websocket("/") as connection:
            await connection.receive()
    assert refused.value.response.status_code == 401
    assert entered == ["ada"]


async def test_a_whole_application(auth: QuartGuard) -> None:
    """Unknown paths and other methods need a token too; spared endpoints and Quart's OPTIONS need none."""
    app = Quart("whole")
    app.get("/orders")(lambda: "in")
    app.get("/health", endpoint="health")(lambda: "up")
    auth.protect(app, except_endpoints=["health"])
    assert [await status(app, path) for path in ("/orders", "/unknown", "/health")] == [401, 401, 200]
    assert [await status(app, path, GOOD) for path in ("/orders", "/unknown")] == [200, 404]
    assert [await status(app, "/orders", method=each) for each in ("OPTIONS", "HEAD", "POST")] == [200, 401, 401]


async def test_an_error_handler_may_answer(auth: QuartGuard) -> None:
    app = Quart("errors")
    app.get("/")(auth.required(roles="admin")(lambda: "in"))

    @app.errorhandler(401)
    async def own(error: RequestRefused) -> tuple[str, int]:
        return error.refusal.code, 418

    answer = await app.test_client().get("/")
    assert (answer.status_code, await answer.get_data(as_text=True)) == (418, "token_missing")
    assert await status(app, "/", GOOD) == 403


async def test_a_cache_above_the_guard_does_not_answer_strangers(auth: QuartGuard) -> None:
    app, kept = Quart("cache"), {}

    def cached(view: Any) -> Any:
        @functools.wraps(view)
        async def found() -> Any:
            if "answer" not in kept:
                kept["answer"] = await view()
            return kept["answer"]

        return found

    @app.get("/")
    @cached
    @auth.required()
    async def view() -> str:
        return current_caller.user_id

    assert [await status(app, "/", each) for each in (None, GOOD, None)] == [401, 200, 401]
    assert kept == {"answer": "ada"}


async def test_a_class(auth: QuartGuard) -> None:
    app = Quart("class")

    class Orders(MethodView):
        decorators = [auth.required()]  # noqa: RUF012  as Quart documents it

        async def get(self) -> str:
            return str(find_caller())

    app.add_url_rule("/", view_func=Orders.as_view("orders"))
    assert [await status(app, "/", each) for each in ({}, GOOD)] == [401, 200]


def test_slips_raise_where_they_are_written(auth: QuartGuard) -> None:
    app = Quart("slips")

    async def view() -> str:
        return "in"

    with pytest.raises(TypeError, match=r"the parentheses are missing: write @auth\.required\(\)"):
        auth.required(view)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="what is needed is given by name"):
        auth.optional("admin")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="decorates functions; for the class"):
        auth.required()(MethodView)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes an application or a blueprint"):
        auth.protect(view)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="optional is True or False"):
        auth.protect(app, optional="no")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="QuartGuard takes a Guard"):
        QuartGuard(auth)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="roles are empty"):
        auth.required(roles=[])


@pytest.mark.parametrize("place", ["application", "blueprint", "websocket"])
def test_a_guard_above_its_route(auth: QuartGuard, place: str) -> None:
    where: Any = Blueprint("b", __name__) if place == "blueprint" else Quart("above")
    route = where.websocket if place == "websocket" else where.get
    with pytest.raises(RuntimeError, match="stands above the route of 'view'"):

        @auth.required()
        @route("/")
        async def view() -> str:
            return "in"


async def test_a_bare_view_that_is_routed_later(auth: QuartGuard) -> None:
    app = Quart("bare")
    app.testing = True

    async def view() -> str:
        return "in"

    _ = auth.required()(view)
    app.add_url_rule("/", view_func=view)
    answer = await app.test_client().get("/", headers=GOOD)
    assert answer.status_code == 500
    assert "stands above the route" in await answer.get_data(as_text=True)


@pytest.mark.parametrize("name", ["required", "optional"])
async def test_a_decorator_that_is_made_for_a_request_gives_nothing_away(auth: QuartGuard, name: str) -> None:
    app = Quart("made")

    @app.get("/")
    async def view() -> str:
        getattr(auth, name)()
        return "in"

    @app.get("/sync")
    def sync() -> str:
        getattr(auth, name)()
        return "in"

    @app.websocket("/ws")
    async def socket() -> None:
        getattr(auth, name)()
        await websocket.send("in")

    @app.get("/used/<role>")
    async def used(role: str) -> Any:
        return await auth.required(roles=role)(lambda: "in")()

    assert [await status(app, path, GOOD) for path in ("/", "/sync")] == [500, 500]
    admin = ISSUER.headers("ada", roles=["admin"])
    assert [await status(app, "/used/admin", each) for each in ({}, GOOD, admin)] == [401, 403, 200]
    with pytest.raises(WebsocketResponseError):
        async with app.test_client().websocket("/ws", headers=GOOD) as connection:
            await connection.receive()


async def test_the_guard_may_be_replaced(auth: QuartGuard) -> None:
    app, other = Quart("replaced"), Issuer()
    app.get("/")(auth.required()(lambda: "in"))
    auth.guard = other.guard()
    assert [await status(app, "/", each.headers("ada")) for each in (ISSUER, other)] == [401, 200]


async def test_a_log_out_closes_the_WebSocket() -> None:
    """With the code and the reason that other frameworks give; the view sends nothing more."""
    issuer, app = Issuer(), Quart("watched")
    auth = QuartGuard(issuer.guard())

    @app.websocket("/")
    @auth.required()
    async def chat() -> None:
        await websocket.send(current_caller.user_id)
        while True:
            await websocket.send(await websocket.receive())

    async with app.test_client().websocket("/", headers=issuer.headers("ada", session_id="s")) as connection:
        assert await connection.receive() == "ada"
        await connection.send("hello")
        assert await connection.receive() == "hello"
        issuer.revoke_session("s")
        with pytest.raises(WebsocketDisconnectError) as closed:
            await connection.receive()
        assert closed.value.args == (4401,)
