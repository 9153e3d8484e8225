"""The same WebSocket in every ASGI framework, and a server for it in process.

`/ws` needs a caller, `/maybe` an optional one, `/admin` the role admin. Each accepts, says who it saw and which
sub-protocols were offered, and then says back what it hears.
"""
# No `from __future__ import annotations` here: frameworks evaluate annotations, and these name local variables.

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from tests.guard_adapters.in_process import http_scope
from watchword.guard import Caller, Guard

MaybeCaller = Caller | None
ran: list[str] = []
"""The paths of handlers that have begun."""


def said(caller: MaybeCaller, scope: Any) -> str:
    """What a handler says first."""
    ran.append(scope["path"])
    assert not any(b"eyJ" in value for name, value in scope["headers"] if name == b"sec-websocket-protocol")
    return f"{caller.user_id if caller else None} {','.join(scope.get('subprotocols', []))}"


def chosen(scope: Any) -> str | None:
    """The application's own choice among the sub-protocols, if `chat` is one."""
    return "chat" if "chat" in scope.get("subprotocols", []) else None


def plain_asgi(guard: Guard) -> Any:
    from watchword.guard.asgi import GuardMiddleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": chosen(scope)})
        await send({"type": "websocket.send", "text": said(scope["caller"], scope)})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    guarded: Any = GuardMiddleware(app, guard, prefix="/ws")
    guarded = GuardMiddleware(guarded, guard, prefix="/admin", roles="admin")
    return GuardMiddleware(guarded, guard, prefix="/maybe", optional=True)


def fastapi(guard: Guard) -> Any:
    from fastapi import FastAPI, WebSocket

    from watchword.guard.fastapi import FastAPIGuard

    app, auth = FastAPI(), FastAPIGuard(guard)

    async def talk(socket: WebSocket, caller: MaybeCaller) -> None:
        await socket.accept(chosen(socket.scope))
        await socket.send_text(said(caller, socket.scope))
        async for text in socket.iter_text():
            await socket.send_text(text)

    @app.websocket("/ws")
    async def ws(websocket: WebSocket, caller: Annotated[Caller, auth.required()]) -> None:
        await talk(websocket, caller)

    @app.websocket("/admin")
    async def admin(websocket: WebSocket, caller: Annotated[Caller, auth.required(roles="admin")]) -> None:
        await talk(websocket, caller)

    @app.websocket("/maybe")
    async def maybe(websocket: WebSocket, caller: Annotated[MaybeCaller, auth.optional()]) -> None:
        await talk(websocket, caller)

    return app


def starlette(guard: Guard) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Mount, WebSocketRoute
    from starlette.websockets import WebSocket

    from watchword.guard.starlette import guarded

    async def talk(socket: WebSocket) -> None:
        await socket.accept(chosen(socket.scope))
        await socket.send_text(said(socket.state.caller, socket.scope))
        async for text in socket.iter_text():
            await socket.send_text(text)

    return Starlette(
        routes=[
            Mount(f"/{name}", routes=[WebSocketRoute("/", talk)], middleware=[guarded(guard, **needs)])  # type: ignore[arg-type]  # a table
            for name, needs in (("ws", {}), ("admin", {"roles": "admin"}), ("maybe", {"optional": True}))
        ]
    )


