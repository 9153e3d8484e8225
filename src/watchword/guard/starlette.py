"""Protects Starlette routes and groups of routes, or serves as a backend of Starlette's AuthenticationMiddleware.

Route("/orders", orders, middleware=[guarded(guard, scopes="orders:read")])      one route
Mount("/admin", routes=[…], middleware=[guarded(guard, roles="admin")])          a group
request.state.caller                                                             who asks

Starlette(middleware=[authentication(guard)])                                    the caller is optional everywhere
@requires(["orders:read", "role:admin"])                                         Starlette's own decorator
request.user.caller
"""

from __future__ import annotations

import sys
from typing import Any, Final, Never

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response

from watchword.errors import WatchwordError
from watchword.guard import misuse, slips
from watchword.guard.asgi import GuardMiddleware, check_optional, raw_headers, remember
from watchword.guard.asked import Names
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.marks import EVERYONE
from watchword.guard.refusals import Refusal

__all__ = ["CallerUser", "GuardBackend", "GuardMiddleware", "RequestRefused", "authentication", "guarded"]


_HINT: Final = (
    "guard: `guarded(guard)` is middleware: write Route(path, endpoint, middleware=[guarded(guard)]), "
    "or Starlette(middleware=[guarded(guard)]) for all routes; there is no decorator"
)


class _Made(Middleware):
    """Is middleware for a list, and refuses to be a decorator."""

    def __call__(self, *_: object) -> Never:
        """Refuse. :raises TypeError: with the line to write."""
        raise TypeError(_HINT)


class _Guarded:
    """Makes `guarded` a function to call, and an error where it stands in `middleware=[…]` without parentheses."""

    def __call__(
        self,
        guard: Guard,
        *misplaced: Never,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        optional: bool = False,
    ) -> Middleware:
        """Return middleware for a `Route`, `Mount`, `Router` or `Starlette`; see `GuardMiddleware`."""
        slips.by_name(misplaced, "guarded", _HINT)
        if callable(guard):  # which it is as a decorator
            raise TypeError(_HINT)
        if slips.for_a_request(sys._getframe(1)):  # noqa: SLF001
            raise RuntimeError(f"guard: guarded(…) checks nothing where it is called for a request. {_HINT}")
        asked: dict[str, Any] = {"scopes": scopes, "roles": roles, "max_age": max_age, "optional": optional}
        GuardMiddleware(_no_application, guard, **asked)  # so that a slip shows here; Starlette may make it much later
        return _Made(GuardMiddleware, guard=guard, **asked)

    def __iter__(self) -> Never:
        raise TypeError(_HINT)


async def _no_application(*_: object) -> None: ...


guarded: Final = _Guarded()


def authentication(guard: Guard) -> Middleware:
    """Return Starlette's AuthenticationMiddleware with a guard behind it, for `Starlette(middleware=[…])`."""
    return _Made(AuthenticationMiddleware, backend=GuardBackend(guard), on_error=answer)


class CallerUser(BaseUser):
    """Stands for a caller as Starlette's `request.user`."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    @property
    def is_authenticated(self) -> bool:
        """Return True: there is a `CallerUser` for verified tokens only."""
        return True

    @property
    def display_name(self) -> str:
        """Return the user's id, since a token has no name."""
        return self.caller.user_id

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
    """Tells AuthenticationMiddleware who sends a request; without a token, Starlette's UnauthenticatedUser.

    The credentials are `authenticated`, the token's scopes, and the user's roles as `role:<name>`. A scope of the
    token that begins with `role:` is left out, so that no client can give itself a role by asking for a scope.
    """

    def __init__(self, guard: Guard) -> None:
        self._needs = misuse.a_guard(guard, "authentication").require()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Return credentials and user. :raises RequestRefused: for a bad token."""
        try:
            caller = await check_optional(self._needs, conn.scope)
        except WatchwordError as error:
            raise RequestRefused(self._needs.refusal(error)) from error
        remember(conn.scope, caller)
        return None if caller is None else (AuthCredentials(credentials(caller)), CallerUser(caller))


def credentials(caller: Caller) -> list[str]:
    """Return what `requires` compares."""
    scopes = [scope for scope in caller.scopes if not scope.startswith("role:") and scope != "authenticated"]
    return ["authenticated", *scopes, *(f"role:{role}" for role in caller.roles)]


def answer(_: HTTPConnection, error: Exception) -> Response:
    """Answer this backend's errors, as the `on_error` of AuthenticationMiddleware."""
    if not isinstance(error, RequestRefused):
        raise error
    return response(error.refusal)


def response(refusal: Refusal) -> Response:
    """Return a refusal as a Starlette response."""
    made = Response(refusal.body, refusal.status)
    made.raw_headers[:] = raw_headers(refusal)
    return made
