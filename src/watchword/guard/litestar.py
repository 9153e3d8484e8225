"""Protects Litestar routes by a plugin and Litestar's own guards.

auth = LitestarGuard(guard)

@get("/orders", guards=[auth.required(scopes="orders:read")])
async def orders(caller: Caller) -> dict[str, str]: ...

Router("/admin", route_handlers=[…], guards=[auth.required(roles="admin")])       a group in one line
Litestar([orders], plugins=[auth])
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from functools import partial, wraps
from inspect import isawaitable
from typing import Any, Final, Generic, Never, TypeVar, cast

from litestar import Request, Response, WebSocket
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException, ImproperlyConfiguredException, WebSocketException
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Components, OAuthFlow, OAuthFlows, SecurityScheme
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute

from watchword.errors import WatchwordError
from watchword.guard import calls, handling, misuse, slips
from watchword.guard.asgi import GuardMiddleware, check, check_optional, remember
from watchword.guard.asked import Names
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.marks import EVERYONE
from watchword.guard.refusals import PROBLEM, TOLD, Problem, Refusal
from watchword.guard.requirement import Requirement
from watchword.guard.seen import SeenCallers
from watchword.guard.sent import AsgiSent
from watchword.guard.sockets import POLICY_VIOLATION, Scope, SocketRefused, admit

__all__ = ["LitestarGuard", "RequestRefused", "answer"]

_SCHEME: Final = "Watchword"
_BEARER: Final = "AccessToken"
_NOT_IN_BODY: Final = frozenset({"content-type", "content-length"})

_HINT: Final = (
    "{handler} asks for a `caller` and there is none: give it guards=[auth.required()], "
    "or where the caller is optional annotate `Caller | None`"
)


_NO_GUARD: Final = "what stands in `guards` lets all in or none; write guards=[auth.required()]"
_NO_PROVIDER: Final = "the plugin provides `caller`; write guards=[auth.required()], and nothing in `dependencies`"
_NO_TRUTH: Final = (
    "guard: auth.required() is neither true nor false; write one with all that is needed, or two in `guards`"
)
_RESPONSES: Final = {
    int(status): ResponseSpec(Problem, generate_examples=False, description=text, media_type=PROBLEM)
    for status, text in TOLD.items()
}


class RequestRefused(HTTPException):
    """Says that a guard refused a request; `refusal` is the answer."""

    def __init__(self, refusal: Refusal) -> None:
        headers = {name: value for name, value in refusal.headers if name not in _NOT_IN_BODY}
        super().__init__(detail=refusal.code, status_code=refusal.status, headers=headers)
        self.refusal = refusal


class _NoProvider:
    """Refuses to be read as a provider, which Litestar calls only for a handler that takes what it provides."""

    def __get__(self, *_: object) -> Never:
        raise TypeError(f"guard: {_NO_PROVIDER}")


class Required:
    """Checks connections, in `guards=[…]` of a handler, controller, router or application."""

    optional = False

    def __init__(self, needs: Requirement) -> None:
        self.needs = needs

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Let a connection pass with its caller. :raises RequestRefused: there is no good one."""
        scope = cast(Scope, connection.scope)
        if isinstance(connection, WebSocket):
            caller = await self._admit(connection, scope)
        else:
            try:
                caller = await self._check(scope)
            except WatchwordError as error:
                raise RequestRefused(self.needs.refusal(error, AsgiSent(scope))) from error
        remember(scope, caller)
        scope["user"] = scope["auth"] = caller

    def __bool__(self) -> Never:
        """Refuse to count as true: `auth.required(…) and auth.required(…)` would be the second alone."""
        raise TypeError(_NO_TRUTH)

    __signature__ = _NoProvider()

    def __deepcopy__(self, _: object) -> Required:
        return self  # Litestar copies handlers; a replaced guard must reach this object

    async def _check(self, scope: Scope) -> Caller | None:
        return await check(self.needs, scope)

    async def _admit(self, socket: WebSocket[Any, Any, Any], scope: Scope) -> Caller | None:
        """Let a WebSocket in, whose handler receives and sends by what the guard has put between."""
        receive, send, state = cast(Any, socket.receive), cast(Any, socket.send), socket.connection_state
        try:
            admitted = await admit(self.needs, scope, receive, send, optional=self.optional)
        except SocketRefused as refused:
            code = refused.code or POLICY_VIOLATION
            raise WebSocketException(detail=refused.refusal.code, code=code) from refused.error
        if admitted.receive is not receive:
            socket.receive = socket.receive_wrapper(cast(Any, admitted.receive))
            socket.connection_state = state  # the handler has received nothing yet
        socket.send = cast(Any, admitted.send)
        return admitted.caller


