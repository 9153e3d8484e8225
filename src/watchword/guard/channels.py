"""Protects Channels consumers, of WebSockets and of HTTP. The guard is that of `watchword.guard.django`.

    URLRouter([
        path("ws/orders", guarded(OrdersConsumer.as_asgi())),                      one consumer
        path("ws/admin", guarded(roles="admin")(AdminConsumer.as_asgi())),
    ])
    "websocket": GuardMiddleware(URLRouter([...]))                                 all of them, or by path

A connection is refused before its consumer runs. In the consumer the caller is `self.scope["caller"]`, and
`self.scope["user"]` is its `CallerUser`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from inspect import isclass
from typing import Any, Final, overload

from watchword.guard import asgi, calls, handling
from watchword.guard.asgi import ASGIApp
from watchword.guard.asked import Names
from watchword.guard.caller_user import CallerUser
from watchword.guard.django import get_guard
from watchword.guard.marks import EVERYONE
from watchword.guard.sockets import Receive, Scope, Send

__all__ = ["CallerUser", "GuardMiddleware", "guarded"]

_IN_PLACE: Final = 'put it in the URLRouter: path("…", guarded(Consumer.as_asgi()))'


class GuardMiddleware:
    """Lets a connection through to `app` with its caller, or refuses it.

    Put it inside `AuthMiddlewareStack`, if there is one, whose `scope["user"]` it replaces where there is a caller.

    :param prefix: only paths under it need a token; like `except_paths` whole paths. In a nested `URLRouter` one that
        is relative to it counts too.
    :param except_paths: paths that need none; `/*` at the end means all below.
    :param scopes: like `roles`, `max_age` and `api_keys` as in `Guard.check`.
    :param optional: whether a connection without a token passes, with caller None. A bad token is still refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        prefix: str = "/",
        except_paths: Iterable[str] = (),
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
        optional: bool = False,
    ) -> None:
        _check_application(app)
        self._path_routing = getattr(app, "_path_routing", False)  # of a URLRouter in a URLRouter
        inner = _with_user(app)
        self._of = functools.lru_cache(maxsize=1)(
            lambda guard: asgi.GuardMiddleware(
                inner, guard, prefix=prefix, except_paths=list(except_paths) or (),
                scopes=scopes, roles=roles, max_age=max_age, api_keys=api_keys, optional=optional,
            )
        )  # fmt: skip
        self._of(get_guard())  # a slip must raise here
        calls.refuse_thrown_away(sys._getframe(), "guarded(…) or GuardMiddleware(…)", _IN_PLACE)  # noqa: SLF001

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self._of(get_guard())(scope, receive, send)


@overload
def guarded(app: ASGIApp, /) -> GuardMiddleware: ...
@overload
def guarded(
    *,
    scopes: Names = EVERYONE,
    roles: Names = EVERYONE,
    max_age: int | None = None,
    api_keys: bool = False,
    optional: bool = False,
) -> Callable[[ASGIApp], GuardMiddleware]: ...
def guarded(app: Any = None, /, **asked: Any) -> Any:
    """Put the guard before one consumer: `guarded(Orders.as_asgi())`, `guarded(roles="admin")(Orders.as_asgi())`.

    :param asked: `scopes`, `roles`, `max_age`, `api_keys`, `optional` as in `GuardMiddleware`.
    """
    if app is not None:
        return GuardMiddleware(app, **asked)
    if handling.for_a_request(sys._getframe(1)):  # noqa: SLF001
        raise RuntimeError(
            "guard: guarded(…) checks nothing where a connection is handled; "
            "write guarded(…)(Consumer.as_asgi()), in the URLRouter"
        )
    unused = GuardMiddleware(_no_application, **asked)  # a slip must raise here
    del unused
    calls.refuse_thrown_away(sys._getframe(), "guarded(…)", _IN_PLACE)  # noqa: SLF001
    return functools.partial(GuardMiddleware, **asked)


async def _no_application(*_: object) -> None: ...


def _check_application(app: object) -> None:
    if isclass(app):
        name = app.__name__
        raise TypeError(f"guard: {name} is a class: write guarded(…)({name}.as_asgi()), in the URLRouter")
    if not callable(app):
        raise TypeError(f'guard: guarded takes a consumer, or what is needed by name: roles="…", unlike {app!r:.100}')


def _with_user(app: ASGIApp) -> ASGIApp:
    async def introduced(scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("caller")
        if caller is not None:
            scope["user"] = CallerUser(caller)
        await app(scope, receive, send)

    return introduced
