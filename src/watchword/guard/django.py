"""Protects Django views. Each process makes one guard from the settings.

    WATCHWORD_GUARD = {"issuer": "https://auth.example", "protect": ["/api"]}
    MIDDLEWARE = [..., "watchword.guard.django.GuardMiddleware"]

    @guarded(scopes="orders:read")          classes by method_decorator(…, name="dispatch")
    def orders(request):
        return JsonResponse({"for": request.caller.user_id})

WATCHWORD_GUARD takes the options of `Guard`; `secret`, a shared secret; or `guard`, a Guard or its dotted name. The
middleware takes `protect`, `optional` and `except`: lists of paths, or texts with spaces.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Final, TypeVar, cast, overload

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings  # type: ignore[import-untyped]
from django.core.exceptions import ImproperlyConfigured  # type: ignore[import-untyped]
from django.core.signals import setting_changed  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from django.http.response import HttpResponseBase  # type: ignore[import-untyped]
from django.utils.cache import patch_cache_control, patch_vary_headers  # type: ignore[import-untyped]
from django.utils.module_loading import import_string  # type: ignore[import-untyped]

from watchword.errors import WatchwordError
from watchword.guard import calls, handling, misuse, views
from watchword.guard.asked import Names, checked_age, checked_names, needs_of
from watchword.guard.bearer import Authorization, from_wsgi
from watchword.guard.caller import Caller
from watchword.guard.django_views import GUARDED, UNUSED
from watchword.guard.guard import Guard
from watchword.guard.marks import EVERYONE
from watchword.guard.paths import Paths, with_mount
from watchword.guard.refusals import Refusal
from watchword.guard.requirement import Requirement, needed
from watchword.guard.sent import WsgiSent

__all__ = ["GuardMiddleware", "get_guard", "guarded", "use_guard"]

_View = TypeVar("_View", bound=Callable[..., Any])
_HEADER: Final = ("Authorization",)
_SETTING: Final = "WATCHWORD_GUARD"
_FOR_MIDDLEWARE: Final = frozenset({"protect", "optional", "except"})
_made: list[Guard] = []
_making = threading.Lock()
_in_place: list[bool] = []
"""Not empty once a middleware was made, perhaps under another name."""


def get_guard() -> Guard:
    """Return the guard of this process. :raises ImproperlyConfigured: WATCHWORD_GUARD is missing or not usable."""
    if not _made:
        with _making:
            if not _made:
                options = _options()
                _check_listed(options)
                _made.append(_make(options))
    return _made[0]


@contextmanager
def use_guard(guard: Guard) -> Iterator[Guard]:
    """Let all of this process ask this guard for a while: for tests."""
    before = _made.copy()
    _made[:] = [misuse.a_guard(guard, "use_guard")]
    try:
        yield guard
    finally:
        _made[:] = before


def authorization_of(request: HttpRequest) -> Authorization:
    """Return the Authorization header. Django joins two with a comma."""
    return from_wsgi(request.META.get("HTTP_AUTHORIZATION"))


@overload
def guarded(view: _View, /) -> _View: ...
@overload
def guarded(
    *,
    scopes: Names = EVERYONE,
    roles: Names = EVERYONE,
    max_age: int | None = None,
    api_keys: bool = False,
    optional: bool = False,
) -> Callable[[_View], _View]: ...
def guarded(
    view: Any = None,
    /,
    *,
    scopes: Names = EVERYONE,
    roles: Names = EVERYONE,
    max_age: int | None = None,
    api_keys: bool = False,
    optional: bool = False,
) -> Any:
    """Decorate a view, sync or async, to run for good callers only, with `request.caller`.

    A view that needs a caller needs no CSRF token: no other site can make a browser send a bearer token.

    :param scopes: like `roles`, `max_age` and `api_keys` as in `Guard.check`.
    :param optional: whether a request without a token passes, with caller None. A bad token is still refused.
    :raises TypeError, ValueError: a slip; the message says what to write.
    """
    if view is not None:
        _check_view(view)
    elif handling.for_a_request(sys._getframe(1)):  # noqa: SLF001
        UNUSED.set(True)
    optional = misuse.a_switch(optional, "optional")
    asked: dict[str, Any] = {
        "scopes": checked_names(scopes, "scopes") or EVERYONE,
        "roles": checked_names(roles, "roles") or EVERYONE,
        "max_age": checked_age(max_age),
    }
    asked["api_keys"] = needs_of(asked["roles"], asked["scopes"], asked["max_age"], api_keys).api_keys
    needs = functools.lru_cache(maxsize=1)(lambda guard: needed(guard, **asked))

    def decorate(wrapped: Any) -> Any:
        _check_view(wrapped)
        UNUSED.set(False)
        made = _async_view(wrapped, needs, optional) if _is_async(wrapped) else _view(wrapped, needs, optional)
        if not optional:
            made.csrf_exempt = True
        setattr(made, GUARDED, True)  # decorators above copy it
        views.note_bare(wrapped, "guarded")
        calls.refuse_thrown_away(sys._getframe(), "guarded(…)", _IN_PLACE)  # noqa: SLF001
        return made

    made = decorate if view is None else decorate(view)
    calls.refuse_thrown_away(sys._getframe(), "guarded(…)", _IN_PLACE)  # noqa: SLF001
    return made


_FOR_CLASS: Final = '@method_decorator(guarded(…), name="dispatch") above the class'
_IN_PLACE: Final = "write @guarded(…) above `def`, or put what it returns in the view's place"
_FOR_METHOD: Final = (
    "guard: @guarded stands above a method, whose first argument is not the request: write "
    f"@method_decorator(guarded(…)) above the method, or {_FOR_CLASS} (from django.utils.decorators)"
)


def _check_view(view: Any) -> None:
    misuse.a_view((view,), "guarded", for_class=_FOR_CLASS)
    if hasattr(view, "_ninja_operation"):
        raise views.above_the_route(view, "guarded", '@api.get("/…")')
    if isinstance(view, FunctionType):  # not a bound method
        owner = view.__qualname__.rpartition(".")[0]
        if owner and not owner.endswith("<locals>") and view.__code__.co_varnames[:1] == ("self",):
            raise TypeError(_FOR_METHOD)


def _check_request(request: Any) -> None:
    if not hasattr(request, "META"):
        raise TypeError(_FOR_METHOD)


_Needs = Callable[[Guard], Requirement]


def _view(view: Any, needs: _Needs, optional: bool) -> Any:
    @functools.wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        _check_request(request)
        refused = check(request, needs(get_guard()), optional=optional)
        return kept_apart(request, view(request, *args, **kwargs)) if refused is None else refused

    return checked


def _async_view(view: Any, needs: _Needs, optional: bool) -> Any:
    @functools.wraps(view)
    async def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        _check_request(request)
        refused = await check_async(request, needs(get_guard()), optional=optional)
        return kept_apart(request, await view(request, *args, **kwargs)) if refused is None else refused

    return checked


def kept_apart(request: HttpRequest, answer: Any) -> Any:
    """Keep caches from giving one caller's answer to others."""
    if isinstance(answer, HttpResponseBase):
        patch_vary_headers(answer, vary())
        if getattr(request, "caller", None) is not None and not answer.has_header("Cache-Control"):
            patch_cache_control(answer, private=True)
    return answer


