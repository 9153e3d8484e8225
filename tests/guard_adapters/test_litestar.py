"""What only the Litestar adapter does: telling a handler that is not guarded from one that has no caller to show."""

# No `from __future__ import annotations` here: Litestar evaluates annotations.

from typing import Any

import pytest
from litestar import Litestar, WebSocket, get, websocket
from litestar.di import NamedDependency

from tests.guard_adapters.apps import MaybeCaller, seen
from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from watchword.guard import Caller
from watchword.guard.asgi import GuardMiddleware
from watchword.guard.litestar import LitestarGuard
from watchword.testing import Issuer

ISSUER = Issuer()
GOOD = [f"Bearer {ISSUER.token('ada')}".encode()]
AUTH = LitestarGuard(ISSUER.guard())


@get("/forgotten")
async def forgotten(caller: NamedDependency[Caller]) -> dict[str, Any]:
    return seen(caller)


@get("/optional", guards=[AUTH.optional()])
async def optional(caller: NamedDependency[Caller]) -> dict[str, Any]:
    return seen(caller)


@get("/none")
async def none(caller: NamedDependency[MaybeCaller]) -> dict[str, Any]:
    return seen(caller)


@get("/anything")
async def anything(caller: NamedDependency[Any]) -> dict[str, Any]:
    return seen(caller)


@get("/object")
async def some_object(caller: NamedDependency[object]) -> dict[str, Any]:
    return seen(caller)  # type: ignore[arg-type]  # it is a caller or None


@websocket("/guarded-socket", guards=[AUTH.required()])
async def socket_guarded(socket: WebSocket[Any, Any, Any], caller: NamedDependency[Caller]) -> None:
    await socket.accept(headers={"x-user": caller.user_id})


@websocket("/socket")
async def socket_forgotten(socket: WebSocket[Any, Any, Any], caller: NamedDependency[Caller]) -> None:
    await socket.accept()


def app() -> Any:
    handlers = [forgotten, optional, none, anything, some_object, socket_guarded, socket_forgotten]
    return Litestar(handlers, plugins=[AUTH], logging_config=None)  # its own would take the log from `caplog`


@pytest.mark.parametrize(("path", "values"), [("/forgotten", []), ("/forgotten", GOOD), ("/optional", [])])
async def test_a_handler_that_cannot_do_without_a_caller_says_so_in_the_log(
    path: str, values: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """500 as before, for it is the programmer's mistake; the client hears nothing of it."""
    answer = answer_of(await ask_asgi(app(), http_scope(path, values)))
    assert (answer.status, b"guards" in answer.body) == (500, False)
    (record,) = [record for record in caplog.records if record.name == "watchword.guard"]
    assert f"{path[1:]} asks for a `caller`" in record.getMessage()
    assert "guards=[auth.required()]" in record.getMessage()
    assert "Caller | None" in record.getMessage()


async def connect(path: str) -> list[dict[str, Any]]:
    scope = http_scope(path, GOOD, type="websocket", extensions={})
    del scope["method"]
    return await ask_asgi(app(), scope, "websocket.connect")


async def test_the_caller_of_a_socket_is_a_dependency_too(caplog: pytest.LogCaptureFixture) -> None:
    """Without a warning of Litestar's, which is an error in these tests; and where there is none, as elsewhere."""
    accepted = (await connect("/guarded-socket"))[0]
    assert (accepted["type"], accepted["headers"]) == ("websocket.accept", [(b"x-user", b"ada")])
    assert "websocket.accept" not in [each["type"] for each in await connect("/socket")]
    assert "socket_forgotten asks for a `caller`" in caplog.text


@pytest.mark.parametrize("path", ["/none", "/anything", "/object"])
async def test_a_handler_that_can_is_left_alone(path: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = answer_of(await ask_asgi(app(), http_scope(path, GOOD)))
    assert (answer.status, answer.user()) == (200, None)
    assert "asks for" not in caplog.text


async def test_a_caller_from_middleware_around_the_application_will_do() -> None:
    """So a handler without a guard of its own is no mistake as such, and is not refused at the start."""
    guarded = GuardMiddleware(app(), ISSUER.guard())
    assert answer_of(await ask_asgi(guarded, http_scope("/forgotten", GOOD))).user() == "ada"
    assert answer_of(await ask_asgi(guarded, http_scope("/forgotten"))).status == 401
