"""Holds what adapters share that decorate views: `@auth.required(…)` and `@auth.optional(…)`."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from inspect import unwrap
from types import FunctionType, MethodType
from typing import Any, Final, Never, ParamSpec
from weakref import WeakKeyDictionary, WeakSet, ref

from watchword.guard import calls, misuse, slips
from watchword.guard.asked import Names
from watchword.guard.guard import Guard
from watchword.guard.marks import EVERYONE
from watchword.guard.requirement import Requirement, needed

_P = ParamSpec("_P")
_OURS: Final = "__watchword_guard__"
_CHECKS: Final = "__watchword_checks__"
_ABOVE: Final = "write it above `def`, or put what it returns in the function's place"


class Check:
    """Says what a view needs, also after `auth.guard` was replaced."""

    def __init__(self, auth: DecoratingGuard, *, optional: bool, **asked: Any) -> None:
        self.optional = misuse.a_switch(optional, "optional")
        self._auth = auth
        self._needs = needed(auth.guard, **asked)

    @property
    def needs(self) -> Requirement:
        """Return the requirement of the guard that counts now."""
        guard = self._auth.guard
        if self._needs.guard is not guard:
            self._needs = replace(self._needs, guard=guard)
        return self._needs


class DecoratingGuard(ABC):
    """Puts a guard before views. Threads and forked workers may share it."""

    for_class: str
    """What to write for a class, with `{}` in place of the decorator."""
    route_line: str
    """How a route looks, for messages."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    @property
    def guard(self) -> Guard:
        """Return the guard that all views ask. Tests may replace it."""
        return self._guard

    @guard.setter
    def guard(self, guard: Guard) -> None:
        self._guard = misuse.a_guard(guard, type(self).__name__)

    def required(
        self,
        *misplaced: Never,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
    ) -> Callable[[Callable[_P, Any]], Callable[_P, Any]]:
        """Decorate a view, sync or async, to run for good callers only.

        :param scopes: like `roles`, `max_age` and `api_keys` as in `Guard.check`.
        """
        return self._decorator(
            "auth.required", misplaced, optional=False, scopes=scopes, roles=roles, max_age=max_age, api_keys=api_keys
        )

    def optional(
        self,
        *misplaced: Never,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
    ) -> Callable[[Callable[_P, Any]], Callable[_P, Any]]:
        """Decorate likewise, but let a request without a token pass. A bad token is still refused."""
        return self._decorator(
            "auth.optional", misplaced, optional=True, scopes=scopes, roles=roles, max_age=max_age, api_keys=api_keys
        )

    @abstractmethod
    def _check(self, *, optional: bool, **asked: Any) -> Check:
        """Make what a view runs first."""

    @abstractmethod
    def _wrap(self, view: Callable[..., Any], check: Any) -> Callable[..., Any]:
        """Return a view that runs the check first."""

    @abstractmethod
    def _note_made(self, written: str | None) -> None:
        """Note a decorator made for a request, where it checks nothing; None: it decorates something after all."""

    def _decorator(self, written: str, misplaced: tuple[object, ...], **asked: Any) -> Callable[..., Any]:
        misuse.no_positional(misplaced, written)
        self._note_made(written)
        check = self._check(**asked)
        calls.refuse_thrown_away(sys._getframe(1), written, _ABOVE)  # noqa: SLF001  the frame of `required`

        def decorate(*given: Any) -> Callable[..., Any]:
            view = misuse.a_view(given, written, for_class=self.for_class.format(written))
            self._note_made(None)
            if misuse.routed_already(view, sys._getframe(1)):  # noqa: SLF001  the application's frame
                raise above_the_route(view, written, self.route_line)
            guarded = self._wrap(view, check)
            # Decorators above copy it.
            setattr(guarded, _CHECKS, (guarded, *getattr(view, _CHECKS, (None,))[1:], check))
            note_bare(view, written)
            calls.refuse_thrown_away(sys._getframe(), written, _ABOVE)  # noqa: SLF001
            return guarded

        setattr(decorate, _OURS, True)
        return decorate


_bare: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()
"""The protected functions, each with its decorator. None may be routed."""


def checks_before(views: Mapping[str, Any], endpoint: str | None, method: str, route_line: str) -> Iterator[Any]:
    """Yield the checks of guards that stand below other decorators, such as a cache, which must not come first.

    :param views: those of the application, by endpoint.
    :raises RuntimeError: the view is routed without its guard, or a class names decorators where no one looks.
    """
    view = views.get(endpoint or "")
    # A decorator above may answer a preflight, which has no token.
    if view is None or method == "OPTIONS":
        return
    view_class = getattr(view, "view_class", None)
    _refuse_beside(view_class)
    for each in (view, _method_of(view_class, method.lower())):
        yield from hidden_checks(each)
    refuse_bare(view, views.values(), route_line)


