"""What only the Django and REST framework adapters do. In process, through `django_site`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from tests.guard_adapters import django_site, in_process
from watchword.guard import Guard
from watchword.testing import Issuer

ISSUER = Issuer()


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    django_site.configure(ISSUER.guard())
    yield
    django_site.configure(ISSUER.guard())  # whatever a test has set is gone


def client(**options: Any) -> Any:
    from django.test import Client

    return Client(**options)


def test_the_middleware_guards_its_paths_and_leaves_exceptions_alone() -> None:
    assert client().get("/group/bare").status_code == 401
    assert client().get("/group/bare", headers=ISSUER.headers("ada")).json() == {"user": "ada"}
    assert client().get("/group/price").json() == {"user": None}
    assert client().get("/open", headers={"Authorization": "Bearer x"}).json() == {"user": None}
    ask = in_process.wsgi(django_site.wsgi(ISSUER.guard()))
    for path in ("/group", "/GROUP/bare", "//group/bare", "/group//price", "/x/../group/bare", "/x/%2e"):
        assert ask(path, []).status == 401, path


def test_optional_paths_of_the_middleware() -> None:
    from django.test import override_settings

    with override_settings(WATCHWORD_GUARD={"guard": ISSUER.guard(), "optional": "/", "protect": ["/group"]}):
        assert client().get("/open").json() == {"user": None}
        assert client().get("/open", headers=ISSUER.headers("ada")).json() == {"user": "ada"}
        assert client().get("/open", headers={"Authorization": "Bearer x"}).status_code == 401
        assert client().get("/group/bare").status_code == 401


def test_CSRF_is_for_cookies_and_not_for_bearers() -> None:
    """A guarded view needs no CSRF token; one whose caller is optional does, for cookies may matter there."""
    from watchword.guard.django import guarded

    strict = client(enforce_csrf_checks=True)
    assert strict.post("/needs", headers=ISSUER.headers()).status_code == 200
    assert strict.post("/group/bare", headers=ISSUER.headers()).status_code == 200
    assert strict.post("/group/bare").status_code == 401
    assert strict.post("/group/price", headers=ISSUER.headers()).status_code == 403
    assert strict.post("/open", headers=ISSUER.headers()).status_code == 403
    assert not hasattr(guarded(optional=True)(lambda request: None), "csrf_exempt")


def test_classes_are_guarded_by_djangos_method_decorator() -> None:
    from django.http import JsonResponse
    from django.test import RequestFactory
    from django.utils.decorators import method_decorator
    from django.views import View

    from watchword.guard.django import guarded

    @method_decorator(guarded(roles="admin"), name="dispatch")
    class Admin(View):
        def get(self, request: Any) -> Any:
            return JsonResponse({"user": request.caller.user_id})

    view = Admin.as_view()
    assert view(RequestFactory().get("/")).status_code == 401
    assert view(RequestFactory().get("/", headers=ISSUER.headers("ada"))).status_code == 403
    assert view(RequestFactory().get("/", headers=ISSUER.headers("ada", roles=["admin"]))).status_code == 200


async def test_the_middleware_is_async_where_django_is() -> None:
    """No thread is taken: the whole chain of ours runs on the loop."""
    from django.http import HttpResponse
    from django.test import AsyncRequestFactory

    from watchword.guard.django import GuardMiddleware

    async def view(request: Any) -> Any:
        return HttpResponse(f"{threading.current_thread() is threading.main_thread()} {request.caller.user_id}")

    middleware = GuardMiddleware(view)
    requests = AsyncRequestFactory()
    assert (await middleware(requests.get("/group/x"))).status_code == 401
    answer = await middleware(requests.get("/group/x", headers=ISSUER.headers("ada")))
    assert answer.content == b"True ada"


def test_there_is_one_guard_for_a_process() -> None:
    from watchword.guard.django import get_guard

    django_site.configure(ISSUER.guard())
    found: list[Guard] = []
    threads = [threading.Thread(target=lambda: found.append(get_guard())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


SECRET = sha256(b"a secret of this test").hexdigest()


def test_a_guard_by_its_name_and_one_with_a_shared_secret() -> None:
    from django.test import override_settings

    from watchword.guard.django import get_guard

    with override_settings(WATCHWORD_GUARD={"guard": "tests.guard_adapters.django_site.NAMED"}):
        assert get_guard() is django_site.NAMED
    given = {"issuer": "https://auth.example", "audience": "x", "secret": SECRET.encode(), "revocations": False}
    with override_settings(WATCHWORD_GUARD=given):
        assert get_guard().issuer == "https://auth.example"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "must be a dict"),
        ([], "must be a dict"),
        ({"issuer": "https://a"}, "audience"),
        ({"issuer": "ftp://a", "audience": "x"}, "https"),
        ({"issuer": "https://a", "audience": "x", "auidence": "y"}, "auidence"),
        ({"issuer": "https://a", "audience": "x", "secret": b"short"}, "WATCHWORD_GUARD"),
    ],
)
def test_settings_that_cannot_be_used_say_so(given: Any, message: str) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    from watchword.guard.django import get_guard

    with override_settings(WATCHWORD_GUARD=given), pytest.raises(ImproperlyConfigured, match=message):
        get_guard()


@pytest.mark.parametrize("given", [{"protect": ["api"]}, {"protect": ["/a"], "except": ["/*"]}, {"optional": "x"}])
def test_paths_that_cannot_be_used_say_so_at_the_start(given: Any) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    from watchword.guard.django import GuardMiddleware

    with override_settings(WATCHWORD_GUARD=given), pytest.raises(ImproperlyConfigured, match="guard:"):
        GuardMiddleware(lambda request: None)


# REST framework -----------------------------------------------------------------------------------------------------


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
