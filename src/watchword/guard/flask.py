"""Protects Flask views: one, a blueprint or the whole application.

auth = FlaskGuard(guard)

@app.get("/orders")
@auth.required(scopes="orders:read")        below the route
def orders():
    return {"for": current_caller.user_id}

auth.protect(blueprint, roles="admin")      a group; `auth.protect(app)` for everything

A refusal is raised as an HTTPException, so that no decorator takes it for a result and `errorhandler(401)` works.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from inspect import unwrap
from typing import Any, Final, Never, ParamSpec, cast
from weakref import WeakKeyDictionary

import msgspec
from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    has_request_context,
    request,
    request_finished,
    request_started,
)
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.local import LocalProxy

from watchword.errors import WatchwordError
from watchword.guard import misuse
from watchword.guard.asked import Names
from watchword.guard.bearer import from_wsgi
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.marks import EVERYONE
from watchword.guard.refusals import Refusal

__all__ = ["FlaskGuard", "RequestRefused", "current_caller", "find_caller"]

_P = ParamSpec("_P")
# In the environ, since `g` can outlive a request. No client can set it: headers begin with `HTTP_`.
_KEPT: Final = "watchword.caller"
_OURS: Final = "__watchword_guard__"
_UNUSED: Final = "watchword.unused"
_ABOVE: Final = "write it as a decorator: @auth.required() above `def`, below the route; or auth.protect(app)"
_CHECKS: Final = "__watchword_checks__"
_CLASS_LINE: Final = "`decorators = [{}(…)]` inside it (flask-restx: `method_decorators`)"


def find_caller() -> Caller | None:
    """Return this request's caller; None where no token was needed or sent."""
    return cast("Caller | None", request.environ.get(_KEPT))


def _get_caller() -> Caller:
    caller = find_caller()
    if caller is None:
        raise RuntimeError("This request has no caller: the view is not guarded, or its caller is optional.")
    return caller


current_caller: Caller = cast(Caller, LocalProxy(_get_caller))
"""This request's caller, in a view that needs one."""


