"""A guard in Django that is written wrongly says so; caches and what lies beside a guard open nothing."""

from __future__ import annotations

import asyncio
import functools
import unittest
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.guard_adapters import django_site
from watchword.testing import Issuer

ISSUER = Issuer()
GOOD, ADMIN = ISSUER.headers("ada"), ISSUER.headers("ada", roles=["admin"])
METHOD = r'@method_decorator\(guarded\(…\)\) above the method, or @method_decorator\(guarded\(…\), name="dispatch"\)'


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    django_site.configure(ISSUER.guard())
    yield
    django_site.configure(ISSUER.guard())


def get(path: str = "/", **headers: str) -> Any:
    from django.test import RequestFactory

    return RequestFactory().get(path, headers=headers)


def show(request: Any) -> Any:
    from django.http import HttpResponse

    return HttpResponse(request.caller.user_id if request.caller else "nobody")


async def show_async(request: Any) -> Any:
    return show(request)


def in_a_class() -> None:
    """What is written in a class body is decorated before there is a class."""
    from watchword.guard.django import guarded

    class Orders:
        @guarded(roles="admin")
        def get(self, request: Any) -> None: ...


def in_a_class_without_parentheses() -> None:
    from watchword.guard.django import guarded

    class Orders:
        @guarded
        async def post(self, request: Any) -> None: ...


@pytest.mark.parametrize("write", [in_a_class, in_a_class_without_parentheses])
def test_a_method_is_told_what_to_write(write: Any) -> None:
    with pytest.raises(TypeError, match=METHOD):
        write()


def test_a_method_whose_first_argument_has_another_name_is_told_when_it_is_called() -> None:
    from watchword.guard.django import guarded

    class Orders:
        @guarded()
        def get(this: Any, request: Any) -> None: ...  # noqa: N805

        @guarded()
        async def post(this: Any, request: Any) -> None: ...  # noqa: N805

    with pytest.raises(TypeError, match=METHOD):
        Orders().get(get())
    with pytest.raises(TypeError, match=METHOD):
        asyncio.run(Orders().post(get()))


def test_what_the_message_says_works() -> None:
    from django.utils.decorators import method_decorator
    from django.views import View

    from watchword.guard.django import guarded

    class Orders(View):
        @method_decorator(guarded(roles="admin"))
        def get(self, request: Any) -> Any:
            return show(request)

    assert [Orders.as_view()(get(**headers)).status_code for headers in ({}, GOOD, ADMIN)] == [401, 403, 200]


def test_what_is_no_view() -> None:
    from django.views import View

    from watchword.guard.django import guarded

    for wrong in (View, type("Own", (), {})):
        for decorate in (guarded, guarded()):
            with pytest.raises(TypeError, match=r"functions; for the class \w+ write @method_decorator"):
                decorate(wrong)
    for positional in ("admin", ["admin"], 7, get()):
        for decorate in (guarded, guarded()):
            with pytest.raises(TypeError, match="decorates a view"):
                decorate(positional)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        *(({"roles": value}, "roles") for value in (None, [], "", " ", [None], b"admin", 7)),
        *(({"scopes": value}, "scopes") for value in (None, [], "", {}, [b"x"])),
        *(({"max_age": value}, "max_age") for value in ("300", True, -1, 0.5)),
        *(({"optional": value}, "optional") for value in ("no", 1, None)),
        *(({name: "x"}, name) for name in ("role", "scope", "maxage", "option")),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(asked: Any, message: str) -> None:
    from watchword.guard.django import guarded

    with pytest.raises((TypeError, ValueError), match=message):
        guarded(**asked)


