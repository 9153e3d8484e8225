"""Checks requests as ASGI middleware: for an application, a path prefix or one route.

    app = GuardMiddleware(app, guard, prefix="/api", except_paths=["/api/health"])

The caller is in `scope["caller"]` and `scope["state"]["caller"]` (`request.state.caller`).
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from watchword.errors import TokenError, WatchwordError
from watchword.guard import calls, misuse, slips
from watchword.guard.asked import Names
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.marks import EVERYONE
from watchword.guard.paths import Paths, with_mount
from watchword.guard.preflights import AROUND, Preflights
from watchword.guard.refusals import Refusal
from watchword.guard.requirement import Requirement
from watchword.guard.sent import AsgiSent
from watchword.guard.sockets import (
    POLICY_VIOLATION,
    Receive,
    Scope,
    Send,
    SocketRefused,
    admit,
    authorization_of,
)

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_BELOW: Final = (
    "Write `app.add_middleware(CORSMiddleware, …)` below the line that adds the guard, since what is added last stands "
    "outside; in a list `middleware=[…]` it comes before the guard."
)
_IN_LITESTAR: Final = (
    "Give the guard to Litestar as `middleware=[DefineMiddleware(GuardMiddleware, guard=guard)]` and write "
    "`cors_config=CORSConfig(…)`, which stands outside."
)
_IN_PLACE: Final = "write `app = GuardMiddleware(app, guard)`, or `app.add_middleware(GuardMiddleware, guard=guard)`"
_CORS_LINES: Final = {
    "fastapi": _BELOW,
    "starlette": _BELOW,
    "litestar": _IN_LITESTAR,
}


class GuardMiddleware:
    """Lets a request through to `app` with its caller, or refuses it.

    Put it inside CORS middleware: a preflight has no token, and a page reads a refusal only with CORS headers.

    :param prefix: only paths under it need a token, relative to the mount point (`guard.paths`).
    :param except_paths: paths that need none; `/*` at the end means all below.
    :param scopes: like `roles`, `max_age` and `api_keys` as in `Guard.check`.
    :param optional: whether a request without a token passes, with caller None. A bad token is still refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        guard: Guard,
        *,
        prefix: str = "/",
        except_paths: Iterable[str] = (),
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
        optional: bool = False,
    ) -> None:
        self._needs = slips.needs(guard, "GuardMiddleware", scopes, roles, max_age, api_keys)
        if not callable(app):
            raise TypeError(f"guard: GuardMiddleware(app, guard) takes an application first, unlike {app!r:.100}")
        self.app = app
        self._guard = guard
        self._optional = misuse.a_switch(optional, "optional")
        self._preflights = Preflights()
        self._recall = self._needs.recall
        self._by_places = self._needs.places is not None
        paths = Paths([prefix], except_paths)
        self._paths = None if paths.everything else paths
        calls.refuse_thrown_away(sys._getframe(), "GuardMiddleware(…)", _IN_PLACE)  # noqa: SLF001

    def as_function(self) -> ASGIApp:
        """Return an application that does the same, and hands on the coroutine of `app` for a known caller.

        That saves a coroutine, if each request is judged by the Authorization header alone.
        """
        calls.refuse_thrown_away(sys._getframe(), "as_function()", "write `app = ….as_function()`")  # noqa: SLF001
        if self._paths is not None or self._by_places:
            return self
        function = self._needs.passing(self.app, self)
        # Servers and frameworks tell an ASGI application by `async def`, or by this mark.
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(function)
        else:
            function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001
        return function

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind != "http":
            await (self._socket if kind == "websocket" else self._live)(scope, receive, send)
            return
        if self._paths is None or guards(self._paths, scope):
            if self._by_places:
                await self._by_place(scope, receive, send)
                return
            # As `authorization_of`, inlined for speed.
            header: Any = None
            for name, value in scope["headers"]:
                if name == b"authorization":
                    header = value if header is None else (value, value)  # two stand for several
            caller = self._recall(header)
            if caller is None:
                try:
                    caller = await self._needs.check_async(header)
                except WatchwordError as error:
                    if not self._optional or error.code != "token_missing":
                        self._notice_preflight(scope)
                        await refuse(self._needs.refusal(error, AsgiSent(scope)), scope, send)
                        return
            scope["caller"] = caller
            try:
                scope["state"]["caller"] = caller
            except KeyError:
                scope["state"] = {"caller": caller}
        else:
            scope.setdefault("caller", None)
        await self.app(scope, receive, send)

    async def _by_place(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request by the guard's places."""
        try:
            caller = await (check_optional if self._optional else check)(self._needs, scope)
        except WatchwordError as error:
            self._notice_preflight(scope)
            await refuse(self._needs.refusal(error, AsgiSent(scope)), scope, send)
            return
        remember(scope, caller)
        await self.app(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket."""
        if self._paths is not None and not guards(self._paths, scope):
            scope.setdefault("caller", None)
            await self.app(scope, receive, send)
            return
        try:
            admitted = await admit(self._needs, scope, receive, send, optional=self._optional)
        except SocketRefused as refused:
            await refuse(refused.refusal, scope, send, refused.code)
            return
        remember(scope, admitted.caller)
        await self.app(scope, admitted.receive, admitted.send)

    def _notice_preflight(self, scope: Scope) -> None:
        """Log once which line to move where a preflight is refused."""
        if self._preflights.seen or scope.get("method") != "OPTIONS" or not is_preflight(scope):
            return
        # A framework puts its application into the scope.
        line = _CORS_LINES.get(_framework(scope["app"]), AROUND) if "app" in scope else AROUND
        if _framework(self.app) == "litestar":
            line = _IN_LITESTAR
        self._preflights.log(scope["path"], line)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            raise RuntimeError(f"a guard knows nothing of connections of the type {scope['type']!r}")
        self._guard.start()
        await self.app(scope, receive, send)  # raises without a lifespan, and is still served
        await asyncio.to_thread(self._guard.stop)


def is_preflight(scope: Scope) -> bool:
    """Return whether a request is a CORS preflight."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names


def _framework(thing: object) -> str:
    return type(thing).__module__.partition(".")[0]


async def check(needs: Requirement, scope: Scope) -> Caller:
    """Return the caller of a request. :raises WatchwordError: as `Guard.check`."""
    if needs.places is not None:
        return await needs.admit_async(AsgiSent(scope))
    header = authorization_of(scope)
    caller = needs.recall(header)
    return caller if caller is not None else await needs.check_async(header)


async def check_optional(needs: Requirement, scope: Scope) -> Caller | None:
    """Return the caller, or None without a token. A bad token is still refused."""
    try:
        return await check(needs, scope)
    except TokenError as error:
        if error.code == "token_missing":
            return None
        raise


def guards(paths: Paths, scope: Scope) -> bool:
    """Return whether a request needs a check, however the application removes its mount point.

    An exception counts only in every reading, a prefix in any: rather too many requests are checked than too few.
    """
    path, root = scope["path"], scope.get("root_path", "")
    if (left := scope.get("path_remaining")) is not None:  # in a router of Channels in another one
        spared = routed_paths(path, root) if root else {path}
        whole = {key: value for key, value in scope.items() if key != "path_remaining"}
        below = f"/{left.lstrip('/')}"
        readings = (below, *with_mount(below, path))
        return guards(paths, whole) or (any(map(paths.guards, readings)) and not any(map(paths.excepts, spared)))
    if not root:
        return paths.guards(path or "/")
    if path.startswith(f"{root}/") and root[-1] != "/":  # only one reading
        return paths.guards_any(below := path[len(root) :], with_mount(below, path))
    possible = routed_paths(path, root)
    if any(map(paths.guards, possible)):
        return True
    longer = with_mount(min(possible, key=len), path)
    return any(map(paths.guards, longer)) and not any(map(paths.excepts, possible))


def routed_paths(path: str, root: str) -> set[str]:
    """Return every path that an application could route by.

    Starlette removes `root` as it is, others without its last slash, Litestar all up to its first occurrence.
    """
    anywhere = path.partition(root)[2] if root in path else path
    return {_below(root, path), _below(root.rstrip("/"), path), f"/{anywhere.lstrip('/')}"}


def _below(root: str, path: str) -> str:
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        path = path[len(root) :]
    return path or "/"


def remember(scope: Scope, caller: Caller | None) -> None:
    """Put the caller into the scope."""
    scope["caller"] = caller
    state = scope.get("state")
    if state is None:
        scope["state"] = {"caller": caller}
    else:
        state["caller"] = caller


async def refuse(refusal: Refusal, scope: Scope, send: Send, code: int | None = None) -> None:
    """Answer with a refusal, or close a WebSocket if its handshake cannot be answered.

    :param code: to close a WebSocket with that is open already.
    """
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if code is not None or kind not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": code or POLICY_VIOLATION, "reason": refusal.code})
            return
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": raw_headers(refusal)})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else refusal.body})


def raw_headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    """Return a refusal's headers for ASGI."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in refusal.headers]
