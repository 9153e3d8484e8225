"""Protects Starlette routes, or is a backend of Starlette's AuthenticationMiddleware.

Route("/orders", orders, middleware=[guarded(guard, scopes="orders:read")])      one route
Mount("/admin", routes=[…], middleware=[guarded(guard, roles="admin")])          a group
request.state.caller

Starlette(middleware=[authentication(guard)])                                    optional everywhere
@requires(["orders:read", "role:admin"])
request.user.caller
"""

from __future__ import annotations

import sys
from typing import Any, Final, Never, cast

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    UnauthenticatedUser,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response

from watchword.errors import WatchwordError
from watchword.guard import calls, handling, slips
from watchword.guard.asgi import ASGIApp, GuardMiddleware, check_optional, raw_headers, refuse, remember
from watchword.guard.asked import Names
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.marks import EVERYONE
from watchword.guard.own_claims import name_in
from watchword.guard.refusals import Refusal
from watchword.guard.sent import AsgiSent
from watchword.guard.sockets import Receive, Scope, Send, SocketRefused, admit

__all__ = ["CallerUser", "GuardBackend", "GuardMiddleware", "RequestRefused", "authentication", "guarded"]


_HINT: Final = (
    "guard: `guarded(guard)` is middleware: write Route(path, endpoint, middleware=[guarded(guard)]), "
    "or Starlette(middleware=[guarded(guard)]) for all routes; there is no decorator"
)


class _Made(Middleware):
    """Is middleware, and refuses to be a decorator."""

    def __call__(self, *_: object) -> Never:
        raise TypeError(_HINT)

    def __bool__(self) -> Never:
        raise TypeError(f"guard: middleware is neither true nor false, as in `guarded(…) and guarded(…)`. {_HINT}")


def _guarding(app: ASGIApp, guard: Guard, **asked: Any) -> ASGIApp:
    return GuardMiddleware(app, guard, **asked).as_function()


class _Guarded:
    """Makes `guarded` callable, and an error in `middleware=[…]` without parentheses."""

    def __call__(
        self,
        guard: Guard,
        *misplaced: Never,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
        optional: bool = False,
    ) -> Middleware:
        """Return middleware that does as `GuardMiddleware`, for a `Route`, `Mount`, `Router` or `Starlette`."""
        slips.by_name(misplaced, "guarded", _HINT)
        if callable(guard):  # used as a decorator
            raise TypeError(_HINT)
        if handling.for_a_request(sys._getframe(1)):  # noqa: SLF001
            raise RuntimeError(f"guard: guarded(…) checks nothing where it is called for a request. {_HINT}")
        asked: dict[str, Any] = {
            "scopes": scopes,
            "roles": roles,
            "max_age": max_age,
            "api_keys": api_keys,
            "optional": optional,
        }
        unused = _guarding(_no_application, guard, **asked)  # a slip must raise here
        del unused
        calls.refuse_thrown_away(sys._getframe(), "guarded(…)", _HINT)  # noqa: SLF001
        return _Made(cast(Any, _guarding), guard=guard, **asked)

    def __iter__(self) -> Never:
        raise TypeError(_HINT)


async def _no_application(*_: object) -> None: ...


guarded: Final = _Guarded()


def authentication(guard: Guard, *, api_keys: bool = False) -> Middleware:
    """Return AuthenticationMiddleware with a guard, for `Starlette(middleware=[…])`.

    :param api_keys: whether an API key may stand in place of a token, everywhere.
    """
    made = _Made(_Authentication, backend=GuardBackend(guard, api_keys=api_keys), on_error=answer)
    calls.refuse_thrown_away(sys._getframe(), "authentication(…)", "write Starlette(middleware=[…])")  # noqa: SLF001
    return made


class _Authentication(AuthenticationMiddleware):
    """Authenticates. A backend sees no messages, so WebSockets are let in here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await super().__call__(scope, receive, send)
            return
        backend = cast("GuardBackend", self.backend)
        try:
            admitted = await admit(backend.needs, scope, receive, send, optional=True)
        except SocketRefused as refused:
            await refuse(refused.refusal, scope, send, refused.code)
            return
        found = authenticated(admitted.caller)
        scope["auth"], scope["user"] = found or (AuthCredentials(), UnauthenticatedUser())
        remember(scope, admitted.caller)
        await self.app(scope, admitted.receive, admitted.send)


class CallerUser(BaseUser):
    """Stands for a caller as Starlette's `request.user`."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    @property
    def is_authenticated(self) -> bool:
        """Return True: only verified tokens have a `CallerUser`."""
        return True

    @property
    def display_name(self) -> str:
        """Return the claim `name`, where the service's WATCHWORD_CLAIMS has one; else the user's id."""
        return name_in(self.caller.claims.extra) or self.caller.user_id

    @property
    def identity(self) -> str:
        """Return the user's id."""
        return self.caller.user_id


class RequestRefused(AuthenticationError):
    """Says that a token was refused; `refusal` is the answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class GuardBackend(AuthenticationBackend):
    """Authenticates for AuthenticationMiddleware. Without a token the user is an UnauthenticatedUser.

    The credentials are `authenticated`, the token's scopes, and roles as `role:<name>`. Scopes `role:…` are left out:
    no client can get a role by asking for a scope.
    """

    def __init__(self, guard: Guard, *, api_keys: bool = False) -> None:
        self.needs = slips.needs(guard, "authentication", EVERYONE, EVERYONE, None, api_keys)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Return credentials and user. :raises RequestRefused: for a bad token."""
        try:
            caller = await check_optional(self.needs, conn.scope)
        except WatchwordError as error:
            raise RequestRefused(self.needs.refusal(error, AsgiSent(conn.scope))) from error
        remember(conn.scope, caller)
        return authenticated(caller)


def authenticated(caller: Caller | None) -> tuple[AuthCredentials, BaseUser] | None:
    """Return Starlette's credentials and user for a caller."""
    return None if caller is None else (AuthCredentials(credentials(caller)), CallerUser(caller))


def credentials(caller: Caller) -> list[str]:
    """Return the names for `requires`."""
    scopes = [scope for scope in caller.scopes if not scope.startswith("role:") and scope != "authenticated"]
    return ["authenticated", *scopes, *(f"role:{role}" for role in caller.roles)]


def answer(_: HTTPConnection, error: Exception) -> Response:
    """Answer this backend's errors, for `on_error`."""
    if not isinstance(error, RequestRefused):
        raise error
    return response(error.refusal)


def response(refusal: Refusal) -> Response:
    """Return a refusal as a response."""
    made = Response(refusal.body, refusal.status)
    made.raw_headers[:] = raw_headers(refusal)
    return made
