"""django-ninja beyond the table: the OpenAPI document, handlers, other authentication, and slips."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse

from tests.guard_adapters import django_site

django_site.configure(django_site.NAMED)

from ninja import NinjaAPI, Router  # noqa: E402  after the settings
from ninja.security import APIKeyHeader  # noqa: E402
from ninja.testing import TestAsyncClient, TestClient  # noqa: E402

from watchword.guard.django import use_guard  # noqa: E402
from watchword.guard.ninja import NoCaller, RequestRefused, optional, required  # noqa: E402
from watchword.testing import Issuer  # noqa: E402

ISSUER = Issuer()
GOOD = ISSUER.headers("ada")
NAMES = itertools.count()


@pytest.fixture(autouse=True)
def guard() -> Iterator[Any]:
    with use_guard(ISSUER.guard()) as used:
        yield used


def made(**given: Any) -> NinjaAPI:
    return NinjaAPI(urls_namespace=f"test-{next(NAMES)}", **given)


def view(request: HttpRequest) -> str:
    return "in"


async def view_async(request: HttpRequest) -> str:
    return "in"


def test_the_OpenAPI_document_is_right() -> None:
    api = made(auth=required())
    api.get("/open", auth=None, operation_id="open")(view)
    api.get("/orders", operation_id="orders")(view)
    api.get("/scoped", auth=required(scopes="b a"), operation_id="scoped")(view)
    api.get("/maybe", auth=optional(), operation_id="maybe")(view_async)
    document = api.get_openapi_schema(path_prefix="")
    scheme = document["components"]["securitySchemes"]["AccessToken"]
    assert {key: scheme[key] for key in ("type", "scheme", "bearerFormat")} == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }
    operations = {path: row["get"] for path, row in document["paths"].items()}
    assert {path: row.get("security") for path, row in operations.items()} == {
        "/open": None,
        "/orders": [{"AccessToken": []}],
        "/scoped": [{"AccessToken": ["a", "b"]}],
        "/maybe": [{}, {"AccessToken": []}],
    }
    assert {path for path, row in operations.items() if {401, 403} <= set(row["responses"])} == {
        "/orders",
        "/scoped",
        "/maybe",
    }
    import json

    from openapi_spec_validator import validate

    validate(json.loads(json.dumps(document, default=str)))


def test_the_innermost_counts_and_none_leaves_open() -> None:
    api, router = made(auth=required()), Router(auth=required(roles="admin"))
    router.get("/stock")(view)
    router.get("/price", auth=None)(view)
    api.add_router("/admin", router)
    api.get("/orders")(view)
    client = TestClient(api)
    paths = ("/admin/stock", "/admin/price", "/orders")
    assert [client.get(path).status_code for path in paths] == [401, 200, 401]
    assert [client.get(path, headers=GOOD).status_code for path in paths] == [403, 200, 200]


@pytest.mark.parametrize("chosen", [view, view_async])
async def test_sync_and_async_operations(chosen: Callable[..., Any]) -> None:
    from asgiref.sync import sync_to_async

    api = made()

    @api.get("/")
    def caller(request: HttpRequest) -> None: ...

    router = Router()
    router.get("/", auth=required())(chosen)
    for headers, status in (({}, 401), (GOOD, 200)):
        if chosen is view:
            answer = await sync_to_async(TestClient(router).get)("/", headers=headers)
        else:
            answer = await TestAsyncClient(router).get("/", headers=headers)
        assert answer.status_code == status


def test_who_is_in_request_auth() -> None:
    router, seen = Router(), []

    @router.get("/", auth=optional())
    def maybe(request: HttpRequest) -> str:
        seen.append((request.auth, request.caller))
        return "in"

    client = TestClient(router)
    assert [client.get("/", headers=each).status_code for each in ({}, GOOD, {"Authorization": "Bearer x"})] == [
        200,
        200,
        401,
    ]
    (nobody, none), (auth, caller) = seen
    assert (type(nobody), none, auth is caller, caller.user_id) == (NoCaller, None, True, "ada")
    assert not nobody.is_authenticated


def test_another_authentication_comes_first() -> None:
    class Key(APIKeyHeader):
        param_name = "X-Key"

        def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
            return key if key == "right" else None

    router = Router()
    router.get("/", auth=[Key(), required()])(view)
    client = TestClient(router)
    shown: list[dict[str, str]] = [{"X-Key": "right"}, {"X-Key": "wrong"}, GOOD, {}]
    assert [client.get("/", headers=each).status_code for each in shown] == [200, 401, 200, 401]


def test_a_handler_of_ones_own() -> None:
    api = made(auth=required())
    api.get("/")(view)

    @api.exception_handler(RequestRefused)
    def own(request: HttpRequest, error: RequestRefused) -> HttpResponse:
        return HttpResponse(error.refusal.code, status=418)

    assert TestClient(api).get("/").status_code == 418


@pytest.mark.parametrize("how", ["value", "response"])
def test_caches_keep_callers_apart(how: str) -> None:
    router = Router()
    router.get("/", auth=required())(view if how == "value" else lambda request: HttpResponse("in"))
    answer = TestClient(router).get("/", headers=GOOD)
    assert (answer.headers["Vary"], answer.headers["Cache-Control"]) == ("Authorization", "private")


@pytest.mark.parametrize("slip", ["required", "optional", "guard", "check", "verify", "require", "requirement", "list"])
def test_slips_raise_where_they_are_written(slip: str, guard: Any) -> None:
    given: Any = {
        "required": required,
        "optional": optional,
        "guard": guard,
        "check": guard.check,
        "verify": guard.verify,
        "require": guard.require,
        "requirement": guard.require(),
        "list": [required],
    }[slip]
    with pytest.raises(TypeError, match=r"stands in auth=…: write auth=required\(\)"):
        made().get("/", auth=given)(view)
    router = Router(auth=given)
    router.get("/")(view)
    with pytest.raises(TypeError, match=r"stands in auth=…"):
        TestClient(router).get("/", headers=GOOD)


def test_wrong_needs() -> None:
    with pytest.raises(TypeError, match="roles or scopes"):
        required("admin")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the parentheses are missing"):
        required(view)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="roles are empty"):
        optional(roles=[])
    with pytest.raises(TypeError, match="max_age is a number"):
        required(max_age="60")  # type: ignore[arg-type]


@pytest.mark.parametrize("slip", ["required", "requirement"])
def test_a_function_that_only_makes_a_requirement_lets_nobody_in(slip: str, guard: Any) -> None:
    router = Router()
    router.get("/", auth=lambda request: required() if slip == "required" else guard.require())(view)
    for headers in ({}, GOOD):
        with pytest.raises(TypeError, match="checks nothing"):
            TestClient(router).get("/", headers=headers)
