"""Checks requests as WSGI middleware: for an application, or a path prefix of it.

    app = GuardMiddleware(app, guard, prefix="/api", except_paths=["/api/health"])

The caller is `environ["watchword.caller"]`. No client can set it: headers begin with `HTTP_`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, MutableMapping
from http import HTTPStatus
from inspect import isclass
from typing import Any, Final, cast

from watchword.errors import WatchwordError
from watchword.guard import calls, misuse, slips
from watchword.guard.asked import Names
from watchword.guard.bearer import from_wsgi
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.marks import EVERYONE
from watchword.guard.paths import Paths, with_mount
from watchword.guard.preflights import Preflights
from watchword.guard.refusals import Refusal
from watchword.guard.sent import WsgiSent

Environ = MutableMapping[str, Any]
StartResponse = Callable[..., Any]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

_IN_PLACE: Final = "write `app.wsgi_app = GuardMiddleware(app.wsgi_app, guard)`, or what the server is given"
KEPT: Final = "watchword.caller"
"""Where a request's caller is in its environ."""


def find_caller(environ: Environ) -> Caller | None:
    """Return a request's caller; None where no token was needed or sent."""
    return cast("Caller | None", environ.get(KEPT))


class GuardMiddleware:
    """Lets a request through to `app` with its caller, or refuses it.

    Put it inside CORS middleware: a preflight has no token, and a page reads a refusal only with CORS headers.

    :param prefix: only paths under it need a token, relative to the mount point (`guard.paths`). One that repeats the
        mount point counts too.
    :param except_paths: paths that need none; `/*` at the end means all below.
    :param scopes: like `roles`, `max_age` and `api_keys` as in `Guard.check`.
    :param optional: whether a request without a token passes, with caller None. A bad token is still refused.
    """

    def __init__(
        self,
        app: WSGIApp,
        guard: Guard,
        *,
        prefix: str = "/",
        except_paths: Iterable[str] = (),
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
        optional: bool = False,
    ) -> None:
        self._needs = slips.needs(guard, "GuardMiddleware", scopes, roles, max_age, api_keys)
        if isclass(app) or not callable(cast(object, app)):
            raise TypeError(f"guard: GuardMiddleware(app, guard) takes an application first, unlike {app!r:.100}")
        self.app = app
        self._optional = misuse.a_switch(optional, "optional")
        self._paths = Paths([prefix], except_paths)
        self._preflights = Preflights()
        calls.refuse_thrown_away(sys._getframe(), "GuardMiddleware(…)", _IN_PLACE)  # noqa: SLF001

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if not _guards(self._paths, environ):
            environ.setdefault(KEPT, None)
            return self.app(environ, start_response)
        header, sent = from_wsgi(environ.get("HTTP_AUTHORIZATION")), WsgiSent(environ)
        try:
            environ[KEPT] = self._needs.find(header, sent, optional=self._optional)
        except WatchwordError as error:
            if _is_preflight(environ):
                self._preflights.log(_path(environ))
            return _answer(self._needs.refusal(error, sent), environ, start_response)
        return self.app(environ, start_response)


def _guards(paths: Paths, environ: Environ) -> bool:
    path, mount = _path(environ), environ.get("SCRIPT_NAME")
    if not mount:
        return paths.guards(path)
    return paths.guards_any(path, with_mount(path, _decoded(mount).rstrip("/") + path))


def _path(environ: Environ) -> str:
    return _decoded(environ.get("PATH_INFO") or "/")


def _decoded(path: str) -> str:
    # Latin-1 stands for bytes (PEP 3333). What is no UTF-8 stays so, and is never an exception.
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _is_preflight(environ: Environ) -> bool:
    return environ.get("REQUEST_METHOD") == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def _answer(refusal: Refusal, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{refusal.status} {HTTPStatus(refusal.status).phrase}", list(refusal.headers))
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [refusal.body]
