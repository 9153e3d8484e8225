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
from collections.abc import Callable
from typing import Any, Final

from flask import (
    Blueprint,
    Flask,
    current_app,
    has_request_context,
    request,
    request_finished,
    request_started,
)

from watchword.errors import WatchwordError
from watchword.guard import wsgi
from watchword.guard.bearer import from_wsgi
from watchword.guard.blueprints import BlueprintGuard, RequestRefused, answers_itself, current, refused
from watchword.guard.caller import Caller
from watchword.guard.refusals import Refusal
from watchword.guard.sent import WsgiSent
from watchword.guard.views import Check, checks_before, refuse_bare_hooks

__all__ = ["FlaskGuard", "RequestRefused", "current_caller", "find_caller"]

_UNUSED: Final = "watchword.unused"
_ANSWERED: Final = "watchword.answered"
_HOOK_LINE: Final = "@app.before_request"
_ABOVE: Final = "write it as a decorator: @auth.required() above `def`, below the route; or auth.protect(app)"


def find_caller() -> Caller | None:
    """Return this request's caller; None where no token was needed or sent."""
    # In the environ, since `g` can outlive a request.
    return wsgi.find_caller(request.environ)


current_caller: Caller = current(find_caller)
"""This request's caller, in a view that needs one."""


class FlaskGuard(BlueprintGuard):
    """Puts a guard before views. Threads and forked workers may share it."""

    for_class = "`decorators = [{}(…)]` inside it (flask-restx: `method_decorators`)"
    targets = (Flask, Blueprint)

    def _protect(self, target: Flask | Blueprint, check: _Check, spared: frozenset[str]) -> None:
        def before() -> None:
            if request.endpoint not in spared and not answers_itself(request):
                check()

        target.before_request(before)

    def _check(self, *, optional: bool, **asked: Any) -> _Check:
        return _Check(self, optional=optional, **asked)

    def _wrap(self, view: Callable[..., Any], check: Callable[[], None]) -> Callable[..., Any]:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            check()
            return current_app.ensure_sync(view)(*args, **kwargs)

        return guarded

    def _note_made(self, written: str | None) -> None:
        if not has_request_context():
            return
        if written and _ANSWERED in request.environ:  # while it streams
            raise _checks_nothing(written)
        request.environ[_UNUSED] = written


def _refused(refusal: Refusal) -> RequestRefused:
    # Flask-SocketIO refuses a connection only for its own error. After another the client may be in rooms already.
    socketio = sys.modules.get("socketio.exceptions")
    more = (socketio.ConnectionRefusedError,) if socketio is not None else ()
    return refused(refusal, *more)


class _Check(Check):
    """Checks what a view needs."""

    def __call__(self) -> None:
        needs, sent = self.needs, WsgiSent(request.environ)
        header = from_wsgi(request.environ.get("HTTP_AUTHORIZATION"))
        try:
            caller = needs.find(header, sent, optional=self.optional)
        except WatchwordError as error:
            raise _refused(needs.refusal(error, sent)) from error
        request.environ[wsgi.KEPT] = caller


def _check_last(_: Flask, **__: Any) -> None:
    """Refuse the answer of code that called a decorator in place of a check."""
    request.environ[_ANSWERED] = True
    if written := request.environ.pop(_UNUSED, None):
        raise _checks_nothing(written)


def _checks_nothing(written: str) -> RuntimeError:
    return RuntimeError(f"guard: {written}() was called for a request, where it checks nothing; {_ABOVE}")


request_finished.connect(_check_last)


def _check_first(app: Flask, **_: Any) -> None:
    """Check a view before the decorators above its guard, such as a cache. Refuse a routed bare view."""
    for check in checks_before(app.view_functions, request.endpoint, request.method, FlaskGuard.route_line):
        check()
    refuse_bare_hooks(app.before_request_funcs, request.blueprints, _HOOK_LINE)


request_started.connect(_check_first)