# Caches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [show, show_async])
def test_cache_page_above_a_guard_keeps_no_answer_for_others(kind: Any) -> None:
    """Neither for strangers, nor for other callers; also where the view itself says that its answer may be kept."""
    from django.core.cache import cache
    from django.views.decorators.cache import cache_control, cache_page

    from watchword.guard.django import guarded

    cache.clear()
    for name, inner in (("plain", kind), ("public", cache_control(public=True, max_age=60)(kind))):
        for optional in (False, True):
            view = cache_page(60)(guarded(optional=optional)(inner))

            def ask(user: str | None) -> tuple[int, str]:
                answer = view(get(f"/{name}/{optional}", **(ISSUER.headers(user) if user else {})))  # noqa: B023
                answer = asyncio.run(answer) if asyncio.iscoroutine(answer) else answer
                return answer.status_code, answer.content.decode() if answer.status_code == 200 else ""

            stranger = (200, "nobody") if optional else (401, "")
            for _ in range(2):
                assert ask("ada") == (200, "ada")
                assert ask(None) == stranger
                assert ask("bob") == (200, "bob")


def test_an_answer_for_a_caller_says_that_it_is_one() -> None:
    from watchword.guard.django import guarded

    answer = guarded(show)(get(**GOOD))
    assert (answer["Cache-Control"], answer["Vary"]) == ("private", "Authorization")
    nobody = guarded(optional=True)(show)(get())
    assert (nobody.has_header("Cache-Control"), nobody["Vary"]) == (False, "Authorization")
    from django.test import Client

    grouped = Client().get("/group/bare", headers=GOOD)
    assert (grouped["Cache-Control"], grouped["Vary"]) == ("private", "Authorization")
    assert not Client().get("/group/price", headers=GOOD).has_header("Vary")


def test_the_caches_of_a_whole_site_keep_nothing_for_strangers() -> None:
    """Django's two middlewares, with ours between them or below; above both it is refused at the start."""
    from django.conf import settings
    from django.core.cache import cache
    from django.core.exceptions import ImproperlyConfigured
    from django.test import Client, override_settings

    store, fetch = (f"django.middleware.cache.{name}CacheMiddleware" for name in ("Update", "FetchFrom"))
    ours = "watchword.guard.django.GuardMiddleware"
    assert ours in settings.MIDDLEWARE
    for order in ([store, ours, fetch], [store, fetch, ours]):
        cache.clear()
        with override_settings(MIDDLEWARE=order):
            client = Client()
            for _ in range(2):
                assert client.get("/group/bare", headers=GOOD).json() == {"user": "ada"}
                assert client.get("/group/bare").status_code == 401
                assert client.get("/group/bare", headers=ISSUER.headers("bob")).json() == {"user": "bob"}
    with override_settings(MIDDLEWARE=[ours, store, fetch]), pytest.raises(ImproperlyConfigured, match="move it above"):
        Client().get("/open")


# The middleware ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "guards nothing"),
        ({"protect": []}, "guards nothing"),
        ({"except": ["/health"]}, "guards nothing"),
        ({"protect": ["/api"], "except": ["/api/*"]}, "leaves nothing guarded"),
        ({"protect": ["/api/v1"], "except": ["/API/*"]}, "leaves nothing guarded"),
        ({"protect": ["/"], "except": ["/*"]}, "nothing guarded"),
    ],
)
def test_a_middleware_that_guards_nothing_does_not_start(given: Any, message: str) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    from watchword.guard.django import GuardMiddleware

    with (
        override_settings(WATCHWORD_GUARD={"guard": ISSUER.guard(), **given}),
        pytest.raises(ImproperlyConfigured, match=message),
    ):
        GuardMiddleware(lambda request: None)


def test_paths_without_a_middleware_are_noticed_by_the_first_view() -> None:
    """Unless the middleware is there under another name."""
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    from watchword.guard.django import GuardMiddleware, guarded

    for name in ("protect", "optional"):
        given = {"guard": ISSUER.guard(), name: ["/api"]}
        with override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware"], WATCHWORD_GUARD=given):
            with pytest.raises(ImproperlyConfigured, match=f"'{name}' guards nothing.*missing in MIDDLEWARE"):
                guarded(show)(get(**GOOD))
            GuardMiddleware(show)
            assert guarded(show)(get(**GOOD)).status_code == 200