class Optional(Required):
    """Checks likewise, but lets a request without a token pass. A bad token is still refused."""

    optional = True

    async def _check(self, scope: Scope) -> Caller | None:
        return await check_optional(self.needs, scope)


_R = TypeVar("_R", bound=Required)


class _Maker(slips.ToCall, Generic[_R]):
    """Makes guards for `guards=[…]`: `auth.required` and `auth.optional`."""

    def __init__(self, make: Callable[..., _R], name: str) -> None:
        super().__init__(f"guard: `auth.{name}` has to be called: write guards=[auth.{name}()]")
        self._make = make
        self._name = name

    def __call__(
        self,
        *misplaced: Never,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
    ) -> _R:
        """Return a guard for `guards=[…]`.

        :param scopes: like `roles`, `max_age` and `api_keys` as in `Guard.check`.
        """
        slips.by_name(misplaced, f"auth.{self._name}", self.hint)
        if _judging.get():
            raise ImproperlyConfiguredException(f"guard: auth.{self._name}() stands inside of a guard: {_NO_GUARD}")
        if handling.for_a_request(sys._getframe(1)):  # noqa: SLF001
            raise ImproperlyConfiguredException(f"guard: auth.{self._name}() checks nothing in a request: {_NO_GUARD}")
        made = self._make(scopes, roles, max_age, api_keys)
        calls.refuse_thrown_away(sys._getframe(), f"auth.{self._name}()", f"write guards=[auth.{self._name}()]")  # noqa: SLF001
        return made


class LitestarGuard(InitPlugin, ReceiveRoutePlugin):
    """Runs the guard, answers refusals, provides `caller`, and completes the OpenAPI document.

    `guards=[auth.required(scopes=…, roles=…, max_age=…)]` passes a connection with its caller, or refuses it;
    `auth.optional(…)` also passes one without a token, with caller None.

    :param token_url: where the OpenAPI pages log in; by default the issuer's `/token`.
    """

    def __init__(self, guard: Guard, *, token_url: str | None = None) -> None:
        self._made: list[Required] = []
        self.guard = guard
        self._token_url = token_url or f"{guard.issuer.rstrip('/')}/token"
        self._scopes: dict[str, str] = {}
        self.required: _Maker[Required] = _Maker(partial(self._make, Required), "required")
        self.optional: _Maker[Optional] = _Maker(partial(self._make, Optional), "optional")

    @property
    def guard(self) -> Guard:
        """Return the guard that all routes ask. Tests may replace it."""
        return self._guard

    @guard.setter
    def guard(self, guard: Guard) -> None:
        self._guard = misuse.a_guard(guard, "LitestarGuard")
        for each in self._made:
            each.needs = replace(each.needs, guard=guard)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add start, stop, answers and `caller` to the application."""
        app_config.on_startup.append(self._start)
        app_config.on_shutdown.append(self._stop)
        handlers = cast("dict[Any, Any]", app_config.exception_handlers)
        handlers.setdefault(RequestRefused, answer)
        app_config.dependencies.setdefault("caller", Provide(provide_caller, sync_to_thread=False))
        if app_config.openapi_config is not None:
            self._describe(app_config.openapi_config)
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Refuse slips in a route, and mark it in the OpenAPI document."""
        for handler in getattr(route, "route_handlers", None) or [cast(Any, route).route_handler]:
            _refuse_slips(handler)
            if isinstance(handler, HTTPRouteHandler):
                _mark(handler)

    def __deepcopy__(self, _: object) -> LitestarGuard:
        return self  # as `Required`

    def _start(self) -> None:
        self.guard.start()

    def _stop(self) -> None:
        self.guard.stop()

    def _make(self, kind: type[_R], scopes: Names, roles: Names, max_age: int | None, api_keys: bool) -> _R:
        needs = slips.needs(self.guard, "LitestarGuard", scopes, roles, max_age, api_keys)
        for scope in sorted(needs.asked.scopes):
            self._scopes.setdefault(scope, "")
        self._made.append(made := kind(needs))
        return made

    def _describe(self, config: OpenAPIConfig) -> None:
        flow = OAuthFlow(token_url=self._token_url, refresh_url=self._token_url, scopes=self._scopes)
        ours = Components(
            security_schemes={
                _SCHEME: SecurityScheme(type="oauth2", flows=OAuthFlows(password=flow)),
                _BEARER: SecurityScheme(type="http", scheme="bearer", bearer_format="JWT"),
            }
        )
        theirs = config.components if isinstance(config.components, list) else [config.components]
        config.components = [*theirs, ours]


