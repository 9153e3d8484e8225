"""The guard in Django REST framework: an authentication class, and permissions that name scopes and roles.

    REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": ["watchword.guard.drf.CallerAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["watchword.guard.drf.HasCaller"],
    }

    class Orders(APIView):
        permission_classes = [has_scopes("orders:read") & has_roles("clerk")]

        def get(self, request):
            return Response({"for": request.user.caller.user_id})

The guard is the one of `watchword.guard.django`; its middleware is not needed. Without a token `request.user` is
Django's AnonymousUser: leave out the permission where the caller is optional.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec
from rest_framework.authentication import BaseAuthentication  # type: ignore[import-untyped]  # it publishes no types
from rest_framework.exceptions import APIException  # type: ignore[import-untyped]
from rest_framework.permissions import BasePermission, BasePermissionMetaclass  # type: ignore[import-untyped]
from rest_framework.renderers import JSONRenderer  # type: ignore[import-untyped]
from rest_framework.request import Request  # type: ignore[import-untyped]

from watchword.errors import WatchwordError
from watchword.guard import bearer
from watchword.guard.caller import Caller
from watchword.guard.django import authorization_of, get_guard
from watchword.guard.refusals import Refusal
from watchword.guard.requirement import Names, Requirement, names

__all__ = ["CallerAuthentication", "CallerUser", "HasCaller", "RequestRefused", "has_roles", "has_scopes"]

_CHALLENGE: Final = "www-authenticate"
_RETRY: Final = "retry-after"


class CallerUser:
    """A caller as `request.user`: as much of a Django user as permissions and throttles look at."""

    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    @property
    def pk(self) -> str:
        """The user's id; throttles count by it."""
        return self.caller.user_id

    id = username = pk

    def __str__(self) -> str:
        return self.caller.user_id


class CallerAuthentication(BaseAuthentication):  # type: ignore[misc]  # an untyped class
    """`request.user` and `request.auth` from the access token: a user and the `Caller`. No token: somebody else's turn.

    To work with users of your own, say which one a caller is by overriding `user_of`.
    """

    def authenticate(self, request: Request) -> tuple[Any, Caller] | None:
        """User and caller, or None where no token is shown. :raises RequestRefused: for a token that is not good."""
        needs = get_guard().require()
        caller = _checked(request, needs, optional=True)
        return None if caller is None else (self.user_of(caller), caller)

    def authenticate_header(self, _: Request) -> str:
        """The challenge where a view wants a user and no token was shown."""
        return dict(get_guard().refusal(bearer.missing()).headers)[_CHALLENGE]

    def user_of(self, caller: Caller) -> Any:
        """What `request.user` shall be."""
        return CallerUser(caller)


class _Affirmed(BasePermissionMetaclass):  # type: ignore[misc]  # an untyped class
    """The kind of permissions that refuse by themselves, so that REST framework's `~` has nothing to turn round."""

    def __invert__(cls) -> Any:  # noqa: N805  what REST framework's metaclass makes of permissions is classes
        raise TypeError(
            f"~{cls.__name__}: a permission of watchword.guard.drf refuses whoever lacks something, and would with `~` "
            "refuse everybody; write a permission of your own that looks at request.auth.roles or request.auth.scopes"
        )


class HasCaller(BasePermission, metaclass=_Affirmed):  # type: ignore[misc]  # an untyped class
    """Only for requests with a good token.

    It answers for itself: what it lacks is said with our codes and challenge. So nothing that stands behind it in
    `A | B` is asked any more; put it last there. And it cannot be negated: `~HasCaller` is a TypeError.
    """

    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    max_age: int | None = None

    def has_permission(self, request: Request, _: Any) -> bool:
        """True. :raises RequestRefused: otherwise."""
        needs = get_guard().require(scopes=self.scopes, roles=self.roles, max_age=self.max_age)
        _checked(request, needs, optional=False)
        return True


def has_scopes(scopes: Names, *, max_age: int | None = None) -> type[HasCaller]:
    """A permission: a token with each of these scopes (and a log-in not longer ago than `max_age` seconds)."""
    return type("HasScopes", (HasCaller,), {"scopes": names(scopes), "max_age": max_age})


def has_roles(roles: Names, *, max_age: int | None = None) -> type[HasCaller]:
    """A permission: a user with each of these roles (and a log-in not longer ago than `max_age` seconds)."""
    return type("HasRoles", (HasCaller,), {"roles": names(roles), "max_age": max_age})


class RequestRefused(APIException):  # type: ignore[misc]  # an untyped class
    """A request that the guard turned down; `refusal` is the whole answer, `detail` the problem document."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code, refusal.code)
        headers = dict(refusal.headers)
        self.refusal = refusal
        self.status_code = refusal.status
        self.auth_header = headers.get(_CHALLENGE)
        self.wait = int(headers[_RETRY]) if _RETRY in headers else None
        # REST framework's exception handler puts a dict into the answer as it is.
        self.detail = msgspec.json.decode(refusal.body)


class _ProblemRenderer(JSONRenderer):  # type: ignore[misc]  # an untyped class
    """Renders a refusal as it is; what an EXCEPTION_HANDLER of the application made of it, as JSON."""

    media_type = "application/problem+json"

    def __init__(self, error: RequestRefused) -> None:
        self._error = error

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        """The body."""
        if data is not self._error.detail:
            return cast(bytes, super().render(data, accepted_media_type, renderer_context))
        for name, value in self._error.refusal.headers:
            renderer_context["response"][name] = value
        return self._error.refusal.body


def _checked(request: Request, needs: Requirement, *, optional: bool) -> Caller | None:
    header = authorization_of(request)
    try:
        return needs.check_optional(header) if optional else needs.check(header)
    except WatchwordError as error:
        refused = RequestRefused(needs.refusal(error))
        # The negotiated form is for what the view would have answered; a refusal has one form.
        request.accepted_renderer = _ProblemRenderer(refused)
        request.accepted_media_type = _ProblemRenderer.media_type
        raise refused from error
