"""What only the ASGI middleware and Starlette's parts do: WebSockets, lifespan, CORS, credentials."""

# No `from __future__ import annotations` here: frameworks evaluate annotations, and these name local variables.

import asyncio
from typing import Annotated, Any

import pytest

from tests.guard.service import Service
from tests.guard_adapters import apps
from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from tests.guard_adapters.serving import on_uvicorn
from watchword.guard import Caller, Guard
from watchword.guard.asgi import GuardMiddleware
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()


async def accept(scope: Any, _: Any, send: Any) -> None:
    await send({"type": "websocket.accept", "caller": scope["caller"]})


def handshake(*tokens: str, **changed: Any) -> dict[str, Any]:
    values = [f"Bearer {token}".encode() for token in tokens]
    scope = http_scope("/ws", values, **({"type": "websocket", "extensions": {}} | changed))
    del scope["method"]
    return scope


def fastapi_socket() -> Any:
    from fastapi import FastAPI, WebSocket

    from watchword.guard.fastapi import FastAPIGuard

    app = FastAPI()

    async def socket(websocket: WebSocket, caller: Annotated[Caller, FastAPIGuard(GUARD).required()]) -> None:
        await websocket.accept()

    app.add_api_websocket_route("/ws", socket)
    return app


def litestar_socket() -> Any:
    from litestar import Litestar, WebSocket, websocket

    from watchword.guard.litestar import LitestarGuard

    auth = LitestarGuard(GUARD)

    async def handle(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()

    return Litestar([websocket("/ws", guards=[auth.required()])(handle)], plugins=[auth], openapi_config=None)


SOCKETS = {"asgi": lambda: GuardMiddleware(accept, GUARD), "fastapi": fastapi_socket, "litestar": litestar_socket}


@pytest.mark.parametrize("name", SOCKETS)
async def test_a_socket_without_a_good_token_is_closed(name: str) -> None:
    """Before it was ever accepted; with one it is."""
    app = SOCKETS[name]()
    for scope, reason in (
        (handshake(), "token_missing"),
        (handshake(ISSUER.expired_token()), "token_expired"),
        (handshake("x", "y"), "invalid_request"),
    ):
        sent = await ask_asgi(app, scope, "websocket.connect")
        assert [(each["type"], each["code"], each["reason"]) for each in sent] == [("websocket.close", 1008, reason)]
    good = await ask_asgi(app, handshake(ISSUER.token()), "websocket.connect")
    assert good[0]["type"] == "websocket.accept"


@pytest.mark.parametrize("name", ["asgi", "fastapi"])
async def test_a_socket_is_refused_with_the_whole_answer_where_the_server_can(name: str) -> None:
    scope = handshake(extensions={"websocket.http.response": {}})
    sent = await ask_asgi(SOCKETS[name](), scope, "websocket.connect")
    assert [each["type"] for each in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    answer = answer_of(sent)
    assert (answer.status, answer.code) == (401, "token_missing")


async def test_other_kinds_of_connections_do_not_slip_through() -> None:
    with pytest.raises(RuntimeError, match="mqtt"):
        await ask_asgi(GuardMiddleware(accept, GUARD), http_scope("/", type="mqtt"))


async def test_a_client_cannot_name_itself_and_an_outer_caller_stays() -> None:
    """`caller` is always there, and an inner middleware for another path leaves it alone."""
    seen = []

    async def app(scope: Any, _: Any, send: Any) -> None:
        seen.append(scope["caller"])

    inner = GuardMiddleware(app, GUARD, prefix="/inner")
    await ask_asgi(inner, http_scope("/x", [f"Bearer {ISSUER.token()}".encode()]))
    await ask_asgi(GuardMiddleware(inner, GUARD), http_scope("/x", [f"Bearer {ISSUER.token('ada')}".encode()]))
    assert [caller and caller.user_id for caller in seen] == [None, "ada"]


async def test_the_guard_lives_as_long_as_the_application() -> None:
    happened = []

    class Watched(Guard):
        def start(self) -> None:
            happened.append("start")

        def stop(self) -> None:
            happened.append("stop")

    async def app(_: Any, __: Any, ___: Any) -> None:
        happened.append("app")

    async def without(_: Any, __: Any, ___: Any) -> None:
        raise RuntimeError("knows no lifespan")

    guard = Watched("https://auth.example", audience="x")
    await GuardMiddleware(app, guard)({"type": "lifespan"}, asyncio.sleep, asyncio.sleep)  # type: ignore[arg-type]
    assert happened == ["start", "app", "stop"]
    with pytest.raises(RuntimeError):  # servers take it as "has none"; the guard is needed all the same
        await GuardMiddleware(without, guard)({"type": "lifespan"}, asyncio.sleep, asyncio.sleep)  # type: ignore[arg-type]
    assert happened[3:] == ["start"]


def test_an_application_without_lifespan_is_guarded_too(issuer: Service) -> None:
    async def app(scope: Any, _: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = issuer.guard()
    with on_uvicorn(GuardMiddleware(app, guard)) as api:
        assert api.ask("/").status == 401
        assert api.ask("/", [("Authorization", f"Bearer {issuer.token()}")]).status == 204
    guard.stop()


async def test_an_event_loop_is_not_held_up_while_the_first_keys_are_awaited(issuer: Service) -> None:
    guard = issuer.guard()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    app = GuardMiddleware(accept, guard)
    good = await ask_asgi(app, http_scope("/", [f"Bearer {issuer.token()}".encode()]))
    ticking.cancel()
    guard.stop()
    assert good[0]["type"] == "websocket.accept"
    assert ticks > 0


async def test_a_token_of_a_key_not_yet_known_is_waited_for(issuer: Service) -> None:
    """The answer comes when the key has been fetched; no event of the feed is needed."""
    guard = issuer.guard()
    assert await asyncio.to_thread(guard.wait_until_ready, 5)
    assert guard._follower is not None
    guard._follower._schedule._last -= 31  # the cooldown is over
    issuer.rotate(announce=False)
    good = await ask_asgi(GuardMiddleware(accept, guard), http_scope("/", [f"Bearer {issuer.token()}".encode()]))
    await asyncio.to_thread(guard.stop)
    assert good[0]["type"] == "websocket.accept"


async def test_a_refusal_of_HEAD_has_no_body() -> None:
    """Not even where the server would not take it away."""
    for app in (GuardMiddleware(accept, GUARD), apps.fastapi(GUARD)):
        refused = answer_of(await ask_asgi(app, http_scope("/needs", method="HEAD")))
        assert (refused.status, refused.body) == (401, b"")
        assert int(refused.headers["content-length"]) > 0


async def test_CORS_around_the_guard_answers_preflights_and_opens_refusals() -> None:
    """A preflight carries no token. Outside of the guard CORS answers it; without CORS it is refused like anything."""
    from starlette.middleware.cors import CORSMiddleware

    guarded = GuardMiddleware(accept, GUARD)
    app = CORSMiddleware(guarded, allow_origins=["https://shop.example"], allow_headers=["authorization"])
    asked = [(b"origin", b"https://shop.example"), (b"access-control-request-method", b"GET")]
    preflight = http_scope("/", method="OPTIONS", headers=[*asked, (b"host", b"x")])
    assert answer_of(await ask_asgi(app, preflight)).status == 200
    assert answer_of(await ask_asgi(guarded, preflight)).status == 401
    refused = answer_of(await ask_asgi(app, http_scope("/", headers=[asked[0]])))
    assert (refused.status, refused.code) == (401, "token_missing")
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"


def starlette_app() -> Any:
    from starlette.applications import Starlette
    from starlette.authentication import requires
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from watchword.guard.starlette import authentication

    async def show(request: Request) -> JSONResponse:
        user = request.user
        return JSONResponse({"user": user.identity if user.is_authenticated else None, "name": user.display_name})

    routes = [Route("/open", show)]
    names = ("authenticated", "orders:read", "role:admin")
    routes += [Route(f"/{name}", requires(name)(show)) for name in names]
    return Starlette(routes=routes, middleware=[authentication(GUARD)])


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/open", None, 200),
        ("/open", ISSUER.token("ada"), 200),
        ("/open", ISSUER.expired_token(), 401),
        ("/authenticated", None, 403),
        ("/authenticated", ISSUER.token("ada"), 200),
        ("/orders:read", ISSUER.token("ada"), 403),
        ("/orders:read", ISSUER.token("ada", scopes=["orders:read"]), 200),
        ("/role:admin", ISSUER.token("ada", roles=["admin"]), 200),
        ("/role:admin", ISSUER.token("ada", scopes=["role:admin"]), 403),
    ],
)
async def test_starlettes_own_requires(path: str, token: str | None, status: int) -> None:
    """Scopes by their names, roles as `role:…`, which no scope can pretend to be."""
    values = [] if token is None else [f"Bearer {token}".encode()]
    answer = answer_of(await ask_asgi(starlette_app(), http_scope(path, values)))
    assert answer.status == status
    if status == 401:
        assert answer.code == "token_expired"
    elif status == 200 and token:
        assert answer.user() == "ada"


def test_somebody_elses_error_is_not_ours_to_answer() -> None:
    from starlette.authentication import AuthenticationError

    from watchword.guard.starlette import answer

    with pytest.raises(AuthenticationError):
        answer(None, AuthenticationError("x"))  # type: ignore[arg-type]
