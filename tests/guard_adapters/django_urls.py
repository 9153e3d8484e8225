"""The routes of `django_site`. Imported by Django when it is set up."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.guard_adapters.apps import seen
from watchword.guard.django import guarded
from watchword.guard.drf import HasCaller, has_roles, has_scopes


def show(request: HttpRequest) -> JsonResponse:
    return JsonResponse(seen(request.caller))


async def show_async(request: HttpRequest) -> JsonResponse:
    return JsonResponse(seen(request.caller))


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
    permission_classes = (has_scopes((), max_age=300),)


class One(Needs):
    permission_classes = (HasCaller & has_scopes("orders:read"),)


def whole_group(request: HttpRequest) -> Any:
    """Guarded by the middleware, which asks for a caller, and by a decorator, which asks for a scope."""
    return guarded(scopes="orders:read")(show)(request)


urlpatterns = [
    path("open", show),
    path("needs", guarded(show)),
    path("maybe", csrf_exempt(guarded(optional=True)(show_async))),
    path("scoped", guarded(scopes="orders:write")(show_async)),
    path("admin", guarded(roles="admin")(show)),
    path("recent", guarded(max_age=300)(show)),
    path("group/one", whole_group),
    path("group/bare", show),
    path("group/price", show),
    path("drf/open", Open.as_view()),
    path("drf/needs", Needs.as_view()),
    path("drf/maybe", Maybe.as_view()),
    path("drf/scoped", Scoped.as_view()),
    path("drf/admin", Admin.as_view()),
    path("drf/recent", Recent.as_view()),
    path("drf/group/one", One.as_view()),
]