def _is_async(view: Any) -> bool:
    # A class's `dispatch` is no coroutine function.
    return iscoroutinefunction(view) or getattr(_owner(view), "view_is_async", False) is True


def _owner(view: Any) -> Any:
    """Return a method's object, or None. `method_decorator` binds it in partials."""
    while view is not None:
        view = getattr(view, "func", view)
        owner = getattr(view, "__self__", None)
        if owner is not None:
            return owner
        view = getattr(view, "__wrapped__", None)
    return None


class GuardMiddleware:
    """Checks requests for paths under `protect` and sets `request.caller`, None elsewhere.

    Under `optional` a request without a token passes, a bad token does not. CORS middleware belongs before this one: a
    preflight has no token.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)
        options = _options()
        self._protect = _paths(options, "protect")
        self._optional = _paths(options, "optional")
        self._needs = functools.lru_cache(maxsize=1)(needed)
        _in_place[:] = [True]
        get_guard()  # raises for wrong settings
        _check_place(options)

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request."""
        if self._async:
            return self._answer_async(request)
        if not self._concerns(request):
            return self._get_response(request)
        refused = check(request, self._needs(get_guard()), optional=not _guards(self._protect, request))
        return kept_apart(request, self._get_response(request)) if refused is None else refused

    async def _answer_async(self, request: HttpRequest) -> Any:
        if not self._concerns(request):
            return await self._get_response(request)
        optional = not _guards(self._protect, request)
        refused = await check_async(request, self._needs(get_guard()), optional=optional)
        return kept_apart(request, await self._get_response(request)) if refused is None else refused

    def _concerns(self, request: HttpRequest) -> bool:
        request.caller = None
        if _guards(self._protect, request):
            request.csrf_processing_done = True  # the check passes bearer tokens only
            return True
        return _guards(self._optional, request)


def _guards(paths: Paths, request: HttpRequest) -> bool:
    """Return whether a request needs a check, by its path without the script name, with it, and as it came."""
    path: str = request.path_info or "/"
    script = request.META.get("SCRIPT_NAME", "").rstrip("/")
    return paths.guards_any(path, (*with_mount(path, script + path), *with_mount(path, request.path)))


