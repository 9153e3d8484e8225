"""Handlers that only listen, one for each adapter with WebSockets, and clients that ignore a close frame.

Each carries out what it hears, and sends nothing.
"""
# No `from __future__ import annotations` here: frameworks evaluate annotations, and these name local variables.

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import hypercorn.asyncio
from hypercorn.config import Config

from tests.e2e.server import free_port
from tests.guard_adapters import sockets
from watchword.guard import Caller, Guard

carried_out: list[str] = []


def asgi(guard: Guard) -> Any:
    from watchword.guard.asgi import GuardMiddleware

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            carried_out.append(message["text"])

    return GuardMiddleware(app, guard)


def two_guards(guard: Guard) -> Any:
    from watchword.guard.asgi import GuardMiddleware

    return GuardMiddleware(asgi(guard), guard)


def fastapi(guard: Guard) -> Any:
    from fastapi import FastAPI, WebSocket

    from watchword.guard.fastapi import FastAPIGuard

    app, auth = FastAPI(), FastAPIGuard(guard)

    @app.websocket("/")
    async def listen(websocket: WebSocket, caller: Annotated[Caller, auth.required()]) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            carried_out.append(text)  # noqa: PERF401  one by one, as they come

    return app


async def _starlette(websocket: Any) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        carried_out.append(text)  # noqa: PERF401  one by one, as they come


def starlette(guard: Guard) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    from watchword.guard.starlette import guarded

    return Starlette(routes=[WebSocketRoute("/", _starlette)], middleware=[guarded(guard)])


def starlette_authentication(guard: Guard) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    from watchword.guard.starlette import authentication

    return Starlette(routes=[WebSocketRoute("/", _starlette)], middleware=[authentication(guard)])


def litestar(guard: Guard) -> Any:
    from litestar import Litestar, WebSocket, websocket

    from watchword.guard.litestar import LitestarGuard

    auth = LitestarGuard(guard)

    async def listen(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        async for text in socket.iter_data():
            carried_out.append(text)  # noqa: PERF401  one by one, as they come

    return Litestar([websocket("/", guards=[auth.required()])(listen)], plugins=[auth], openapi_config=None)


def litestar_listener(guard: Guard) -> Any:
    from litestar import Litestar
    from litestar.handlers import websocket_listener

    from watchword.guard.litestar import LitestarGuard

    auth = LitestarGuard(guard)

    @websocket_listener("/", guards=[auth.required()])
    async def listen(data: str) -> None:
        carried_out.append(data)

    return Litestar([listen], plugins=[auth], openapi_config=None)


def channels(guard: Guard) -> Any:
    from tests.guard_adapters import django_site

    django_site.configure(guard)
    from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped]

    from watchword.guard.channels import guarded

    class Listen(AsyncWebsocketConsumer):  # type: ignore[misc]
        async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
            carried_out.append(text_data)

    return guarded(Listen.as_asgi())


def quart(guard: Guard) -> Any:
    from quart import Quart, websocket

    from watchword.guard.quart import QuartGuard

    app, auth = Quart("deaf"), QuartGuard(guard)

    @app.websocket("/")
    @auth.required()
    async def listen() -> None:
        while True:
            carried_out.append(await websocket.receive())

    return app


def quart_in_tasks(guard: Guard) -> Any:
    """Two guards, and a view that receives in a task of its own."""
    from quart import Quart, websocket

    from watchword.guard.quart import QuartGuard

    app, auth = Quart("deaf"), QuartGuard(guard)

    async def listening() -> None:
        while True:
            carried_out.append(await websocket.receive())

    @app.websocket("/")
    @auth.required()
    async def listen() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listening())
            tasks.create_task(asyncio.Event().wait())

    auth.protect(app)
    return app


APPS: dict[str, Callable[[Guard], Any]] = {
    "asgi": asgi,
    "asgi, two guards": two_guards,
    "fastapi": fastapi,
    "starlette": starlette,
    "starlette, authentication": starlette_authentication,
    "litestar": litestar,
    "litestar, listener": litestar_listener,
    "channels": channels,
    "quart": quart,
    "quart, in tasks": quart_in_tasks,
}


class DeafSocket(sockets.Socket):
    """One whose client ignores that it was closed, on a server that goes on delivering what it sends."""

    async def _send(self, message: Any) -> None:
        self._sent.put_nowait(dict(message))


@asynccontextmanager
async def on_hypercorn(app: Any) -> AsyncIterator[int]:
    """Quart's server, on this event loop; yields its port."""
    config, end, port = Config(), asyncio.Event(), free_port()
    config.bind, config.loglevel, config.graceful_timeout = [f"127.0.0.1:{port}"], "CRITICAL", 1
    serving = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=end.wait))  # type: ignore[arg-type]  # waits, and that is all
    try:
        for _ in range(500):
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.02)
        yield port
    finally:
        end.set()
        await serving
