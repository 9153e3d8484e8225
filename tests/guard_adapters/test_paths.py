"""A prefix guards at least what the application behind it could take for a path under it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from watchword.guard.asgi import GuardMiddleware, routed_path
from watchword.guard.paths import Paths
from watchword.testing import Issuer

ISSUER = Issuer()

UNDER = [
    *("/api", "/api/", "/api/x", "/api/x/y.json", "/API", "/Api/x", "/aPi/../x", "/api//x"),
    *("//api", "//api/x", "/./api", "/x/../api/y", "/x/..", "/api/..", "/x//y", "/..", "/%61pi", "/x%2fapi", "/%2e%2e"),
    *("\\api", "/x\\..\\api", "/api;x=1", "/x;/api", "/x;y", "/api\0", "/\tapi", "/x\n", "/\u017f/%"),
]
BESIDE = [
    "/",
    "/apix",
    "/apix/api",
    "/x/api",
    "/ap",
    "/api.json",
    "/api-docs",
    "/x/y",
    "/x.y/z",
    "/.well-known/x",
    "/é",
    "",
]


@pytest.mark.parametrize("path", UNDER)
def test_what_is_guarded(path: str) -> None:
    assert Paths(["/api"]).guards(path)
    assert Paths(["/api/"]).guards(path)


@pytest.mark.parametrize("path", BESIDE)
def test_what_is_not(path: str) -> None:
    assert not Paths(["/api"]).guards(path)


def test_several_and_none() -> None:
    assert [Paths(["/a", "/b/c"]).guards(path) for path in ("/a", "/b/c/d", "/b", "/b/cc")] == [
        True,
        True,
        False,
        False,
    ]
    assert not Paths([]).guards("//x")


@pytest.mark.parametrize(
    ("path", "guarded"),
    [
        *(("/api/health", False), ("/api/health/", True), ("/API/health", True), ("/api/health/x", True)),
        *(("/api//health", True), ("/api/./health", True), ("/api/x/../health", True), ("/api/healthy", True)),
        *(("/api/static/a.css", False), ("/api/static/", False), ("/api/static", True), ("/api/staticx", True)),
        *(("/api/static/../orders", True), ("/api/static/..", True), ("/api/static//x", True)),
        *(("/api/static/%2e%2e/orders", True), ("/api/static/..\\orders", True), ("/api/static/;/../x", True)),
    ],
)
def test_exceptions_are_taken_by_the_letter(path: str, guarded: bool) -> None:
    """What could be read in two ways is no exception."""
    for prefix in ("/api", "/"):
        assert Paths([prefix], ["/api/health", "/api/static/*"]).guards(path) is guarded


def test_everything_is_everything() -> None:
    assert Paths(["/"]).everything
    assert not Paths(["/"], ["/health"]).everything
    assert not Paths(["/"], ["/"]).guards("/")
    assert Paths(["/"], ["/"]).guards("/x")


@pytest.mark.parametrize("path", ["", "api", "/api//x", "/../x", "/a%2fb", "//"])
def test_what_is_no_plain_path_cannot_be_asked_for(path: str) -> None:
    for make in (lambda: Paths([path]), lambda: Paths(["/"], [path])):
        with pytest.raises(ValueError, match="plain"):
            make()


def test_not_everything_can_be_excepted() -> None:
    with pytest.raises(ValueError, match="nothing guarded"):
        Paths(["/"], ["/*"])


PIECES = st.lists(st.sampled_from(["/", "api", "API", "x", ".", "..", "%2f", "%", ";", "\\", "//", "/api", "/x"]))


@given(PIECES)
def test_no_way_of_reading_a_path_leads_under_the_prefix_unguarded(pieces: list[str]) -> None:
    """Decoded again, slashes collapsed, dots resolved, parameters cut off, letters made small: none is a way around."""
    import posixpath
    from urllib.parse import unquote

    path = "/" + "".join(pieces)
    readings = [path]
    for step in (unquote, str.lower, lambda p: p.replace("\\", "/"), lambda p: p.split(";")[0], posixpath.normpath):
        readings += [step(reading) for reading in readings]
    under = any(f"/{reading.lstrip('/')}/".startswith("/api/") for reading in readings)
    assert Paths(["/api"]).guards(path) or not under


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        *(("/api", "", "/api"), ("/svc/api", "/svc", "/api"), ("/svc/api", "/svc/", "/api"), ("/svc", "/svc", "/")),
        *(("/svcapi", "/svc", "/svcapi"), ("/api", "/svc", "/api"), ("", "", "/")),
    ],
)
def test_where_an_application_is_mounted_does_not_count(path: str, root_path: str, expected: str) -> None:
    assert routed_path({"path": path, "root_path": root_path}) == expected


async def test_mounted_twice_starlette_routes_what_is_guarded() -> None:
    """Inside a mount the prefix is relative to the mount, as Starlette's routes are."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def answer(_: object) -> PlainTextResponse:
        return PlainTextResponse("in")

    inner = Starlette(routes=[Route("/api/x", answer), Route("/free", answer)])
    app = Starlette(routes=[Mount("/svc", GuardMiddleware(inner, ISSUER.guard(), prefix="/api"))])
    for path, status in (("/svc/api/x", 401), ("/svc/free", 200), ("/svc//api/x", 401), ("/svc/API/x", 401)):
        assert answer_of(await ask_asgi(app, http_scope(path))).status == status
    behind_a_proxy = http_scope("/outer/svc/api/x", root_path="/outer")
    assert answer_of(await ask_asgi(app, behind_a_proxy)).status == 401