_bare_methods: WeakKeyDictionary[Callable[..., Any], list[tuple[ref[Any], str]]] = WeakKeyDictionary()
"""Likewise methods of objects, by function: a bound method is made anew each time."""


def note_bare(view: Any, written: str) -> None:
    """Note a function that was protected: what is routed must be what its guard returned."""
    with suppress(TypeError):  # not weakly referable
        if type(view) is MethodType:
            owners = [each for each in _bare_methods.get(view.__func__, ()) if each[0]() is not None]
            _bare_methods[view.__func__] = [*owners, (ref(view.__self__), written)]
        else:
            _bare[view] = written


def _written(view: Any) -> str | None:
    """Return the decorator that protected a function, which is here without it, or None."""
    try:
        if type(view) is MethodType:
            owners = _bare_methods.get(view.__func__, ())
            return next((written for owner, written in owners if owner() is view.__self__), None)
        return _bare.get(view)
    except TypeError:  # not weakly referable, or without a hash
        return None


def is_bare(view: Any) -> bool:
    """Return whether a function was protected, and is here without its guard."""
    return _written(view) is not None


_looked_at: WeakSet[Callable[..., Any]] = WeakSet()
"""The views that call what they name of ours."""


def refuse_not_called(view: Any) -> None:
    """Do as `slips.refuse_not_called`, once for each function."""
    if type(view) is FunctionType and view not in _looked_at:
        slips.refuse_not_called(view)
        _looked_at.add(view)


def refuse_bare(view: Any, routed: Iterable[Any], route_line: str) -> None:
    """Refuse a function that is routed without its guard, or names it and asks nothing.

    :raises RuntimeError: and nowhere with it. :raises TypeError: it names a method of ours, and does not call it.
    """
    refuse_not_called(view)
    written = _written(view)
    if written is not None and not any(_leads_to(other, view) for other in routed):
        raise above_the_route(view, written, route_line)


def refuse_bare_hooks(hooks: Mapping[Any, Iterable[Any]], names: Iterable[Any], route_line: str) -> None:
    """Refuse functions that run before requests without their guard, which was to check them, or that ask nothing.

    :param hooks: those of an application, by blueprint. :param names: the blueprints of this request.
    """
    for name in (None, *names):
        for each in hooks.get(name, ()):
            refuse_not_called(each)
            if _written(each) is not None:
                refuse_bare(each, [hook for several in hooks.values() for hook in several], route_line)


def is_guarded(view: Any) -> bool:
    """Return whether this very function is what one of our decorators returned."""
    guarded: Any = getattr(view, _CHECKS, (None,))[0]
    return guarded is not None and guarded is getattr(view, "__func__", view)


def hidden_checks(view: Any) -> list[Any]:
    """Return the checks of guards that stand below another decorator of this view."""
    return [] if is_guarded(view) else list(getattr(view, _CHECKS, (None,))[1:])


def above_the_route(view: Any, written: str, route_line: str) -> RuntimeError:
    """Return the error of a guard that stands above the route, where it protects nothing."""
    return RuntimeError(
        f"guard: @{written}(…) stands above the route of {getattr(view, '__name__', view)!r}, or what it returned was "
        "thrown away: so it protects nothing. Write the route (or the event) first:"
        f"\n\n    {route_line}\n    @{written}(…)\n    def …"
    )


def _refuse_beside(view_class: Any) -> None:
    """Look for our decorators where the framework does not."""
    for name in ("decorator", "method_decorators"):
        given = getattr(view_class, name, ())
        given = (given.values() if isinstance(given, dict) else given) if isinstance(given, Iterable) else (given,)
        if any(getattr(each, _OURS, False) for each in given) and not _reads(view_class, name):
            raise RuntimeError(f"guard: {view_class.__name__}.{name} protects nothing; write `decorators = […]`")


def _reads(view_class: Any, name: str) -> bool:
    """Return whether a class reads this name, as flask-restx's does."""
    calls = getattr(unwrap(view_class.dispatch_request), "__code__", None)
    return calls is None or name in calls.co_names


def _method_of(view_class: Any, name: str) -> Any:
    return getattr(view_class, name, None) or (getattr(view_class, "get", None) if name == "head" else None)


def _leads_to(other: Any, view: Any) -> bool:
    """Return whether `other` wraps `view`, which is then routed twice on purpose."""
    while (other := getattr(other, "__wrapped__", None)) is not None:
        if other is view or (isinstance(view, MethodType) and other == view):
            return True
    return False