class FlaskGuard:
    """Puts a guard before views. Threads and forked workers may share it."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    @property
    def guard(self) -> Guard:
        """Return the guard that all views ask. Tests may replace it."""
        return self._guard

    @guard.setter
    def guard(self, guard: Guard) -> None:
        self._guard = misuse.a_guard(guard, "FlaskGuard")

    def required(
        self, *misplaced: Never, scopes: Names = EVERYONE, roles: Names = EVERYONE, max_age: int | None = None
    ) -> Callable[[Callable[_P, Any]], Callable[_P, Any]]:
        """Decorate a view, sync or async, to run for good callers only.

        :param scopes: like `roles` and `max_age` as in `Guard.check`.
        """
        misuse.no_positional(misplaced, "auth.required")
        _made_for_a_request("auth.required")
        return _decorator("auth.required", _Check(self, optional=False, scopes=scopes, roles=roles, max_age=max_age))

    def optional(
        self, *misplaced: Never, scopes: Names = EVERYONE, roles: Names = EVERYONE, max_age: int | None = None
    ) -> Callable[[Callable[_P, Any]], Callable[_P, Any]]:
        """Decorate likewise, but let a request without a token pass. A bad token is still refused."""
        misuse.no_positional(misplaced, "auth.optional")
        _made_for_a_request("auth.optional")
        return _decorator("auth.optional", _Check(self, optional=True, scopes=scopes, roles=roles, max_age=max_age))

    def protect(
        self,
        target: Flask | Blueprint,
        *,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        optional: bool = False,
        except_endpoints: Iterable[str] = (),
    ) -> None:
        """Protect every view of an application or a blueprint, also later ones.

        Flask's own answer to OPTIONS passes: CORS preflights have no token.

        :param except_endpoints: whole names of unprotected endpoints (`static`, `shop.prices`).
        """
        if not isinstance(target, Flask | Blueprint):
            raise TypeError(f"guard: auth.protect(…) takes an application or a blueprint, unlike {target!r}")
        optional = misuse.a_switch(optional, "optional")
        check = _Check(self, optional=optional, scopes=scopes, roles=roles, max_age=max_age)
        spared = misuse.some_texts(except_endpoints, "except_endpoints")

        def before() -> None:
            if request.endpoint not in spared and not _flask_answers():
                check()

        target.before_request(before)


class RequestRefused(HTTPException):
    """Says that a guard refused a request; `refusal` is the answer, `data` its problem document.

    It is also of werkzeug's class for its status, so that Flask finds those handlers.
    """

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.data: dict[str, Any] = msgspec.json.decode(refusal.body)  # flask-restx answers with it
        super().__init__(self.data["detail"], Response(refusal.body, refusal.status, list(refusal.headers)))
        # For Flask-SocketIO's clients.
        self.error_args = {"message": self.data["detail"], "data": self.data}


@functools.cache
def _kind(status: int, *more: type[Exception]) -> type[RequestRefused]:
    return type("RequestRefused", (RequestRefused, default_exceptions[status], *more), {})


def _refused(refusal: Refusal) -> RequestRefused:
    # Flask-SocketIO refuses a connection only for its own error. After another the client may be in rooms already.
    socketio = sys.modules.get("socketio.exceptions")
    more = (socketio.ConnectionRefusedError,) if socketio is not None else ()
    return _kind(refusal.status, *more)(refusal)


class _Check:
    """Checks what a view needs."""

    def __init__(self, auth: FlaskGuard, *, optional: bool, **asked: Any) -> None:
        self._auth = auth
        self._optional = optional
        self._needs = auth.guard.require(**asked)

    def __call__(self) -> None:
        needs, guard = self._needs, self._auth.guard
        if needs.guard is not guard:
            self._needs = needs = replace(needs, guard=guard)
        header = from_wsgi(request.environ.get("HTTP_AUTHORIZATION"))
        try:
            caller = needs.check_optional(header) if self._optional else needs.check(header)
        except WatchwordError as error:
            raise _refused(needs.refusal(error)) from error
        request.environ[_KEPT] = caller


def _decorator(written: str, check: _Check) -> Callable[[Callable[_P, Any]], Callable[_P, Any]]:
    def decorate(*given: Any) -> Callable[_P, Any]:
        view = misuse.a_view(given, written, for_class=_CLASS_LINE.format(written))
        _made_for_a_request(None)
        frame = sys._getframe(1)  # noqa: SLF001  the application's
        if misuse.routed_already(view, frame):
            raise _above_the_route(view, written)

        @functools.wraps(view)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            check()
            return current_app.ensure_sync(view)(*args, **kwargs)

        # Decorators above copy it.
        setattr(guarded, _CHECKS, (guarded, *getattr(view, _CHECKS, (None,))[1:], check))
        with suppress(TypeError):  # not weakly referable
            _bare[view] = written
        return guarded

    setattr(decorate, _OURS, True)
    return decorate


_bare: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()
"""The protected functions, each with its decorator. None may be routed."""


def _made_for_a_request(written: str | None) -> None:
    """Note a decorator made during a request, until it decorates something."""
    if has_request_context():
        request.environ[_UNUSED] = written


def _check_last(_: Flask, **__: Any) -> None:
    """Refuse the answer of code that called a decorator in place of a check."""
    if written := request.environ.pop(_UNUSED, None):
        raise RuntimeError(f"guard: {written}() was called for a request, where it checks nothing; {_ABOVE}")


request_finished.connect(_check_last)


def _check_first(app: Flask, **_: Any) -> None:
    """Check a view before the decorators above its guard, such as a cache. Refuse a routed bare view."""
    view = app.view_functions.get(request.endpoint or "")
    # A decorator above may answer a preflight, which has no token.
    if view is None or request.method == "OPTIONS":
        return
    view_class = getattr(view, "view_class", None)
    _refuse_beside(view_class)
    for each in (view, _method_of(view_class)):
        guarded, *checks = getattr(each, _CHECKS, (each,))
        if each is not guarded:
            for check in checks:
                check()
    if view in _bare and not any(_leads_to(other, view) for other in app.view_functions.values()):
        raise _above_the_route(view, _bare[view])


request_started.connect(_check_first)


def _refuse_beside(view_class: Any) -> None:
    """Look for our decorators where Flask does not."""
    for name in ("decorator", "method_decorators"):
        given = getattr(view_class, name, ())
        given = (given.values() if isinstance(given, dict) else given) if isinstance(given, Iterable) else (given,)
        if any(getattr(each, _OURS, False) for each in given) and not _reads(view_class, name):
            raise RuntimeError(f"guard: {view_class.__name__}.{name} protects nothing; write `decorators = […]`")


def _reads(view_class: Any, name: str) -> bool:
    """Return whether a class reads this name, as flask-restx's does."""
    calls = getattr(unwrap(view_class.dispatch_request), "__code__", None)
    return calls is None or name in calls.co_names


def _method_of(view_class: Any) -> Any:
    name = request.method.lower()
    return getattr(view_class, name, None) or (getattr(view_class, "get", None) if name == "head" else None)


def _leads_to(other: Any, view: Any) -> bool:
    """Return whether `other` wraps `view`, which is then routed twice on purpose."""
    while (other := getattr(other, "__wrapped__", None)) is not None:
        if other is view:
            return True
    return False


def _above_the_route(view: Any, written: str) -> RuntimeError:
    return RuntimeError(
        f"guard: @{written}(…) stands above the route of {getattr(view, '__name__', view)!r}, where it protects "
        f'nothing. Write the route (or the event) first:\n\n    @app.get("/…")\n    @{written}(…)\n    def …'
    )


def _flask_answers() -> bool:
    return request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False) is True
