"""Holds what Flask and Quart share: blueprints, endpoints, and refusals as exceptions of werkzeug's."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import msgspec
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.local import LocalProxy
from werkzeug.wrappers import Response

from watchword.guard import misuse
from watchword.guard.asked import Names
from watchword.guard.caller import Caller
from watchword.guard.marks import EVERYONE
from watchword.guard.refusals import Refusal
from watchword.guard.views import DecoratingGuard

_NO_CALLER: Final = "This request has no caller: the view is not guarded, or its caller is optional."


def current(find: Callable[[], Caller | None]) -> Caller:
    """Return a proxy of the caller that is found when it is used. It raises RuntimeError where there is none."""

    def get() -> Caller:
        caller = find()
        if caller is None:
            raise RuntimeError(_NO_CALLER)
        return caller

    return cast(Caller, LocalProxy(get))


class BlueprintGuard(DecoratingGuard):
    """Protects views by decorators, and whole applications and blueprints."""

    for_class = "`decorators = [{}(…)]` inside it"
    route_line = '@app.get("/…")'
    targets: tuple[type, ...]
    """The classes of applications and blueprints."""

    def protect(
        self,
        target: Any,
        *,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
        optional: bool = False,
        except_endpoints: Iterable[str] = (),
    ) -> None:
        """Protect every view of an application or a blueprint, also later ones.

        The framework's own answer to OPTIONS passes: CORS preflights have no token.

        :param except_endpoints: whole names of unprotected endpoints (`static`, `shop.prices`).
        """
        if not isinstance(target, self.targets):
            raise TypeError(f"guard: auth.protect(…) takes an application or a blueprint, unlike {target!r}")
        check = self._check(optional=optional, scopes=scopes, roles=roles, max_age=max_age, api_keys=api_keys)
        self._protect(target, check, misuse.some_texts(except_endpoints, "except_endpoints"))

    @abstractmethod
    def _protect(self, target: Any, check: Any, spared: frozenset[str]) -> None:
        """Run the check before all views, except for the spared endpoints."""


def answers_itself(request: Any) -> bool:
    """Return whether the framework itself answers this request for OPTIONS."""
    return request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False) is True


class RequestRefused(HTTPException):
    """Says that a guard refused a request; `refusal` is the answer, `data` its problem document.

    It is also of werkzeug's class for its status, so that Flask and Quart find those handlers.
    """

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        # flask-restx answers with it. A redirect has no problem document.
        self.data: dict[str, Any] = msgspec.json.decode(refusal.body or b'{"detail": "Log in."}')
        super().__init__(self.data["detail"], Response(refusal.body, refusal.status, list(refusal.headers)))
        # For Flask-SocketIO's clients.
        self.error_args = {"message": self.data["detail"], "data": self.data}


def refused(refusal: Refusal, *more: type[Exception]) -> RequestRefused:
    """Return what to raise.

    :param more: classes that it must be of too.
    """
    kind: type[RequestRefused] = _kind(refusal.status, more)
    return kind(refusal)


@functools.cache
def _kind(status: int, more: tuple[type[Exception], ...]) -> type[RequestRefused]:
    kinds = (default_exceptions[status],) if status in default_exceptions else ()
    return type("RequestRefused", (RequestRefused, *kinds, *more), {})
