"""Protects Quart views and WebSockets: one, a blueprint or the whole application.

auth = QuartGuard(guard)

@app.get("/orders")
@auth.required(scopes="orders:read")        below the route
async def orders():
    return {"for": current_caller.user_id}

auth.protect(blueprint, roles="admin")      a group; `auth.protect(app)` for everything

A refusal is raised as an HTTPException, so that no decorator takes it for a result and `errorhandler(401)` works.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from quart import (
    Blueprint,
    Quart,
    current_app,
    has_request_context,
    has_websocket_context,
    request,
    request_finished,
    request_started,
    websocket,
    websocket_started,
)

from watchword.errors import WatchwordError
from watchword.guard import handling
from watchword.guard.asgi import check, check_optional, remember
from watchword.guard.blueprints import BlueprintGuard, RequestRefused, answers_itself, current, refused
from watchword.guard.caller import Caller
from watchword.guard.requirement import Requirement
from watchword.guard.sent import AsgiSent
from watchword.guard.sockets import Message, Scope, watched
from watchword.guard.views import Check, checks_before, refuse_bare_hooks

__all__ = ["QuartGuard", "RequestRefused", "current_caller", "find_caller"]

_UNUSED: Final = "watchword.unused"
_ANSWERED: Final = "watchword.answered"
_ABOVE: Final = (
    "guard: {}() was called for a request, where it checks nothing; "
    "write it as a decorator: @auth.required() above `def`, below the route; or auth.protect(app)"
)


def find_caller() -> Caller | None:
    """Return the caller of this request or WebSocket; None where no token was needed or sent."""
    return cast("Caller | None", _scope().get("caller"))


current_caller: Caller = current(find_caller)
"""The caller of this request or WebSocket, in a view that needs one."""


class QuartGuard(BlueprintGuard):
    """Puts a guard before views and WebSockets, which are refused before they are accepted."""

    targets = (Quart, Blueprint)

    def _protect(self, target: Quart | Blueprint, check: _Check, spared: frozenset[str]) -> None:
        async def before_request() -> None:
            if request.endpoint not in spared and not answers_itself(request):
                await check()

        async def before_websocket() -> None:
            if websocket.endpoint not in spared:
                await check()

        target.before_request(before_request)
        target.before_websocket(before_websocket)

    def _check(self, *, optional: bool, **asked: Any) -> _Check:
        return _Check(self, optional=optional, **asked)

    def _wrap(self, view: Callable[..., Any], check: Callable[[], Awaitable[None]]) -> Callable[..., Any]:
        @functools.wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            await check()
            return await current_app.ensure_async(view)(*args, **kwargs)

        return guarded

    def _note_made(self, written: str | None) -> None:
        if written and has_websocket_context():
            raise RuntimeError(_ABOVE.format(written))
        if has_request_context() and _ANSWERED not in request.scope:
            cast(Scope, request.scope)[_UNUSED] = written
        elif written and handling.for_a_request(sys._getframe(2)):  # noqa: SLF001  while it streams
            raise RuntimeError(_ABOVE.format(written))


class _Check(Check):
    """Checks what a view needs."""

    async def __call__(self) -> None:
        needs, scope = self.needs, _scope()
        try:
            caller = await (check_optional if self.optional else check)(needs, scope)
        except WatchwordError as error:
            raise refused(needs.refusal(error, AsgiSent(scope))) from error
        remember(scope, caller)
        if caller is not None and has_websocket_context():
            _watch(needs, caller)


def _watch(needs: Requirement, caller: Caller) -> None:
    """Close this WebSocket when its caller's rights end. The view then receives and sends nothing more."""
    socket: Any = websocket._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  a proxy
    # Quart has no other place between a view and the server.
    receive_data, send_data = socket._receive, socket._send  # noqa: SLF001
    view = cast("asyncio.Task[Any]", asyncio.current_task())

    async def receive() -> Message:
        return {"type": "websocket.receive", "data": await receive_data()}

    async def send(message: Any) -> None:
        if message["type"] == "websocket.close":
            await socket.close(message["code"], message["reason"])
        else:
            await send_data(message["data"])

    admitted = watched(needs, caller, receive, send)

    async def receive_if_good() -> Any:
        message = await admitted.receive()
        if message["type"] == "websocket.receive":
            return message["data"]
        view.cancel()  # as Quart does when a client has gone
        await asyncio.sleep(0)
        raise asyncio.CancelledError  # in another task of the view's

    async def send_if_good(data: Any) -> None:
        await admitted.send({"type": "websocket.send", "data": data})

    socket._receive, socket._send = receive_if_good, send_if_good  # noqa: SLF001


def _scope() -> Scope:
    return cast(Scope, websocket.scope if has_websocket_context() else request.scope)


async def _check_first(app: Quart, **_: Any) -> None:
    """Check a view before the decorators above its guard, such as a cache. Refuse a routed bare view."""
    # No local name for `request`: Quart's page of tracebacks would fail over it.
    endpoint = websocket.endpoint if has_websocket_context() else request.endpoint
    method = "GET" if has_websocket_context() else request.method
    for each in checks_before(app.view_functions, endpoint, method, QuartGuard.route_line):
        await each()
    hooks = app.before_websocket_funcs if has_websocket_context() else app.before_request_funcs
    blueprints = websocket.blueprints if has_websocket_context() else request.blueprints
    refuse_bare_hooks(hooks, blueprints, "@app.before_request")


request_started.connect(_check_first)
websocket_started.connect(_check_first)


async def _check_last(_: Quart, **__: Any) -> None:
    """Refuse the answer of code that called a decorator in place of a check."""
    scope = cast(Scope, request.scope)
    scope[_ANSWERED] = True
    if written := scope.pop(_UNUSED, None):
        raise RuntimeError(_ABOVE.format(written))


request_finished.connect(_check_last)