def _refuse_slips(handler: BaseRouteHandler) -> None:
    """Look for slips in place of `auth.required()`."""
    given = [getattr(guard, "func", guard) for guard in handler.resolve_guards()]
    if any(map(_is_slip, given)):
        raise ImproperlyConfiguredException(f"{handler}: {_NO_GUARD}")
    for each in (*given, getattr(handler, "fn", None)):
        slips.refuse_not_called(each)
    resolved = handler.resolve_guards()
    resolved[:] = [each if isinstance(each, Required | _Watched) else _Watched(each) for each in resolved]
    provided = [each.dependency for each in handler.resolve_dependencies().values()]
    if any(isinstance(each, Required) or _is_slip(each) for each in provided):
        raise ImproperlyConfiguredException(f"{handler}: {_NO_PROVIDER}")


def _refusing_always(authorize: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what runs a handler's guards: those of an application without the plugin are watched, too."""

    @wraps(authorize)
    async def authorized(self: BaseRouteHandler, connection: Any) -> None:
        if not all(isinstance(each, Required | _Watched) for each in self.resolve_guards()):
            _refuse_slips(self)
        await authorize(self, connection)

    return authorized


# Litestar has no hook for all applications.
setattr(BaseRouteHandler, "authorize_connection", _refusing_always(BaseRouteHandler.authorize_connection))  # noqa: B010


class _Watched:
    """Wraps the application's own Litestar guard: it could make one of ours and never await it."""

    def __init__(self, guard: Any) -> None:
        self.func = getattr(guard, "func", guard)
        self._guard = guard

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        mark = _judging.set(True)
        try:
            given = await self._guard(connection, handler)
        finally:
            _judging.reset(mark)
        if isawaitable(given):
            cast(Any, given).close()
        if isawaitable(given) or isinstance(given, Required | Refusal | WatchwordError) or _is_slip(given):
            raise ImproperlyConfiguredException(f"{handler}: {_NO_GUARD}")


_judging: ContextVar[bool] = ContextVar("watchword.guard.litestar", default=False)


def _is_slip(given: Any) -> bool:
    owner = getattr(given, "__self__", given)
    if isinstance(owner, type):
        return issubclass(owner, (*_NEVER, Required))
    return isinstance(owner, _NEVER)


def _mark(handler: HTTPRouteHandler) -> None:
    guards = [guard for guard in handler.resolve_guards() if isinstance(guard, Required)]
    if not guards:
        return
    handler.responses = {**_RESPONSES, **(handler.responses or {})}
    if handler.security is not None:
        return
    scopes = sorted(frozenset[str]().union(*(guard.needs.asked.scopes for guard in guards)))
    handler.security = [{_SCHEME: scopes}, {_BEARER: []}]
    if all(guard.optional for guard in guards):
        handler.security.insert(0, {})


_NEVER: Final = (Guard, Requirement, SeenCallers, LitestarGuard, _Maker, GuardMiddleware, Caller)


def provide_caller(request: ASGIConnection[Any, Any, Any, Any]) -> Caller | None:
    """Return the caller, as the dependency `caller`. Litestar calls a WebSocket `request` here too.

    :raises ImproperlyConfiguredException: there is none, and the handler does not take None.
    """
    caller = cast("Caller | None", request.scope.get("caller"))
    if caller is None and _needs_one(request.route_handler):
        hint = _HINT.format(handler=request.route_handler)
        logging.getLogger("watchword.guard").error(hint)
        raise ImproperlyConfiguredException(hint)
    return caller


def _needs_one(handler: BaseRouteHandler) -> bool:
    wanted = handler.parsed_fn_signature.parameters.get("caller")
    return wanted is not None and wanted.is_subclass_of(Caller)


def answer(request: Request[Any, Any, Any], error: RequestRefused) -> Response[bytes]:
    """Answer with the problem document."""
    refusal = error.refusal
    headers = {name: value for name, value in refusal.headers if name not in _NOT_IN_BODY}
    body = b"" if request.method == "HEAD" else refusal.body
    return Response(body, status_code=refusal.status, headers=headers, media_type=dict(refusal.headers)["content-type"])
