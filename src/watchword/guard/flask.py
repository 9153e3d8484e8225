"""The guard in Flask: on a view, a blueprint or the whole application.

auth = FlaskGuard(guard)

@app.get("/orders")
@auth.required(scopes="orders:read")        below the route, so that the guarded view is what gets routed
def orders():
    return {"for": current_caller.user_id}

auth.protect(blueprint, roles="admin")      a group in one line; `auth.protect(app)` for everything
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Final, ParamSpec, cast

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.local import LocalProxy

from watchword.errors import WatchwordError
from watchword.guard.bearer import from_wsgi
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.requirement import Names, Requirement

__all__ = ["FlaskGuard", "current_caller", "find_caller"]

_P = ParamSpec("_P")
# In the environ and not in `g`, which outlives a request where an application context was pushed by hand. No client
# can set it: what clients send stands there under `HTTP_…`.
_KEPT: Final = "watchword.caller"


def find_caller() -> Caller | None:
    """Who sends this request; None where no token was needed and none was shown."""
    return cast("Caller | None", request.environ.get(_KEPT))


def _get_caller() -> Caller:
    caller = find_caller()
    if caller is None:
        raise RuntimeError("This request has no caller: the view is not guarded, or its caller is optional.")
    return caller


current_caller: Caller = cast(Caller, LocalProxy(_get_caller))
"""Who sends this request, in a view that needs a caller."""


class FlaskGuard:
    """Puts a guard before views. Threads and forked workers share nothing but the guard, which is made for it."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def required(
        self, *, scopes: Names = (), roles: Names = (), max_age: int | None = None
    ) -> Callable[[Callable[_P, Any]], Callable[_P, Any]]:
        """Decorates a view (or an `async` one), which is then called for good callers only.

        :param scopes: each of which the token must have.
        :param roles: each of which the user must have.
        :param max_age: seconds that may have passed since the user logged in.
        """
        return _decorator(self.guard.require(scopes=scopes, roles=roles, max_age=max_age), optional=False)

    def optional(
        self, *, scopes: Names = (), roles: Names = (), max_age: int | None = None
    ) -> Callable[[Callable[_P, Any]], Callable[_P, Any]]:
        """As `required`, but a request without a token passes. A bad token is still refused."""
        return _decorator(self.guard.require(scopes=scopes, roles=roles, max_age=max_age), optional=True)

    def protect(
        self,
        target: Flask | Blueprint,
        *,
        scopes: Names = (),
        roles: Names = (),
        max_age: int | None = None,
        optional: bool = False,
        except_endpoints: Iterable[str] = (),
    ) -> None:
        """Guard every view of an application or a blueprint, with those that are added later.

        Flask's own answer to OPTIONS passes, for CORS preflights carry no token; no view runs for it.

        :param except_endpoints: endpoints that are left alone, by their whole names (`static`, `shop.prices`).
        """
        needs, spared = self.guard.require(scopes=scopes, roles=roles, max_age=max_age), frozenset(except_endpoints)

        def before() -> Response | None:
            if request.endpoint in spared or _flask_answers():
                return None
            return _check(needs, optional=optional)

        target.before_request(before)


def _decorator(needs: Requirement, *, optional: bool) -> Callable[[Callable[_P, Any]], Callable[_P, Any]]:
    def decorate(view: Callable[_P, Any]) -> Callable[_P, Any]:
        @functools.wraps(view)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            refused = _check(needs, optional=optional)
            return current_app.ensure_sync(view)(*args, **kwargs) if refused is None else refused

        return guarded

    return decorate


def _check(needs: Requirement, *, optional: bool) -> Response | None:
    """Keep the caller of this request, or give the answer that refuses it."""
    header = from_wsgi(request.environ.get("HTTP_AUTHORIZATION"))
    try:
        caller = needs.check_optional(header) if optional else needs.check(header)
    except WatchwordError as error:
        refusal = needs.refusal(error)
        return Response(refusal.body, refusal.status, list(refusal.headers))
    request.environ[_KEPT] = caller
    return None


def _flask_answers() -> bool:
    """Whether Flask answers by itself, without any view: then there is nothing to guard."""
    return request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False) is True
