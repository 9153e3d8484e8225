"""Protects aiohttp handlers: one, or a whole application or sub-application.

auth = AiohttpGuard(guard)

@routes.get("/orders")
@auth.required(scopes="orders:read")        below the route
async def orders(request):
    return web.json_response({"for": get_caller(request).user_id})

auth.protect(admin, roles="admin")          a web.Application, also one for `add_subapp`

A refusal is raised as a `web.HTTPException`, so that middlewares see it as any other.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from inspect import isclass, iscoroutinefunction
from typing import Any, Final, cast

from aiohttp import hdrs, web

from watchword.errors import WatchwordError
from watchword.guard import handling
from watchword.guard.asked import Names
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.marks import EVERYONE
from watchword.guard.paths import Paths
from watchword.guard.preflights import Preflights
from watchword.guard.refusals import Refusal
from watchword.guard.sent import method_of
from watchword.guard.views import Check, DecoratingGuard, refuse_bare

__all__ = ["AiohttpGuard", "RequestRefused", "find_caller", "get_caller"]

# Before aiohttp 3.14 a key is a text.
_KEPT: Final[Any] = getattr(web, "RequestKey", lambda name, _: name)("watchword.caller", Caller)
_TOO_LATE: Final = (
    "guard: {}() makes a decorator, and checks nothing where it is called for a request; write it above `def`, "
    "below the route"
)
_AROUND: Final = "Answer preflights in a middleware that stands before the guard in `middlewares`."
_ENCODED_SLASH: Final = "%2f"
_STATUSES: Final[dict[int, type[web.HTTPException]]] = {
    each.status_code: each
    for each in (web.HTTPBadRequest, web.HTTPUnauthorized, web.HTTPForbidden, web.HTTPServiceUnavailable)
}


def find_caller(request: web.BaseRequest) -> Caller | None:
    """Return a request's caller; None where no token was needed or sent."""
    return cast("Caller | None", request.get(_KEPT))


def get_caller(request: web.BaseRequest) -> Caller:
    """Return the caller of a request that needs one. :raises RuntimeError: it has none."""
    caller = find_caller(request)
    if caller is None:
        raise RuntimeError("This request has no caller: the handler is not guarded, or its caller is optional.")
    return caller


class RequestRefused(web.HTTPException):
    """Says that a guard refused a request; `refusal` is the answer. It is also of aiohttp's class for its status."""

    status_code = 401

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(text=refusal.body.decode())
        for name in dict(refusal.headers):
            self.headers.popall(name, None)  # aiohttp sets a type of its own
        self.headers.extend(refusal.headers)


@functools.cache
def _kind(status: int) -> type[RequestRefused]:
    kinds = (_STATUSES[status],) if status in _STATUSES else ()
    return type("RequestRefused", (RequestRefused, *kinds), {"status_code": status})


class AiohttpGuard(DecoratingGuard):
    """Puts a guard before handlers. A WebSocket is refused before its handshake is answered."""

    for_class = "@{}(…) above each of its methods"
    route_line = '@routes.get("/…")'

    def protect(
        self,
        app: web.Application,
        *,
        prefix: str = "/",
        except_paths: Iterable[str] = (),
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
        optional: bool = False,
    ) -> None:
        """Protect all that an application answers, also routes added later and unknown paths.

        The guard runs behind the application's other middlewares. It starts and stops with the application.

        :param prefix: only paths under it need a token; like `except_paths` whole paths. In a sub-application one
            that is relative to it counts too.
        """
        if not isinstance(app, web.Application):
            raise TypeError(f"guard: auth.protect(…) takes a web.Application, unlike {app!r:.100}")
        check = self._check(optional=optional, scopes=scopes, roles=roles, max_age=max_age, api_keys=api_keys)
        app.middlewares.append(_middleware(check, Paths([prefix], except_paths)))
        app.cleanup_ctx.append(self.running)

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Start and stop the guard with an application, in `app.cleanup_ctx.append(auth.running)`."""
        self.guard.start()
        yield
        await asyncio.to_thread(self.guard.stop)

    def _check(self, *, optional: bool, **asked: Any) -> _Check:
        return _Check(self, optional=optional, **asked)

    def _wrap(self, view: Callable[..., Any], check: _Check) -> Callable[..., Any]:
        if not iscoroutinefunction(view):
            raise TypeError(f"guard: an aiohttp handler is an `async def`, unlike {view!r:.100}")

        @functools.wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            await check(_request_of(args))
            return await view(*args, **kwargs)

        return guarded

    def _note_made(self, written: str | None) -> None:
        if written and handling.for_a_request(sys._getframe(2)):  # noqa: SLF001
            raise RuntimeError(_TOO_LATE.format(written))


class AiohttpSent:
    """Is a request of aiohttp's server."""

    __slots__ = ("_request",)

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request

    @property
    def method(self) -> str:
        """Return the method in capitals; nothing for the handshake of a WebSocket."""
        headers = self._request.headers
        return method_of(self._request.method, headers.get("Upgrade"), headers.get("Sec-WebSocket-Key"))

    def values(self, name: str) -> list[bytes]:
        """Return all values of a header, by its name in small letters."""
        wanted = name.encode("latin-1")
        return [value for key, value in self._request.raw_headers if key.lower() == wanted]

    def target(self) -> str:
        """Return path and query as a client writes them."""
        raw = self._request.raw_path
        return raw if raw.startswith("/") else str(self._request.rel_url.raw_path_qs)


