"""What only the Django adapter does. In process, through `django_site`."""

from __future__ import annotations

import asyncio
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


NEEDING = ("needs", "called", "admin", "outer", "inner", "twice")
ADMIN = ISSUER.token("ada", roles=["admin"])
CLASSES = [
    *((name, None, 401, "token_missing") for name in NEEDING),
    *((name, "x", 401, "token_malformed") for name in (*NEEDING, "maybe")),
    *((name, ISSUER.expired_token("ada"), 401, "token_expired") for name in (*NEEDING, "maybe")),
    *((name, ISSUER.token("ada"), 403, "role_missing") for name in ("admin", "twice")),
    *((name, ADMIN, 200, None) for name in (*NEEDING, "maybe")),
    ("maybe", None, 200, None),
]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("server", ["asgi", "wsgi"])
def test_classes_are_guarded_under_every_server(server: str, kind: str) -> None:
    """Django awaits what an async class's `dispatch` returns, which is no coroutine function itself."""
    loop = asyncio.new_event_loop()
    guard = ISSUER.guard()
    ask = (
        in_process.wsgi(django_site.wsgi(guard)) if server == "wsgi" else in_process.asgi(django_site.asgi(guard), loop)
    )
    for name, token, status, code in CLASSES:
        answer = ask(f"/{kind}/{name}", [] if token is None else [f"Bearer {token}".encode()])
        assert (answer.status, answer.code) == (status, code), (name, token)
        if status == 200:
            assert answer.user() == (None if token is None else "ada"), name
    loop.close()


async def test_an_async_class_is_checked_without_blocking_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when a method that it does not have is asked for, and when it is asked which it has."""
    from django.test import AsyncRequestFactory

    from tests.guard_adapters.django_urls import Async, of_class
    from watchword.guard.django import guarded
    from watchword.guard.requirement import Requirement

    def blocking(*_: Any) -> Any:
        raise AssertionError("on the event loop")

    monkeypatch.setattr(Requirement, "check", blocking)
    view, requests = of_class(Async, guarded()), AsyncRequestFactory()
    for method, status in (("GET", 200), ("HEAD", 200), ("OPTIONS", 200), ("POST", 405)):
        assert (await view(requests.generic(method, "/", headers=ISSUER.headers("ada")))).status_code == status
        assert (await view(requests.generic(method, "/"))).status_code == 401


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
        ({"issuer": "https://a", "audience": None}, "audience"),
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


HALF = {"issuer": "https://a", "audience": "x"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (HALF | {"protects": ["/admin"]}, "protects"),
        (HALF | {"Protect": ["/admin"]}, "Protect"),
        (HALF | {"secret": SECRET.encode(), "protected": ["/admin"]}, "protected"),
        ({"guard": ISSUER.guard(), "Protect": ["/admin"]}, "'Protect'"),
        ({"guard": ISSUER.guard(), "protect": ["/x"], "issuer": "https://a"}, "'issuer'"),
        ({"guard": object(), "protect": ["/x"]}, "dotted name"),
        ({"guard": "tests.guard_adapters.django_site.configure", "protect": ["/x"]}, "dotted name"),
        ({"issuer": "nonsense", "audience": "x"}, "nonsense|http"),
        ({"issuer": "https://a", "audience": None}, "audience"),
        ({"protect": ["/x"]}, "issuer"),
        ({}, "issuer"),
    ],
)
def test_a_site_with_a_mistake_in_its_guard_does_not_start(given: Any, message: str) -> None:
    """Whether or not the first request is for a guarded path: a misspelt `protect` would guard none."""
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    from watchword.guard.django import GuardMiddleware

    with override_settings(WATCHWORD_GUARD=given), pytest.raises(ImproperlyConfigured, match=message):
        GuardMiddleware(lambda request: None)
    with override_settings(WATCHWORD_GUARD=given), pytest.raises(ImproperlyConfigured, match=message):
        client().get("/open")


def test_the_guard_is_made_at_the_start_and_starts_nothing_itself() -> None:
    """Before a fork no thread may run; and a site starts while the service is away."""
    from django.test import override_settings

    from watchword.guard.django import GuardMiddleware, get_guard

    before = threading.active_count()
    with override_settings(WATCHWORD_GUARD={"issuer": "http://127.0.0.1:9", "audience": "x", "protect": ["/a"]}):
        GuardMiddleware(lambda request: None)
        assert threading.active_count() == before
        assert get_guard().issuer == "http://127.0.0.1:9"


def test_paths_may_be_one_text() -> None:
    """With spaces in between, as scopes and roles."""
    from django.test import override_settings

    given = {"guard": ISSUER.guard(), "protect": "/group /maybe", "except": "/group/price  /group/one"}
    with override_settings(WATCHWORD_GUARD=given):
        statuses = [client().get(path).status_code for path in ("/group/bare", "/maybe", "/group/price", "/open")]
    assert statuses == [401, 401, 200, 200]


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_a_path_may_repeat_the_script_name(kind: str) -> None:
    """`protect: ["/api"]` on a site below `/api` guarded nothing."""
    import asyncio

    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import override_settings

    from tests.guard_adapters.in_process import WsgiApi, answer_of, ask_asgi, http_scope

    def ask(path: str, mount: str, **more: Any) -> int:
        with override_settings(WATCHWORD_GUARD=given, ALLOWED_HOSTS=["*"], **more):
            if kind == "wsgi":
                app: Any = WSGIHandler()
                return WsgiApi(lambda e, s: app({**e, "SCRIPT_NAME": mount}, s)).ask(path).status
            scope = http_scope(mount + path, root_path=mount)
            return answer_of(asyncio.run(ask_asgi(ASGIHandler(), scope))).status

    given = {"guard": ISSUER.guard(), "protect": ["/api"], "except": ["/group/price"]}
    for mount in ("/api", "/outer/api"):
        assert [ask(path, mount) for path in ("/open", "/group/price", "/nothing")] == [401, 200, 401]
    assert [ask(path, "/shop") for path in ("/open", "/group/price", "/nothing")] == [200, 200, 404]
    assert ask("/open", "", FORCE_SCRIPT_NAME="/api") == 401
    for path in ("open", "x:/open", "http:open"):
        assert ask(path, "") == 401


@pytest.mark.parametrize(
    "given",
    [
        *({"protect": ["api"]}, {"protect": ["/a"], "except": ["/*"]}, {"optional": "x"}, {"protect": "/a b"}),
        *({"protect": ""}, {"protect": " "}, {"protect": "/a", "except": ""}),
    ],
)
def test_paths_that_cannot_be_used_say_so_at_the_start(given: Any) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    from watchword.guard.django import GuardMiddleware

    with override_settings(WATCHWORD_GUARD=given), pytest.raises(ImproperlyConfigured, match="guard:"):
        GuardMiddleware(lambda request: None)


@pytest.mark.parametrize("given", [None, 1, [None]])
def test_what_are_no_paths_at_all_says_so_at_the_start(given: Any) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    from watchword.guard.django import GuardMiddleware

    with (
        override_settings(WATCHWORD_GUARD={"guard": ISSUER.guard(), "protect": given}),
        pytest.raises(ImproperlyConfigured, match="WATCHWORD_GUARD"),
    ):
        GuardMiddleware(lambda request: None)
