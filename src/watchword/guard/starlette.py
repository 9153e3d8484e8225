"""The guard in Starlette: per route or group of routes, or as a backend of Starlette's own AuthenticationMiddleware.

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
    """Middleware for a list, which someone may take for a decorator."""

    def __call__(self, *_: object) -> Never:
        """Nothing. :raises TypeError: with the line to write."""
        raise TypeError(_HINT)


class _Guarded:
    """What `guarded` is: to be called, and an error where Starlette finds it as it is in `middleware=[…]`."""

    def __call__(
        self,
        guard: Guard,
        *misplaced: Never,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        optional: bool = False,
    ) -> Middleware:
        """Return what a `Route`, `Mount`, `Router` or `Starlette` takes as `middleware=[…]`; as `GuardMiddleware`."""
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
    """Starlette's AuthenticationMiddleware with a guard behind it: what `Starlette(middleware=[…])` takes."""
    return _Made(AuthenticationMiddleware, backend=GuardBackend(guard), on_error=answer)


class CallerUser(BaseUser):
    """A caller as Starlette's `request.user`."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    @property
    def is_authenticated(self) -> bool:
        """Always: there is a `CallerUser` for verified tokens only."""
        return True

    @property
    def display_name(self) -> str:
        """The user's id, since a token holds no name."""
        return self.caller.user_id

    @property
    def identity(self) -> str:
        """The user's id."""
        return self.caller.user_id


class RequestRefused(AuthenticationError):
    """A token that is not accepted; `refusal` is the answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class GuardBackend(AuthenticationBackend):
    """Who sends a request, for Starlette's AuthenticationMiddleware. No token: Starlette's UnauthenticatedUser.

    The credentials are `authenticated`, the token's scopes, and the user's roles as `role:<name>`. A scope of the
    token that begins with `role:` is left out, so that no client can give itself a role by asking for a scope.
    """

    def __init__(self, guard: Guard) -> None:
        self._needs = misuse.a_guard(guard, "authentication").require()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Credentials and user. :raises RequestRefused: for a token that is not accepted."""
        try:
            caller = await check_optional(self._needs, conn.scope)
        except WatchwordError as error:
            raise RequestRefused(self._needs.refusal(error)) from error
        remember(conn.scope, caller)
        return None if caller is None else (AuthCredentials(credentials(caller)), CallerUser(caller))


def credentials(caller: Caller) -> list[str]:
    """What `requires` compares."""
    scopes = [scope for scope in caller.scopes if not scope.startswith("role:") and scope != "authenticated"]
    return ["authenticated", *scopes, *(f"role:{role}" for role in caller.roles)]


def answer(_: HTTPConnection, error: Exception) -> Response:
    """The `on_error` of AuthenticationMiddleware, for this backend's errors."""
    if not isinstance(error, RequestRefused):
        raise error
    return response(error.refusal)


def response(refusal: Refusal) -> Response:
    """A refusal as a Starlette response."""
    made = Response(refusal.body, refusal.status)
    made.raw_headers[:] = raw_headers(refusal)
    return made
