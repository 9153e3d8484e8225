"""REST framework's own tools and others' extensions with callers: permissions, throttles, tests, descriptions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.guard_adapters import django_site
from tests.guard_adapters.test_drf import ask, view_of
from watchword.testing import Issuer

ISSUER = Issuer()
GOOD, ADMIN = ISSUER.headers("ada"), ISSUER.headers("ada", roles=["admin"])


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    django_site.configure(ISSUER.guard())
    yield
    django_site.configure(ISSUER.guard())


def caller(user_id: str = "ada", **given: Any) -> Any:
    return ISSUER.guard().verify(ISSUER.token(user_id, **given))


def thing() -> Any:
    """A model of no application, of which no row is ever read."""
    from django.apps import apps
    from django.db import models

    found = apps.all_models["things"].get("thing")
    made = {"Meta": type("Meta", (), {"app_label": "things"}), "__module__": __name__}
    return found or type("Thing", (models.Model,), made)


# The user ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DjangoModelPermissions", "DjangoModelPermissionsOrAnonReadOnly"])
def test_the_permissions_of_models_answer_403(name: str) -> None:
    from rest_framework import permissions

    post = {"post": lambda self, request: None, "queryset": thing().objects.none()}
    view = view_of(getattr(permissions, name), **post)
    assert ask(view, **GOOD).status_code == 200
    assert ask_post(view, **ADMIN).status_code == 403
    assert ask_post(view).status_code == 401


def test_the_permissions_of_objects_refuse() -> None:
    from rest_framework.permissions import DjangoObjectPermissions
    from rest_framework.request import Request

    from watchword.guard.drf import CallerUser

    view = type("View", (), {"queryset": thing().objects.none()})()
    request = Request(request_of("POST"))
    request.user = CallerUser(caller())
    assert not DjangoObjectPermissions().has_object_permission(request, view, thing()())


def request_of(method: str, **headers: str) -> Any:
    from django.test import RequestFactory

    return RequestFactory().generic(method, "/", headers=headers)


def ask_post(view: Any, **headers: str) -> Any:
    answer = view(request_of("POST", **headers))
    return answer.render() if hasattr(answer, "render") else answer


def test_a_caller_has_what_Django_asks_of_users() -> None:
    """Every public attribute of Django's two kinds of users, without a database; nothing is granted."""
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.core.exceptions import ObjectDoesNotExist

    from watchword.guard.drf import CallerUser

    user = CallerUser(caller("ada", roles=["admin"]))
    assert (user.pk, user.id, user.username, user.get_username(), str(user)) == ("ada",) * 5
    assert (user.is_authenticated, user.is_anonymous, user.is_active) == (True, False, True)
    assert (user.is_staff, user.is_superuser, user.has_usable_password()) == (False, False, False)
    assert (user.has_perm("a.b"), user.has_perm("a.b", object()), user.has_module_perms("a")) == (False,) * 3
    assert (user.has_perms(["a.b"]), user.has_perms(()), user.has_perms(["a.b"], obj=1)) == (False, True, False)
    for wrong in ("a.b", None):
        with pytest.raises(ValueError, match="iterable"):
            user.has_perms(wrong)  # type: ignore[arg-type]
    assert user.get_all_permissions() == user.get_user_permissions() == user.get_group_permissions() == set()
    assert not user.check_password("x")
    assert not user.groups.filter(name="admin").exists()
    assert (user.groups.count(), list(user.groups.all()), user.user_permissions.first()) == (0, [], None)
    assert list(user.groups.values_list("name", flat=True)) == []
    assert "admin" not in user.groups.all()
    with pytest.raises(ObjectDoesNotExist):
        user.groups.get(name="admin")
    for forbidden in (user.save, user.delete, lambda: user.set_password("x")):
        with pytest.raises(NotImplementedError, match="Django's database"):
            forbidden()
    for name in ("get_full_name", "get_short_name", "natural_key"):
        assert getattr(user, name)() == "ada"
    orm = {"check", "clean", "from_db", "full_clean", "refresh_from_db", "serializable_value", "password", "pk"}
    asked = {name for name in vars(AbstractBaseUser) if not name.startswith("_")} - orm
    assert {name for name in asked if not hasattr(user, name)} <= {
        *("Meta", "acheck_password", "get_email_field_name", "get_session_auth_fallback_hash", "get_session_auth_hash"),
        *("normalize_username", "set_unusable_password"),
    }


async def test_a_caller_has_the_async_forms_too() -> None:
    from watchword.guard.drf import CallerUser

    user = CallerUser(caller())
    assert [await user.ahas_perm("a"), await user.ahas_perms(["a"]), await user.ahas_module_perms("a")] == [False] * 3
    assert await user.aget_all_permissions() == await user.aget_user_permissions() == set()


