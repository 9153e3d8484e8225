"""The guard in Litestar: a plugin, and what Litestar itself calls guards.

auth = LitestarGuard(guard)

@get("/orders", guards=[auth.required(scopes="orders:read")])
async def orders(caller: Caller) -> dict[str, str]: ...

Router("/admin", route_handlers=[…], guards=[auth.required(roles="admin")])       a group in one line
Litestar([orders], plugins=[auth])
"""

from __future__ import annotations

import logging
from typing import Any, Final, cast

from litestar import Request, Response
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException, ImproperlyConfiguredException, WebSocketException
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, OAuthFlow, OAuthFlows, SecurityScheme
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute

from watchword.errors import WatchwordError
from watchword.guard.asgi import POLICY_VIOLATION, Scope, check, check_optional, remember
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.refusals import Refusal
from watchword.guard.requirement import Names, Requirement

__all__ = ["LitestarGuard", "RequestRefused", "answer"]

_SCHEME: Final = "Watchword"
_BEARER: Final = "AccessToken"
_NOT_IN_BODY: Final = frozenset({"content-type", "content-length"})

_HINT: Final = (
    "{handler} asks for a `caller` and there is none: give it guards=[auth.required()], "
    "or where the caller is optional annotate `Caller | None`"
)


class RequestRefused(HTTPException):
    """A request that the guard turned down; `refusal` is the whole answer."""

    def __init__(self, refusal: Refusal) -> None:
        headers = {name: value for name, value in refusal.headers if name not in _NOT_IN_BODY}
        super().__init__(detail=refusal.code, status_code=refusal.status, headers=headers)
        self.refusal = refusal


class Required:
    """A Litestar guard: for `guards=[…]` of a handler, a controller, a router or the application."""

    optional = False

    def __init__(self, needs: Requirement) -> None:
        self.needs = needs

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Let the connection pass, with its caller. :raises RequestRefused: there is none, or not one that may."""
        scope = cast(Scope, connection.scope)
        try:
            caller = await self._check(scope)
        except WatchwordError as error:
            refusal = self.needs.refusal(error)
            if scope["type"] == "websocket":
                raise WebSocketException(detail=refusal.code, code=POLICY_VIOLATION) from error
            raise RequestRefused(refusal) from error
        remember(scope, caller)
        scope["user"] = scope["auth"] = caller

    def __deepcopy__(self, _: object) -> Required:
        return self  # Litestar copies handlers with all that they hold; this never changes, and a guard is one

    async def _check(self, scope: Scope) -> Caller | None:
        return await check(self.needs, scope)


class Optional(Required):
    """As `Required`, but a request without a token passes. A bad token is still refused."""

    optional = True

    async def _check(self, scope: Scope) -> Caller | None:
        return await check_optional(self.needs, scope)


class LitestarGuard(InitPlugin, ReceiveRoutePlugin):
    """The plugin: starts and stops the guard, answers refusals, provides `caller`, and completes the OpenAPI document.

    :param token_url: where the API's documentation logs in; the issuer's `/token` if not given.
    """

    def __init__(self, guard: Guard, *, token_url: str | None = None) -> None:
        self.guard = guard
        self._token_url = token_url or f"{guard.issuer.rstrip('/')}/token"
        self._scopes: dict[str, str] = {}

    def required(self, *, scopes: Names = (), roles: Names = (), max_age: int | None = None) -> Required:
        """What to put into `guards=[…]`.

        :param scopes: each of which the token must have.
        :param roles: each of which the user must have.
        :param max_age: seconds that may have passed since the user logged in.
        """
        return Required(self._needs(scopes, roles, max_age))

    def optional(self, *, scopes: Names = (), roles: Names = (), max_age: int | None = None) -> Optional:
        """As `required`, but a request without a token passes, with None for a caller."""
        return Optional(self._needs(scopes, roles, max_age))

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Litestar asks while the application is made."""
        app_config.on_startup.append(self.guard.start)
        app_config.on_shutdown.append(self.guard.stop)
        handlers = cast("dict[Any, Any]", app_config.exception_handlers)
        handlers.setdefault(RequestRefused, answer)
        app_config.dependencies.setdefault("caller", Provide(provide_caller, sync_to_thread=False))
        if app_config.openapi_config is not None:
            self._describe(app_config.openapi_config)
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Litestar shows each route: those that are guarded are marked so in the OpenAPI document."""
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                _mark(handler)

    def _needs(self, scopes: Names, roles: Names, max_age: int | None) -> Requirement:
        needs = self.guard.require(scopes=scopes, roles=roles, max_age=max_age)
        for scope in sorted(needs.scopes):
            self._scopes.setdefault(scope, "")
        return needs

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


def _mark(handler: HTTPRouteHandler) -> None:
    guards = [guard for guard in handler.resolve_guards() if isinstance(guard, Required)]
    if not guards or handler.security is not None:
        return
    scopes = sorted(frozenset[str]().union(*(guard.needs.scopes for guard in guards)))
    handler.security = [{_SCHEME: scopes}, {_BEARER: []}]
    if all(guard.optional for guard in guards):
        handler.security.append({})


def provide_caller(request: ASGIConnection[Any, Any, Any, Any]) -> Caller | None:
    """The caller, as the dependency `caller` of handlers; of a WebSocket's too, which is a `request` to Litestar here.

    :raises ImproperlyConfiguredException: there is none, and the handler does not take None. Litestar answers 500, as
        it would in any case, but without saying why.
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
    """The refusal as a problem document."""
    refusal = error.refusal
    headers = {name: value for name, value in refusal.headers if name not in _NOT_IN_BODY}
    body = b"" if request.method == "HEAD" else refusal.body
    return Response(body, status_code=refusal.status, headers=headers, media_type=dict(refusal.headers)["content-type"])
