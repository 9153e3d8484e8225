"""Finds views of Django that are routed without their guard, or make one in place of asking it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

from django.core.handlers.base import BaseHandler  # type: ignore[import-untyped]
from django.http import HttpRequest  # type: ignore[import-untyped]
from django.urls import get_resolver  # type: ignore[import-untyped]

from watchword.guard import views

GUARDED: Final = "__watchword_guarded__"
"""Marks what a guard returned; decorators above copy it."""
UNUSED: Final = ContextVar("watchword.guard.django.unused", default=False)
"""Whether a decorator was made for the request that runs, and decorates nothing yet."""


def _checking_bare(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what finds the view of a request: one that was protected must not be routed without its guard."""

    @functools.wraps(resolve)
    def resolved(self: BaseHandler, request: HttpRequest) -> Any:
        match = resolve(self, request)
        view = match.func
        views.refuse_not_called(view)
        while not hasattr(match.func, GUARDED) and view is not None:
            if views.is_bare(view):
                routed = _routed(get_resolver(getattr(request, "urlconf", None)))
                views.refuse_bare(view, (each for each in routed if hasattr(each, GUARDED)), _ROUTE_LINE)
            view = getattr(view, "__wrapped__", None)
        return match

    return resolved


def _routed(resolver: Any) -> Iterator[Any]:
    for each in resolver.url_patterns:
        if hasattr(each, "url_patterns"):
            yield from _routed(each)
        else:
            yield each.callback


def _checking_unused(check: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what checks a view's answer: refuse that of code that made a decorator in place of a check."""

    @functools.wraps(check)
    def checked(self: BaseHandler, *args: Any, **kwargs: Any) -> Any:
        if UNUSED.get():
            UNUSED.set(False)
            raise RuntimeError(
                "guard: guarded(…) makes a decorator, and checks nothing where it is called for a request; "
                "write @guarded(…) above `def`"
            )
        return check(self, *args, **kwargs)

    return checked


_ROUTE_LINE: Final = "# urls.py: path(…, the name of what is decorated)"
# Django has no hooks for them that need no middleware.
BaseHandler.resolve_request = _checking_bare(BaseHandler.resolve_request)
BaseHandler.check_response = _checking_unused(BaseHandler.check_response)
