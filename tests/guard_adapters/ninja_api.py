"""The API of `apps` in django-ninja, at `/ninja` of `django_site`; some operations are sync, some async."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI, Router

from tests.guard_adapters.apps import NEEDS, seen
from watchword.guard.ninja import optional, required

api = NinjaAPI(auth=required())
group = Router(auth=required(scopes="orders:read"))


@api.get("/open", auth=None)
def open_(request: HttpRequest) -> dict[str, Any]:
    return seen(getattr(request, "caller", None))


@api.api_operation(["GET", "POST", "HEAD"], "/needs")
def needs(request: HttpRequest) -> dict[str, Any]:
    assert request.auth is request.caller
    return seen(request.caller)


async def needs_async(request: HttpRequest) -> dict[str, Any]:
    return needs(request)


@api.get("/maybe", auth=optional())
async def maybe(request: HttpRequest) -> dict[str, Any]:
    return seen(request.caller)


for path, asked in NEEDS.items():
    api.get(path, auth=required(**asked), operation_id=path.strip("/"))(needs_async)


@group.get("/one")
def one(request: HttpRequest) -> dict[str, Any]:
    return seen(request.caller)


api.add_router("/group", group)