def test_two_of_the_same_user_are_equal() -> None:
    from watchword.guard.drf import CallerUser

    one, other = CallerUser(caller("ada")), CallerUser(caller("ada", roles=["admin"]))
    assert one == other
    assert len({one, other, CallerUser(caller("bob"))}) == 2
    assert one != "ada"


def test_a_permission_of_ones_own_user() -> None:
    from rest_framework.permissions import DjangoModelPermissions

    from watchword.guard.drf import CallerAuthentication, CallerUser

    class Own(CallerUser):
        def has_perm(self, perm: str, obj: Any = None) -> bool:
            return "admin" in self.caller.roles

    class Authentication(CallerAuthentication):
        def user_of(self, caller: Any) -> Any:
            return Own(caller)

    from rest_framework.response import Response

    post = {"post": lambda self, request: Response({}), "queryset": thing().objects.none()}
    view = view_of(DjangoModelPermissions, authentication_classes=(Authentication,), **post)
    assert [ask_post(view, **headers).status_code for headers in (GOOD, ADMIN)] == [403, 200]


def test_throttles_count_by_the_caller() -> None:
    from django.core.cache import cache
    from rest_framework.throttling import ScopedRateThrottle, UserRateThrottle

    from watchword.guard.drf import HasCaller

    cache.clear()
    for kind in (UserRateThrottle, ScopedRateThrottle):
        throttle = type("Once", (kind,), {"rate": "1/hour", "get_rate": lambda self: "1/hour"})
        view = view_of(HasCaller, throttle_classes=(throttle,), throttle_scope="once")
        statuses = [ask(view, **ISSUER.headers(name)).status_code for name in ("ada", "bob", "ada")]
        assert statuses == [200, 200, 429], kind


# Caches --------------------------------------------------------------------------------------------------------------


def test_cache_page_above_a_view_keeps_no_answer_for_others() -> None:
    from django.core.cache import cache
    from django.views.decorators.cache import cache_page
    from rest_framework.permissions import IsAuthenticated

    from watchword.guard.drf import HasCaller

    for permissions in ((HasCaller,), (IsAuthenticated,), ()):
        cache.clear()
        view = cache_page(60)(view_of(*permissions))
        for _ in range(2):
            assert b"ada" in ask(view, **ISSUER.headers("ada")).content
            assert b"bob" in ask(view, **ISSUER.headers("bob")).content
            stranger = ask(view)
            assert b"ada" not in stranger.content
            assert stranger.status_code == (401 if permissions else 200)


# Written wrongly -----------------------------------------------------------------------------------------------------


def test_classes_are_listed_and_not_objects() -> None:
    from watchword.guard.drf import HasCaller, has_roles

    for permission in (HasCaller, has_roles("admin")):
        with pytest.raises(TypeError, match=rf"write {permission.__name__} without parentheses"):
            ask(view_of(permission()), **GOOD)
        with pytest.raises(TypeError, match=rf"a list: \[{permission.__name__}\]"):
            ask(view_of(permission_classes=permission), **GOOD)
    with pytest.raises(TypeError, match="roles"):
        ask(view_of(has_roles), **GOOD)


@pytest.mark.parametrize("value", [None, [], "", " ", [None], 7])
def test_needs_that_cannot_be_meant(value: Any) -> None:
    from watchword.guard.drf import HasCaller, has_roles, has_scopes

    for make in (has_roles, has_scopes):
        with pytest.raises((TypeError, ValueError), match=r"roles|scopes"):
            make(value)
    with pytest.raises(TypeError, match="max_age"):
        has_roles("admin", max_age="300")  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError), match="roles"):
        type("Own", (HasCaller,), {"roles": value})


def test_a_permission_without_its_authentication_says_so() -> None:
    """`request.user` would be somebody else, or nobody."""
    from django.core.exceptions import ImproperlyConfigured
    from rest_framework.authentication import BasicAuthentication, SessionAuthentication

    from watchword.guard.drf import HasCaller, has_roles

    for classes in ((), (BasicAuthentication,), (SessionAuthentication,)):
        for permission in (HasCaller, has_roles("admin")):
            view = view_of(permission, authentication_classes=classes)
            assert ask(view).status_code in {401, 403}
            if BasicAuthentication in classes:
                continue
            with pytest.raises(ImproperlyConfigured, match="CallerAuthentication"):
                ask(view, **ADMIN)


