"""Protects REST framework views by an authentication class and permissions.

    REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": ["watchword.guard.drf.CallerAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["watchword.guard.drf.HasCaller"],
    }

    class Orders(APIView):
        permission_classes = [has_scopes("orders:read") & has_roles("clerk")]

        def get(self, request):
            return Response({"for": request.user.caller.user_id})

The guard is that of `watchword.guard.django`. Without a token `request.user` is Django's AnonymousUser: leave out the
permission where the caller is optional.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, Never, cast

import msgspec
from django.core.exceptions import ImproperlyConfigured  # type: ignore[import-untyped]
from rest_framework.authentication import BaseAuthentication  # type: ignore[import-untyped]
from rest_framework.exceptions import APIException  # type: ignore[import-untyped]
from rest_framework.permissions import (  # type: ignore[import-untyped]
    AND,
    OR,
    BasePermission,
    BasePermissionMetaclass,
    OperandHolder,
)
from rest_framework.renderers import JSONRenderer  # type: ignore[import-untyped]
from rest_framework.request import ForcedAuthentication, Request  # type: ignore[import-untyped]

from watchword.authorization import missing
from watchword.errors import TokenError, WatchwordError
from watchword.guard import calls
from watchword.guard.asked import Names, checked_age, checked_names, needs_of
from watchword.guard.caller import Caller
from watchword.guard.caller_user import CallerUser
from watchword.guard.django import DjangoSent, caller_of, get_guard, vary
from watchword.guard.marks import EVERYONE
from watchword.guard.refusals import Refusal
from watchword.guard.requirement import Requirement, needed

__all__ = ["CallerAuthentication", "CallerUser", "HasCaller", "RequestRefused", "has_roles", "has_scopes"]

_CHALLENGE: Final = "www-authenticate"
_RETRY: Final = "retry-after"
_ASKING: Final = "_watchword_asks_for_permissions"
_NO_TRUTH: Final = "guard: permissions are joined by `&` and `|`; `and` and `or` leave one of them"
_IN_CLASS: Final = "write `permission_classes = […]` in the class, or @action(permission_classes=[…])"


class CallerAuthentication(BaseAuthentication):  # type: ignore[misc]
    """Sets `request.user` and `request.auth` (the `Caller`). Without a token the next class is asked.

    Override `user_of` for your own users.
    """

    def __init__(self) -> None:
        _describe()

    def authenticate(self, request: Request) -> tuple[Any, Caller] | None:
        """Return user and caller, or None without a token. :raises RequestRefused: a bad token."""
        _vary(request)
        caller = _identified(request)
        return None if caller is None else (self.user_of(caller), caller)

    def authenticate_header(self, _: Request) -> str:
        """Return the challenge where a token is missing."""
        return dict(get_guard().refusal(missing()).headers)[_CHALLENGE]

    def user_of(self, caller: Caller) -> Any:
        """Return the value of `request.user`."""
        return CallerUser(caller)


class _Joined(OperandHolder):  # type: ignore[misc]
    """Joins permissions, and refuses `and` and `or`, which would leave one of them."""

    def __and__(self, other: Any) -> Any:
        return _Joined(AND, self, other)

    def __or__(self, other: Any) -> Any:
        return _Joined(OR, self, other)

    def __bool__(self) -> Never:
        raise TypeError(_NO_TRUTH)


class _Affirmed(BasePermissionMetaclass):  # type: ignore[misc]
    """Makes permissions that raise, so that `~` cannot negate them."""

    def __invert__(cls) -> Any:  # noqa: N805  a metaclass
        raise TypeError(
            f"~{cls.__name__}: a permission of watchword.guard.drf refuses callers who lack something, and would "
            "with `~` refuse all; write one of your own that looks at request.auth.roles or request.auth.scopes"
        )

    def __bool__(cls) -> Never:  # noqa: N805
        raise TypeError(_NO_TRUTH)

    def __and__(cls, other: Any) -> Any:  # noqa: N805
        return _Joined(AND, cls, other)

    def __rand__(cls, other: Any) -> Any:  # noqa: N805
        return _Joined(AND, other, cls)

    def __or__(cls, other: Any) -> Any:  # noqa: N805
        return _Joined(OR, cls, other)

    def __ror__(cls, other: Any) -> Any:  # noqa: N805
        return _Joined(OR, other, cls)

    def __iter__(cls) -> Never:  # noqa: N805
        raise TypeError(f"permission_classes is a list: [{cls.__name__}]")


class HasCaller(BasePermission, metaclass=_Affirmed):  # type: ignore[misc]
    """Permits requests with a good token.

    It raises the refusal itself: put it last in `A | B`. `~HasCaller` is a TypeError.
    """

    scopes: Names = EVERYONE
    roles: Names = EVERYONE
    max_age: int | None = None
    api_keys: bool = False

    def __init_subclass__(cls, **given: Any) -> None:
        """Check what a subclass asks for. :raises TypeError, ValueError: a slip."""
        super().__init_subclass__(**given)
        needs_of(cls.roles, cls.scopes, cls.max_age, cls.api_keys)
        for name in ("scope", "role"):
            if hasattr(cls, name):
                raise TypeError(f"guard: {cls.__name__}.{name} asks for nothing; write `{name}s`")

    def has_permission(self, request: Request, _: Any) -> bool:
        """Return True. :raises RequestRefused: otherwise."""
        needs = needed(get_guard(), scopes=self.scopes, roles=self.roles, max_age=self.max_age, api_keys=self.api_keys)
        _vary(request)
        if isinstance(request.successful_authenticator, ForcedAuthentication):
            _check_forced(request, needs)
            return True
        caller = _checked(request, needs, optional=False)
        if not isinstance(request.auth, Caller):
            _introduce(request, caller)
        return True

    def __call__(self) -> Never:
        """Refuse to be listed as an object. :raises TypeError: always."""
        raise TypeError(f"permission_classes lists classes: write {type(self).__name__} without parentheses")


def has_scopes(scopes: Names, *, max_age: int | None = None, api_keys: bool = False) -> type[HasCaller]:
    """Make a permission of scopes, of the most seconds since log-in, and of whether API keys are accepted."""
    asked = {"scopes": checked_names(scopes, "scopes"), "max_age": checked_age(max_age), "api_keys": api_keys}
    made = type("HasScopes", (HasCaller,), asked)
    calls.refuse_thrown_away(sys._getframe(), "has_scopes(…)", _IN_CLASS)  # noqa: SLF001
    return made


def has_roles(roles: Names, *, max_age: int | None = None) -> type[HasCaller]:
    """Make a permission of roles, and of the most seconds since log-in."""
    asked = {"roles": checked_names(roles, "roles"), "max_age": checked_age(max_age)}
    made = type("HasRoles", (HasCaller,), asked)
    calls.refuse_thrown_away(sys._getframe(), "has_roles(…)", _IN_CLASS)  # noqa: SLF001
    return made


class RequestRefused(APIException):  # type: ignore[misc]
    """Says that a guard refused a request; `refusal` is the answer, `detail` its problem document."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code, refusal.code)
        headers = dict(refusal.headers)
        self.refusal = refusal
        self.status_code = refusal.status
        self.auth_header = headers.get(_CHALLENGE)
        self.wait = int(headers[_RETRY]) if _RETRY in headers else None
        self.detail = msgspec.json.decode(refusal.body) if refusal.body else {}  # a redirect