def check(request: HttpRequest, needs: Requirement, *, optional: bool = False) -> HttpResponse | None:
    """Set `request.caller`, or return the refusal."""
    try:
        request.caller = caller_of(request, needs, optional=optional)
    except WatchwordError as error:
        return response(needs.refusal(error, DjangoSent(request)))
    return None


def caller_of(request: HttpRequest, needs: Requirement, *, optional: bool) -> Caller | None:
    """Return the caller of a request. :raises WatchwordError: as `Guard.check`."""
    return needs.find(authorization_of(request), DjangoSent(request), optional=optional)


async def caller_of_async(request: HttpRequest, needs: Requirement, *, optional: bool) -> Caller | None:
    """Return the caller likewise, without blocking the event loop."""
    return await needs.find_async(authorization_of(request), DjangoSent(request), optional=optional)


class DjangoSent(WsgiSent):
    """Is a request of Django's, under WSGI and ASGI."""

    __slots__ = ("_request",)

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.META)
        self._request = request

    def target(self) -> str:
        """Return path and query as a client writes them."""
        target: str = self._request.get_full_path()
        return target


async def check_async(request: HttpRequest, needs: Requirement, *, optional: bool = False) -> HttpResponse | None:
    """Check without blocking the event loop."""
    try:
        request.caller = await caller_of_async(request, needs, optional=optional)
    except WatchwordError as error:
        return response(needs.refusal(error, DjangoSent(request)))
    return None


def vary() -> tuple[str, ...]:
    """Return the headers by which answers differ from caller to caller."""
    places = get_guard().places
    return _HEADER if places is None else places.vary


def response(refusal: Refusal) -> HttpResponse:
    """Return a refusal as a response."""
    return HttpResponse(refusal.body, status=refusal.status, headers=dict(refusal.headers))


def _options() -> dict[str, Any]:
    options = getattr(settings, _SETTING, None)
    if not isinstance(options, dict):
        raise ImproperlyConfigured(f'{_SETTING} must be a dict: at least {{"issuer": …}}')
    return dict(options)


def _make(options: dict[str, Any]) -> Guard:
    arguments = {name: value for name, value in options.items() if name not in _FOR_MIDDLEWARE}
    given = arguments.pop("guard", None)
    if given is not None:
        return _given(given, arguments)
    make: Any = Guard.shared_secret if "secret" in arguments else Guard
    try:
        return cast(Guard, make(**arguments))
    except (TypeError, ValueError, WatchwordError) as error:
        raise ImproperlyConfigured(f"{_SETTING}: {error}") from error


def _given(given: Any, beside: dict[str, Any]) -> Guard:
    if beside:
        raise ImproperlyConfigured(f"{_SETTING}: beside `guard` nothing is known of {', '.join(map(repr, beside))}")
    guard = import_string(given) if isinstance(given, str) else given
    if not isinstance(guard, Guard):
        raise ImproperlyConfigured(f"{_SETTING}: `guard` is a Guard or the dotted name of one, unlike {given!r}")
    return guard


_OURS: Final = "watchword.guard.django.GuardMiddleware"
_STORES: Final = "django.middleware.cache.UpdateCacheMiddleware"


def _check_place(options: dict[str, Any]) -> None:
    """Refuse a middleware without paths, or behind a cache."""
    if not (options.get("protect") or options.get("optional")):
        raise ImproperlyConfigured(
            f'{_SETTING}: GuardMiddleware guards nothing: name paths, as in "protect": ["/api"], or take it out of '
            "MIDDLEWARE (@guarded works without it)"
        )
    listed = list(getattr(settings, "MIDDLEWARE", ()))
    if _OURS in listed and _STORES in listed[listed.index(_OURS) :]:
        raise ImproperlyConfigured(
            f"MIDDLEWARE: {_STORES} stands below {_OURS}, so one caller's answer would be kept for all: move it above"
        )


def _check_listed(options: dict[str, Any]) -> None:
    """Refuse paths without the middleware that checks them."""
    named = [name for name in ("protect", "optional") if options.get(name)]
    if named and not _in_place and _OURS not in getattr(settings, "MIDDLEWARE", ()):
        raise ImproperlyConfigured(f"{_SETTING}: {named[0]!r} guards nothing: {_OURS} is missing in MIDDLEWARE")


def _paths(options: dict[str, Any], name: str) -> Paths:
    try:
        return Paths(_listed(options.get(name, ())), _listed(options.get("except", ())))
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{_SETTING}: {error}") from error


def _listed(given: str | Iterable[str]) -> Iterable[str]:
    # An empty text stays a path, which is refused later.
    return (given.split() or [given]) if isinstance(given, str) else given


def _forget(*, setting: str, **_: Any) -> None:
    """Forget the guard after `override_settings` in tests."""
    if setting == _SETTING:
        for guard in _made:
            guard.stop()
        _made.clear()
        _in_place.clear()


setting_changed.connect(_forget, dispatch_uid="watchword.guard.django")
