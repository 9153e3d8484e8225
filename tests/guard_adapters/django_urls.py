"""The routes of `django_site`. Imported by Django when it is set up."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.guard_adapters.apps import seen
from tests.guard_adapters.ninja_api import api
from watchword.guard.django import guarded
from watchword.guard.drf import HasCaller, has_roles, has_scopes


def show(request: HttpRequest) -> JsonResponse:
    return JsonResponse(seen(request.caller))


async def show_async(request: HttpRequest) -> JsonResponse:
    return JsonResponse(seen(request.caller))


class Sync(View):
    def get(self, request: HttpRequest) -> JsonResponse:
        return show(request)


class Async(View):
    async def get(self, request: HttpRequest) -> JsonResponse:
        return await show_async(request)


def of_class(shown: type[View], *decorators: Any) -> Any:
    """A view of a class whose `dispatch` is decorated as our guide and Django's documentation say."""
    return method_decorator(decorators, name="dispatch")(type(shown.__name__, (shown,), {})).as_view()


def classes() -> Any:
    """Each kind of class behind each kind of decorator; a decorator of Django's own on either side, too."""
    for kind in (Sync, Async):
        name = kind.__name__.lower()
        yield path(f"{name}/needs", of_class(kind, guarded))
        yield path(f"{name}/called", of_class(kind, guarded()))
        yield path(f"{name}/maybe", of_class(kind, guarded(optional=True)))
        yield path(f"{name}/admin", of_class(kind, guarded(roles="admin")))
        yield path(f"{name}/outer", of_class(kind, never_cache, guarded()))
        yield path(f"{name}/inner", of_class(kind, guarded(), csrf_exempt))
        yield path(f"{name}/twice", of_class(kind, guarded(), guarded(roles="admin")))


class Needs(APIView):
    def get(self, request: Request) -> Response:
        return Response(seen(request.auth))

    post = get


class Open(Needs):
    authentication_classes = ()
    permission_classes = ()


class Maybe(Needs):
    permission_classes = ()


class Scoped(Needs):
    permission_classes = (has_scopes("orders:write"),)


class Admin(Needs):
    permission_classes = (has_roles("admin"),)


class Recent(Needs):
    permission_classes = (type("RecentCaller", (HasCaller,), {"max_age": 300}),)


class Keys(Needs):
    permission_classes = (has_scopes("orders:read", api_keys=True),)


class One(Needs):
    permission_classes = (HasCaller & has_scopes("orders:read"),)


def whole_group(request: HttpRequest) -> Any:
    """Guarded by the middleware, which asks for a caller, and by a decorator, which asks for a scope."""
    return guarded(scopes="orders:read")(show)(request)


urlpatterns = [
    *classes(),
    path("open", show),
    path("needs", guarded(show)),
    path("maybe", csrf_exempt(guarded(optional=True)(show_async))),
    path("scoped", guarded(scopes="orders:write")(show_async)),
    path("admin", guarded(roles="admin")(show)),
    path("recent", guarded(max_age=300)(show)),
    path("keys", guarded(scopes="orders:read", api_keys=True)(show)),
    path("group/one", whole_group),
    path("group/bare", show),
    path("group/price", show),
    path("ninja/", api.urls),
    path("drf/open", Open.as_view()),
    path("drf/needs", Needs.as_view()),
    path("drf/maybe", Maybe.as_view()),
    path("drf/scoped", Scoped.as_view()),
    path("drf/admin", Admin.as_view()),
    path("drf/recent", Recent.as_view()),
    path("drf/keys", Keys.as_view()),
    path("drf/group/one", One.as_view()),
]