class _ProblemRenderer(JSONRenderer):  # type: ignore[misc]
    """Renders a refusal, or what the application's EXCEPTION_HANDLER made of it."""

    media_type = "application/problem+json"

    def __init__(self, error: RequestRefused) -> None:
        self._error = error

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        if data is not self._error.detail:
            return cast(bytes, super().render(data, accepted_media_type, renderer_context))
        for name, value in self._error.refusal.headers:
            renderer_context["response"][name] = value
        return self._error.refusal.body


def _introduce(request: Request, caller: Caller | None) -> None:
    """Set the caller where another authentication class came first."""
    for each in request.authenticators:
        if isinstance(each, CallerAuthentication):
            request.user, request.auth = each.user_of(cast(Caller, caller)), caller
            return
    raise ImproperlyConfigured(
        "HasCaller, has_roles and has_scopes need watchword.guard.drf.CallerAuthentication in the view's "
        "authentication_classes or in DEFAULT_AUTHENTICATION_CLASSES: without it request.user is not the caller"
    )


def _check_forced(request: Request, needs: Requirement) -> None:
    """Check the caller of `force_authenticate` in tests. Without one there are no scopes or roles."""
    user, caller = request.user, request.auth
    if not isinstance(caller, Caller):
        caller = getattr(user, "caller", None)
    try:
        if isinstance(caller, Caller):
            needs.check_needs(caller)
            request.auth = caller
        elif not getattr(user, "is_authenticated", False):
            raise missing()
        elif needs.asked.scopes or needs.asked.roles or needs.asked.max_age is not None:
            code = (
                "scope_missing"
                if needs.asked.scopes
                else "role_missing"
                if needs.asked.roles
                else "reauthentication_required"
            )
            raise TokenError("force_authenticate was given no caller: user=CallerUser(caller).", code=code)
    except WatchwordError as error:
        raise _refused(request, needs, error) from error


