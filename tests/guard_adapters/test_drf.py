"""What only the REST framework adapter does. In process, through `django_site`."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from typing import Any

import pytest

from tests.guard_adapters import django_site
from watchword.guard import Guard
from watchword.testing import Issuer

ISSUER = Issuer()


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    django_site.configure(ISSUER.guard())
    yield
    django_site.configure(ISSUER.guard())  # whatever a test has set is gone


def view_of(*permissions: Any, **more: Any) -> Any:
    from rest_framework.response import Response
    from rest_framework.views import APIView

    def get(self: Any, request: Any) -> Any:
        return Response({"user": request.user.pk if request.user else None})

    return type("Shown", (APIView,), {"get": get, "permission_classes": permissions, **more}).as_view()


def ask(view: Any, **headers: str) -> Any:
    from django.test import RequestFactory

    answer = view(RequestFactory().get("/", headers=headers))
    return answer.render() if hasattr(answer, "render") else answer


def test_the_frameworks_own_permission_works_and_gets_our_challenge() -> None:
    from rest_framework.permissions import IsAdminUser, IsAuthenticated

    view = view_of(IsAuthenticated)
    refused = ask(view)
    assert (refused.status_code, refused["WWW-Authenticate"]) == (401, 'Bearer realm="watchword"')
    assert ask(view, **ISSUER.headers("ada")).data == {"user": "ada"}
    assert ask(view_of(IsAdminUser), **ISSUER.headers("ada", roles=["admin"])).status_code == 403


def test_a_refusal_has_one_form_whatever_was_asked_for() -> None:
    from rest_framework.renderers import BrowsableAPIRenderer

    from watchword.guard.drf import HasCaller

    view = view_of(HasCaller, renderer_classes=(BrowsableAPIRenderer,))
    refused = ask(view, Accept="text/html")
    assert (refused.status_code, refused["Content-Type"]) == (401, "application/problem+json")
    assert json.loads(refused.content)["code"] == "token_missing"
    assert json.loads(ask(view, Accept="text/html", Authorization="Bearer x").content)["code"] == "token_malformed"


def test_an_application_may_answer_refusals_its_own_way() -> None:
    from rest_framework.response import Response

    from watchword.guard.drf import HasCaller

    def own(error: Any, _: Any) -> Any:
        return Response({"mine": error.detail["code"]}, status=error.status_code)

    refused = ask(view_of(HasCaller, get_exception_handler=lambda self: own))
    assert (refused.status_code, json.loads(refused.content)) == (401, {"mine": "token_missing"})


def test_permissions_combine() -> None:
    from rest_framework.permissions import BasePermission

    from watchword.guard.drf import has_roles, has_scopes

    class FromInside(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            return "X-Inside" in request.headers

    either = view_of(FromInside | has_scopes("a b"))
    assert ask(either, **{"X-Inside": "1"}).status_code == 200
    assert ask(either, **ISSUER.headers(scopes=["a"])).status_code == 403
    assert ask(either, **ISSUER.headers(scopes=["a", "b"])).status_code == 200
    both = view_of(has_scopes("a") & has_roles("admin"))
    assert ask(both, **ISSUER.headers(scopes=["a"])).status_code == 403
    assert ask(both, **ISSUER.headers(scopes=["a"], roles=["admin"])).status_code == 200


def test_a_permission_of_ours_cannot_be_negated() -> None:
    """It would refuse everybody. It says so where it is written, and says what to write instead."""
    from watchword.guard.drf import HasCaller, has_roles, has_scopes

    class Own(HasCaller):
        roles = frozenset({"admin"})

    for permission in (HasCaller, Own, has_roles("admin"), has_scopes("a")):
        with pytest.raises(TypeError, match=rf"~{permission.__name__}: .*request\.auth\.roles"):
            operator.invert(permission)


def test_what_is_written_in_place_of_a_negation() -> None:
    from rest_framework.permissions import BasePermission, IsAdminUser

    from watchword.guard.drf import HasCaller

    class NotBanned(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            return request.auth is not None and "banned" not in request.auth.roles

    view = view_of(HasCaller & NotBanned & ~IsAdminUser)
    assert ask(view).status_code == 401
    assert ask(view, **ISSUER.headers("ada")).status_code == 200
    assert ask(view, **ISSUER.headers("ada", roles=["banned"])).status_code == 403


def test_a_caller_can_become_a_user_of_the_applications_own() -> None:
    from rest_framework.permissions import IsAuthenticated

    from watchword.guard.drf import CallerAuthentication

    class Own(CallerAuthentication):
        def user_of(self, caller: Any) -> Any:
            user = super().user_of(caller)
            assert str(user) == user.id == user.username == caller.user_id
            return type("User", (), {"pk": f"own-{caller.user_id}", "is_authenticated": True})()

    view = view_of(IsAuthenticated, authentication_classes=(Own,))
    assert ask(view, **ISSUER.headers("ada")).data == {"user": "own-ada"}


def test_when_the_guard_is_not_ready_it_is_503() -> None:
    from watchword.guard.drf import HasCaller

    django_site.configure(Guard("http://127.0.0.1:9", audience="x"))
    refused = ask(view_of(HasCaller), **ISSUER.headers())
    assert (refused.status_code, refused["Retry-After"]) == (503, "1")
    assert json.loads(refused.content)["code"] == "guard_not_ready"


def test_permissions_where_nothing_looks_for_them_open_nothing() -> None:
    from django.core.exceptions import ImproperlyConfigured
    from rest_framework.decorators import action, permission_classes
    from rest_framework.response import Response
    from rest_framework.viewsets import ViewSet

    from watchword.guard.drf import HasCaller

    @permission_classes([HasCaller])
    def get(_: Any, __: Any) -> Any:
        return Response("in")

    class Group(ViewSet):
        @action(detail=False)
        @permission_classes([HasCaller])
        def below(self, _: Any) -> Any:
            return Response("in")

        @action(detail=False, permission_classes=[HasCaller])
        def right(self, _: Any) -> Any:
            return Response("in")

    for slip in (view_of(get=get), view_of(permission_class=[HasCaller]), Group.as_view({"get": "below"})):
        for headers in ({}, ISSUER.headers("ada")):
            with pytest.raises(ImproperlyConfigured, match=r"protects nothing.* write `permission_classes = \[…\]` in"):
                ask(slip, **headers)
    right = Group.as_view({"get": "right"}, **Group.right.kwargs)
    assert [ask(right).status_code, ask(right, **ISSUER.headers("ada")).status_code] == [401, 200]


@pytest.mark.parametrize("asked", [{"role": "admin"}, {"scope": "x"}, {"max_age": "300"}, {"roles": None}])
def test_a_permission_of_ones_own_says_where_it_is_written_what_it_cannot_mean(asked: dict[str, Any]) -> None:
    from watchword.guard.drf import HasCaller

    with pytest.raises(TypeError, match=next(iter(asked))):
        type("Admin", (HasCaller,), asked)


EXPIRED = ISSUER.expired_token("ada")
KEY: dict[str, Any] = {"scopes": ["read"], "client_id": "api_key"}


def key_views() -> Iterator[tuple[Any, int]]:
    """Views, and what each answers to an API key with the scope `read`."""
    from rest_framework.permissions import AllowAny, IsAuthenticated

    from watchword.guard.drf import HasCaller, has_scopes

    takes, other = has_scopes("read", api_keys=True), has_scopes("write", api_keys=True)
    yield view_of(takes), 200
    yield view_of(IsAuthenticated & takes), 200
    yield view_of(IsAuthenticated, type("Takes", (HasCaller,), {"api_keys": True})), 200
    yield view_of(get_permissions=lambda self: [takes()]), 200
    yield view_of(other), 403
    yield view_of(takes, HasCaller), 401
    yield view_of(takes & has_scopes("read")), 401
    for without in ((), (AllowAny,), (IsAuthenticated,), (HasCaller,), (has_scopes("read"),)):
        yield view_of(*without), 401
    # Asks who it is in order to say what is needed, in a circle.
    yield view_of(get_permissions=lambda self: [takes()] if self.request.user else []), 401


def test_a_view_takes_an_API_key_where_a_permission_says_so() -> None:
    """⚑ Who it is is asked before what they may do, and a key is shown no view that did not ask for keys."""
    for place, (view, expected) in enumerate(key_views()):
        for _ in range(2):  # remembered the second time
            assert ask(view, **ISSUER.headers("ada", **KEY)).status_code == expected, place
        assert ask(view, Authorization=f"Bearer {EXPIRED}").status_code == 401