def test_what_the_middleware_reaches_and_what_it_does_not(tmp_path: Path) -> None:
    """Everything that the site's urls answer, whatever the method; not what is answered before the middleware."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import Client, override_settings
    from django.urls import path, re_path
    from django.views.static import serve

    (tmp_path / "a.txt").write_text("kept")
    urls = type("Urls", (), {"urlpatterns": [
        path("page", show),
        re_path(r"^media/(?P<path>.*)$", serve, {"document_root": str(tmp_path)}),
    ]})  # fmt: skip
    given = {"guard": ISSUER.guard(), "protect": ["/"]}
    more = {"STATIC_URL": "/static/", "STATICFILES_DIRS": [str(tmp_path)], "ROOT_URLCONF": urls}
    with override_settings(WATCHWORD_GUARD=given, **more):
        client = Client()
        for where in ("/page", "/media/a.txt", "/none", "/admin/", "/static/a.txt"):
            for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "BREW"):
                assert client.generic(method, where).status_code == 401, (method, where)
        with closing(client.get("/media/a.txt", headers=GOOD)) as kept:
            assert b"".join(kept.streaming_content) == b"kept"
        assert client.get("/none", headers=GOOD).status_code == 404
        # `runserver` puts this handler before the whole site.
        development = StaticFilesHandler(WSGIHandler())
        assert development._should_handle("/static/a.txt")
        with closing(development.serve(get("/static/a.txt"))) as kept:
            assert b"".join(kept.streaming_content) == b"kept"


def test_the_guard_of_a_site_that_is_there_already_is_exchanged() -> None:
    """For tests: views, middleware and permissions ask the new one, and afterwards the old one again."""
    from django.test import Client

    from watchword.guard.django import get_guard, use_guard

    other, before = Issuer(), get_guard()
    theirs = other.headers("eve", roles=["admin"], scopes=["orders:write"])
    paths = ("/needs", "/admin", "/scoped", "/group/bare", "/sync/needs", "/async/admin", "/drf/needs", "/drf/admin")
    client = Client()
    for each in paths:
        assert client.get(each, headers=theirs).status_code == 401
    with use_guard(other.guard()):
        for each in paths:
            assert client.get(each, headers=theirs).json() == {"user": "eve"}, each
            assert client.get(each, headers=ADMIN).status_code == 401
    assert get_guard() is before
    assert client.get("/needs", headers=GOOD).status_code == 200
    with pytest.raises(TypeError, match="use_guard takes a Guard"), use_guard("https://auth.example"):  # type: ignore[arg-type]
        pass


def test_decorators_between_a_guard_and_its_view_still_leave_it_a_view() -> None:
    from watchword.guard.django import guarded

    def doubled(view: Any) -> Any:
        @functools.wraps(view)
        def wrapped(request: Any) -> Any:
            return view(request)

        return wrapped

    assert doubled(guarded(doubled(show)))(get()).status_code == 401
    assert doubled(guarded(doubled(show)))(get(**GOOD)).content == b"ada"


def test_an_async_test_of_Django_may_make_what_it_needs() -> None:
    """It is run as an async view is under WSGI. What such a view makes there is refused all the same."""
    from asgiref.sync import async_to_sync
    from django.test import SimpleTestCase

    from watchword.guard.django import guarded

    guard = ISSUER.guard()
    made: list[Any] = []

    async def slip(_: Any) -> Any:
        guard.require(roles="admin")

    class Tests(SimpleTestCase):
        async def test_it(self) -> None:
            made.append(guard.require(roles="admin"))
            made.append(await guarded()(show_async)(get(**GOOD)))
            with pytest.raises(RuntimeError, match="checks nothing where a request is handled"):
                await asyncio.create_task(of_a_view())

    async def of_a_view() -> None:
        await asyncio.to_thread(async_to_sync(slip), get())

    result = unittest.TestResult()
    Tests("test_it")(result)  # unlike `run` as Django does
    assert (result.errors, result.failures, len(made)) == ([], [], 2)
    with pytest.raises(RuntimeError, match="checks nothing where a request is handled"):
        async_to_sync(slip)(get())