def _refusing_slips(begin: Callable[..., None]) -> Callable[..., None]:
    """Wrap what begins a request: a view may have no authentication that could look."""

    @wraps(begin)
    def begun(self: Request, *args: Any, **given: Any) -> None:
        begin(self, *args, **given)
        _refuse_slips(self)

    return begun


# `APIView` would be the place, which imports this module before it is made itself.
Request.__init__ = _refusing_slips(Request.__init__)


def _refuse_slips(request: Request) -> None:
    """Look for permissions where REST framework does not: for ours, and for all beside our authentication."""
    concerned = any(isinstance(each, CallerAuthentication) for each in request.authenticators)
    view: Any = request.parser_context.get("view")
    handler = getattr(view, str(request.method).lower(), None)
    beside = getattr(handler, "permission_classes", None)
    if (concerned or _has_ours(beside)) and beside is not None and view.permission_classes is not beside:
        raise ImproperlyConfigured(
            f"{_shown(handler)}: @permission_classes protects nothing above a method; {_IN_CLASS}"
        )
    alone = getattr(view, "permission_class", None)
    if (concerned or _has_ours(alone)) and alone is not None:
        raise ImproperlyConfigured(f"{type(view).__name__}: permission_class protects nothing; {_IN_CLASS}")


def _has_ours(permissions: Any) -> bool:
    """Return whether one of these permissions is ours, or made of ours."""
    for each in permissions if isinstance(permissions, list | tuple) else (permissions,):
        if isinstance(each, _Affirmed):
            return True
        if _has_ours([getattr(each, part) for part in ("op1_class", "op2_class") if hasattr(each, part)]):
            return True
    return False


def _shown(handler: Any) -> str:
    return str(getattr(handler, "__qualname__", handler))


def _vary(request: Request) -> None:
    """Keep caches from giving one caller's answer to others."""
    view = request.parser_context.get("view")
    headers = getattr(view, "headers", None)
    if isinstance(headers, dict):
        told = headers.get("Vary", "")
        more = [name for name in vary() if name.lower() not in told.lower()]
        if more:
            headers["Vary"] = ", ".join(filter(None, (told, *more)))


def _describe() -> None:
    if "drf_spectacular.extensions" in sys.modules:
        import watchword.guard.spectacular  # noqa: F401  the import registers it


def _identified(request: Request) -> Caller | None:
    """Return the caller. Who they are is asked before what they may do, so an API key passes if a permission takes it.

    :raises RequestRefused: a bad token.
    """
    needs = needed(get_guard())
    try:
        return caller_of(request, needs, optional=True)
    except WatchwordError as error:
        if error.code != "token_invalid" or not _takes_keys(request):
            raise _refused(request, needs, error) from error
    return _checked(request, needed(get_guard(), api_keys=True), optional=True)


def _takes_keys(request: Request) -> bool:
    """Return whether one of the view's permissions takes API keys."""
    view: Any = request.parser_context.get("view")
    if view is None or getattr(request, _ASKING, False):
        return False  # `get_permissions` of the view has asked for request.user
    setattr(request, _ASKING, True)
    try:
        return any(_takes_key(each) for each in view.get_permissions())
    finally:
        setattr(request, _ASKING, False)


def _takes_key(permission: Any) -> bool:
    if isinstance(permission, HasCaller):
        return permission.api_keys
    return any(_takes_key(getattr(permission, part)) for part in ("op1", "op2") if hasattr(permission, part))


def _checked(request: Request, needs: Requirement, *, optional: bool) -> Caller | None:
    try:
        return caller_of(request, needs, optional=optional)
    except WatchwordError as error:
        raise _refused(request, needs, error) from error


def _refused(request: Request, needs: Requirement, error: WatchwordError) -> RequestRefused:
    refused = RequestRefused(needs.refusal(error, DjangoSent(request)))
    # A refusal has one form, whatever was negotiated.
    request.accepted_renderer = _ProblemRenderer(refused)
    request.accepted_media_type = _ProblemRenderer.media_type
    return refused