class _Check(Check):
    """Checks what a handler needs."""

    async def __call__(self, request: web.BaseRequest) -> None:
        needs, sent = self.needs, AiohttpSent(request)
        try:
            caller = await needs.find_async(_authorization_of(request), sent, optional=self.optional)
        except WatchwordError as error:
            refusal = needs.refusal(error, sent)
            raise _kind(refusal.status)(refusal) from error
        if caller is not None:
            request[_KEPT] = caller


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _middleware(check: _Check, paths: Paths) -> Any:
    preflights = Preflights()
    mounts = _Mounts()

    @web.middleware
    async def guard_middleware(request: web.Request, handler: _Handler) -> web.StreamResponse:
        # A router takes `%2F` for no slash, and would find another route than these paths say.
        if paths.guards_any(request.path, mounts.below(request)) or _ENCODED_SLASH in request.rel_url.raw_path.lower():
            try:
                await check(request)
            except RequestRefused:
                if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                    preflights.log(request.path, _AROUND)
                raise
        return await handler(request)

    return guard_middleware


class _Mounts:
    """Knows under which paths sub-applications are mounted."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], list[str]] = {}

    def below(self, request: web.Request) -> list[str]:
        """Return what a request's path is in each sub-application that it leads through."""
        apps = request.match_info.apps
        if len(apps) == 1:
            return []
        key = tuple(map(id, apps))
        if key not in self._known:
            listed = [each.get_info() for app in apps for each in app.router.resources()]
            inside = set(key)
            self._known[key] = [
                str(each["prefix"]) for each in listed if id(each.get("app")) in inside and "prefix" in each
            ]
        return [request.path.removeprefix(mount) or "/" for mount in self._known[key]]


def _refusing_bare(startup: Callable[[web.Application], Awaitable[None]]) -> Callable[[web.Application], Any]:
    """Wrap the start of an application: a handler that was protected must not be routed without its guard."""

    @functools.wraps(startup)
    async def started(self: web.Application) -> None:
        routed = [each for route in self.router.routes() for each in _handlers(route.handler)]
        for each in routed:
            refuse_bare(each, routed, AiohttpGuard.route_line)
        await startup(self)

    return started


def _handlers(handler: Any) -> Iterable[Any]:
    """Return a handler, or the methods of a `web.View`."""
    if not isclass(handler):
        return [handler.func if isinstance(handler, functools.partial) else handler]
    return [found for name in hdrs.METH_ALL if (found := getattr(handler, name.lower(), None)) is not None]


# aiohttp has no hook for all applications.
setattr(web.Application, "startup", _refusing_bare(web.Application.startup))  # noqa: B010


def _request_of(args: tuple[Any, ...]) -> web.BaseRequest:
    """Return the request of a handler, which is a function, a method, or a method of a `web.View`."""
    for each in args[:2]:
        found = each.request if isinstance(each, web.View) else each
        if isinstance(found, web.BaseRequest):
            return found
    raise TypeError("guard: @auth.required(…) decorates handlers, whose argument is the request, and methods of those")


def _authorization_of(request: web.BaseRequest) -> Authorization:
    values = request.headers.getall("Authorization", ())
    return values[0] if len(values) == 1 else cast(Authorization, values or None)