def test_the_caller_is_the_user_also_where_another_authentication_came_first() -> None:
    from rest_framework.authentication import BaseAuthentication

    from watchword.guard.drf import CallerAuthentication, HasCaller

    class Session(BaseAuthentication):
        def authenticate(self, request: Any) -> Any:
            return type("User", (), {"pk": "bob", "is_authenticated": True})(), None

    view = view_of(HasCaller, authentication_classes=(Session, CallerAuthentication))
    assert ask(view, **GOOD).data == {"user": "ada"}
    assert ask(view).status_code == 401


def test_the_permissions_of_function_views_in_the_wrong_order() -> None:
    """REST framework says so itself; here it is held to it."""
    from rest_framework.decorators import api_view, permission_classes

    from watchword.guard.drf import HasCaller

    with pytest.raises(TypeError, match="below"):
        permission_classes([HasCaller])(api_view(["GET"])(lambda request: None))


# force_authenticate --------------------------------------------------------------------------------------------------


def forced(view: Any, **given: Any) -> Any:
    from rest_framework.test import APIRequestFactory, force_authenticate

    request = APIRequestFactory().get("/")
    force_authenticate(request, **given)
    answer = view(request)
    return answer.render() if hasattr(answer, "render") else answer


def test_force_authenticate_works_with_our_permissions() -> None:
    from rest_framework.response import Response

    from watchword.guard.drf import CallerUser, HasCaller, has_roles, has_scopes

    show = {"get": lambda self, request: Response({"user": request.auth and request.auth.user_id})}
    admin = caller("ada", roles=["admin"], scopes=["read"])
    plain = caller("bob")
    for permission in (HasCaller, has_roles("admin"), has_scopes("read"), has_scopes("read") & has_roles("admin")):
        view = view_of(permission, **show)
        for given in ({"user": CallerUser(admin)}, {"token": admin}, {"user": CallerUser(plain), "token": admin}):
            assert forced(view, **given).data == {"user": "ada"}
        expected = 200 if permission is HasCaller else 403
        assert forced(view, user=CallerUser(plain)).status_code == expected
        own = type("User", (), {"is_authenticated": True, "pk": 1})()
        assert forced(view, user=own).status_code == expected
        assert forced(view, user=type("Nobody", (), {"is_authenticated": False})()).status_code == 401
        assert forced(view).status_code == 401
    recent = view_of(type("Recent", (HasCaller,), {"max_age": 300}), **show)
    assert forced(recent, user=CallerUser(admin)).status_code == 200
    old = caller("ada", auth_time=ISSUER.clock.now() - 301)
    assert forced(recent, user=CallerUser(old)).status_code == 401


def test_the_client_of_REST_framework_does_it_too() -> None:
    from rest_framework.test import APIClient

    from watchword.guard.drf import CallerUser

    client = APIClient()
    client.force_authenticate(user=CallerUser(caller("ada", roles=["admin"])))
    assert client.get("/drf/needs").json() == {"user": "ada"}
    assert client.get("/drf/admin").json() == {"user": "ada"}
    assert client.get("/drf/scoped").status_code == 403
    assert APIClient().get("/drf/needs").status_code == 401


# drf-spectacular -----------------------------------------------------------------------------------------------------


def test_a_description_shows_the_security_scheme() -> None:
    """In a process of its own: the extension is there because drf-spectacular is, and for no other reason."""
    script = """
import sys
from tests.guard_adapters import django_site
from watchword.testing import Issuer
django_site.configure(Issuer().guard())
from watchword.guard.drf import CallerAuthentication
CallerAuthentication()
assert not [name for name in sys.modules if "spectacular" in name]
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from tests.guard_adapters import django_urls
from django.urls import path
class Own(CallerAuthentication): pass
class Other(django_urls.Needs): authentication_classes = [Own]
for view in (django_urls.Needs, django_urls.Admin, django_urls.Open, Other):
    view.schema = AutoSchema()
shown = SchemaGenerator(patterns=[
    path("needs", django_urls.Needs.as_view()), path("admin", django_urls.Admin.as_view()),
    path("open", django_urls.Open.as_view()), path("own", Other.as_view())]).get_schema(request=None, public=True)
scheme = shown["components"]["securitySchemes"]
assert set(scheme) == {"AccessToken"}, scheme
assert (scheme["AccessToken"]["type"], scheme["AccessToken"]["scheme"]) == ("http", "bearer")
for name in ("needs", "admin", "own"):
    assert {"AccessToken": []} in shown["paths"][f"/{name}"]["get"]["security"], name
assert {"AccessToken": []} not in shown["paths"]["/open"]["get"].get("security", [])
print("shown")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("shown"), done.stderr
    assert "unable to resolve" not in done.stderr.lower() or "authenticator" not in done.stderr.lower()