def litestar(guard: Guard) -> Any:
    from litestar import Litestar, WebSocket, websocket

    from watchword.guard.litestar import LitestarGuard

    auth = LitestarGuard(guard)

    async def talk(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept(chosen(socket.scope))
        await socket.send_text(said(socket.scope["caller"], socket.scope))  # type: ignore[typeddict-item]
        async for text in socket.iter_data():
            await socket.send_text(text)

    async def ws(socket: WebSocket[Any, Any, Any]) -> None:
        await talk(socket)

    routes = [
        websocket("/ws", guards=[auth.required()])(ws),
        websocket("/admin", guards=[auth.required(roles="admin")])(ws),
        websocket("/maybe", guards=[auth.optional()])(ws),
    ]
    return Litestar(routes, plugins=[auth], openapi_config=None)


def starlette_authentication(guard: Guard) -> Any:
    from starlette.applications import Starlette
    from starlette.authentication import requires
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    from watchword.guard.starlette import authentication

    async def maybe(websocket: WebSocket) -> None:
        await websocket.accept(chosen(websocket.scope))
        await websocket.send_text(said(getattr(websocket.user, "caller", None), websocket.scope))
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    ws = requires("authenticated")(maybe)
    routes = [WebSocketRoute("/ws/", ws), WebSocketRoute("/maybe/", maybe)]
    return Starlette(routes=routes, middleware=[authentication(guard)])


def twice(guard: Guard) -> dict[str, Any]:
    """Applications in which two checks of one guard stand one inside of the other."""
    from fastapi import APIRouter, FastAPI, WebSocket
    from litestar import Litestar, Router, websocket
    from litestar import WebSocket as LitestarSocket

    from watchword.guard.asgi import GuardMiddleware
    from watchword.guard.fastapi import FastAPIGuard
    from watchword.guard.litestar import LitestarGuard

    auth, app = FastAPIGuard(guard), FastAPI()
    router = APIRouter(dependencies=[auth.required(roles="clerk")])

    @router.websocket("/ws")
    async def ws(websocket: WebSocket, caller: Annotated[Caller, auth.required()]) -> None:
        await websocket.accept(chosen(websocket.scope))
        await websocket.send_text(said(caller, websocket.scope))
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    app.include_router(router)
    plugin = LitestarGuard(guard)

    async def handle(socket: LitestarSocket[Any, Any, Any]) -> None:
        await socket.accept(chosen(socket.scope))
        await socket.send_text(said(socket.scope["caller"], socket.scope))  # type: ignore[typeddict-item]
        async for text in socket.iter_data():
            await socket.send_text(text)

    inner = Router("/", route_handlers=[websocket("/ws", guards=[plugin.required()])(handle)])
    outer = Litestar([inner], guards=[plugin.required(roles="clerk")], plugins=[plugin], openapi_config=None)
    return {
        "asgi": GuardMiddleware(plain_asgi(guard), guard, roles="clerk"),
        "fastapi": app,
        "fastapi, middleware": GuardMiddleware(app, guard),
        "litestar": outer,
    }


APPS: dict[str, Callable[[Guard], Any]] = {
    "asgi": plain_asgi,
    "fastapi": fastapi,
    "starlette": starlette,
    "litestar": litestar,
}


class Socket:
    """One WebSocket to an application in process."""

    def __init__(self, app: Any, path: str, headers: list[tuple[bytes, bytes]], *, bare: bool = False) -> None:
        """Open it. `bare`: as of a server that puts the sub-protocols into the scope only."""
        ran.clear()
        scope = http_scope(path, type="websocket", scheme="ws", extensions={}, headers=headers)
        del scope["method"]
        offered = b",".join(value for name, value in headers if name == b"sec-websocket-protocol")
        scope["subprotocols"] = [each.strip() for each in offered.decode("latin-1").split(",") if each.strip()]
        if bare:
            scope["headers"] = [each for each in headers if each[0] != b"sec-websocket-protocol"]
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._closed = False
        self.task = asyncio.create_task(app(scope, self._incoming.get, self._send))

    async def _send(self, message: Any) -> None:
        if self._closed:
            raise RuntimeError("the connection is closed")  # as servers do
        if message["type"] == "websocket.close":
            self._closed = True
            self._incoming.put_nowait({"type": "websocket.disconnect", "code": message["code"], "reason": ""})
        self._sent.put_nowait(dict(message))

    def say(self, **message: Any) -> None:
        """Send a message of the client's."""
        self._incoming.put_nowait({"type": "websocket.receive", **message})

    def leave(self) -> None:
        """Go away."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1001, "reason": ""})

    async def hear(self) -> dict[str, Any]:
        """The next message of the application's, or how it ended."""
        next_one = asyncio.create_task(self._sent.get())
        await asyncio.wait({next_one, self.task}, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        if next_one.done():
            return next_one.result()
        next_one.cancel()
        if self.task.done():
            self.task.result()
        return {"type": "nothing"}

    async def end(self) -> None:
        """Leave, and wait until the application has ended."""
        self.leave()
        await asyncio.wait({self.task}, timeout=30)
        assert self.task.done()
