"""A prefix guards at least what the application behind it could take for a path under it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guard_adapters.in_process import answer_of, ask_asgi, http_scope
from watchword.guard.asgi import GuardMiddleware, guards, routed_paths
from watchword.guard.paths import Paths, with_mount
from watchword.testing import Issuer

ISSUER = Issuer()

NO_SLASH = [
    "",
    "api",
    "apix",
    "x:/api",
    "x:api",
    "http:/api",
    "http:api",
    "http://h/api",
    ".//api",
    "*",
    "?/api",
    "#/api",
]
UNDER = [
    *("/api", "/api/", "/api/x", "/api/x/y.json", "/API", "/Api/x", "/aPi/../x", "/api//x"),
    *("//api", "//api/x", "/./api", "/x/../api/y", "/x/..", "/api/..", "/x//y", "/..", "/%61pi", "/x%2fapi", "/%2e%2e"),
    *("\\api", "/x\\..\\api", "/api;x=1", "/x;/api", "/x;y", "/api\0", "/\tapi", "/x\n", "/\u017f/%"),
    *NO_SLASH,
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
    assert not Paths([]).guards("x")


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


@pytest.mark.parametrize("path", ["api/health", "x:/api/health", "http://h/api/health", "api/static/a.css", "health"])
@pytest.mark.parametrize("root_path", ["", "/svc", "/svc/", "/"])
def test_a_target_without_its_slash_is_no_exception(path: str, root_path: str) -> None:
    for paths in (Paths(["/"], ["/api/health", "/api/static/*", "/health"]), Paths(["/api"], ["/api/health"])):
        assert paths.guards(path)
        assert guards(paths, {"path": path, "root_path": root_path})
        assert guards(paths, {"path": path, "root_path": root_path, "path_remaining": path})


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


@pytest.mark.parametrize(
    ("prefix", "exception"),
    [("/", "/*"), ("/api", "/*"), ("/api", "/api/*"), ("/api/", "/API/*"), ("/api/v1", "/api/*")],
)
def test_not_everything_can_be_excepted(prefix: str, exception: str) -> None:
    with pytest.raises(ValueError, match="nothing guarded"):
        Paths([prefix], [exception])


@pytest.mark.parametrize("path", ["/api/*", "/api*", "/*", "/api/{id}", "/api?x=1", "/api#x", "/<id>", "/a b"])
def test_patterns_and_addresses_are_no_prefixes(path: str) -> None:
    """They would be compared letter by letter, and guard nothing."""
    with pytest.raises(ValueError, match="match nothing"):
        Paths([path])
    if not path.endswith("/*"):
        with pytest.raises(ValueError, match="match nothing"):
            Paths(["/"], [path])


@pytest.mark.parametrize("paths", ["/health", b"/health", None, 5, True])
def test_one_path_is_no_list_of_paths(paths: Any) -> None:
    with pytest.raises(TypeError, match="list of paths"):
        Paths(["/"], paths)
    with pytest.raises(TypeError, match="list of paths"):
        Paths(paths)


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
        *(("/svc/api", "/svc", {"/api"}), ("/svc", "/svc", {"/"}), ("/svc/", "/svc/", {"/"}), ("", "/svc", {"/"})),
        *(("/api", "/svc", {"/api"}), ("/svcapi", "/svc", {"/svcapi", "/api"})),
        *(("/svc/api", "/svc/", {"/api", "/svc/api"}), ("/svc//api", "/svc/", {"/api", "//api"})),
        *(("/x/svc/api", "/svc", {"/x/svc/api", "/api"}), ("/api", "/", {"/api"})),
    ],
)
def test_where_an_application_is_mounted_does_not_count(path: str, root_path: str, expected: set[str]) -> None:
    """In whichever way it is taken off."""
    assert routed_paths(path, root_path) == expected


@pytest.mark.parametrize(
    ("path", "root_path", "guarded"),
    [
        *(("/api/x", "", True), ("/x", "", False), ("", "", False), ("/api/health", "", False)),
        *(("/api/x", "/api/", True), ("/api/api/x", "/api/", True), ("/svc/api/x", "/svc/", True)),
        *(("/svc/x", "/svc/", False), ("/x/svc/api/y", "/svc", True), ("/x/svc/y", "/svc", False)),
        *(("/svc/api/health", "/svc", False), ("/api/health", "/svc/", False)),
        *(("/api/api/health", "/api/", True), ("/svc/api/health", "/svc/", False)),
    ],
)
def test_one_reading_is_enough_to_be_guarded_and_exceptions_need_all(path: str, root_path: str, guarded: bool) -> None:
    """`/svc/api/health` is an exception as `/api/health`, and as it stands it is not under the prefix either."""
    assert guards(Paths(["/api"], ["/api/health"]), {"path": path, "root_path": root_path}) is guarded


def starlette_with_a_root_path(root_path: str) -> Any:
    """Every path that begins with one of these is routed; the guard is inside, as `add_middleware` puts it."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def answer(_: object) -> PlainTextResponse:
        return PlainTextResponse("in")

    inner = Starlette(routes=[Route(path, answer) for path in ("/secret", "/api/secret", "/free")])
    guarded = GuardMiddleware(inner, ISSUER.guard(), prefix="/api")
    return lambda scope, receive, send: guarded({**scope, "root_path": root_path}, receive, send)


def fastapi_with_a_root_path(root_path: str) -> Any:
    from fastapi import FastAPI

    app = FastAPI()
    app.root_path = root_path  # as by the constructor's parameter, which warns
    for path in ("/secret", "/api/secret", "/free"):
        app.get(path)(lambda: "in")
    app.add_middleware(GuardMiddleware, guard=ISSUER.guard(), prefix="/api")
    return app


def litestar_with_a_root_path(root_path: str) -> Any:
    from litestar import Litestar, get

    @get(["/secret", "/api/secret", "/free"])
    async def answer() -> str:
        return "in"

    guarded = GuardMiddleware(Litestar([answer], openapi_config=None), ISSUER.guard(), prefix="/api")  # type: ignore[arg-type]  # its own types of ASGI
    return lambda scope, receive, send: guarded({**scope, "root_path": root_path}, receive, send)


@pytest.mark.parametrize("make", [starlette_with_a_root_path, fastapi_with_a_root_path, litestar_with_a_root_path])
@pytest.mark.parametrize(
    ("root_path", "paths"),
    [
        ("/api/", ["/api/secret", "/api/api/secret", "/api//secret", "/api//api/secret"]),
        ("/svc/", ["/api/secret", "/svc/api/secret", "/svc//api/secret"]),
        ("/svc", ["/api/secret", "/svc/api/secret", "/x/svc/api/secret", "/svcapi/secret"]),
        ("/", ["/api/secret", "//api/secret"]),
    ],
)
async def test_no_root_path_leads_under_the_prefix_unguarded(make: Any, root_path: str, paths: list[str]) -> None:
    """A framework's own reading of it included."""
    app = make(root_path)
    for path in paths:
        answer = answer_of(await ask_asgi(app, http_scope(path)))
        assert answer.status == 401, path
    assert answer_of(await ask_asgi(app, http_scope("/free"))).status == 200


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


@pytest.mark.parametrize("root", ["/api", "/svc"])
async def test_a_prefix_may_be_written_with_what_it_is_mounted_under(root: str) -> None:
    """Which it should not; but a slip that guards more is better than one that guards nothing."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    inner = Starlette(routes=[Route(path, lambda _: PlainTextResponse("in")) for path in ("/x", "/health", "/a/y")])
    guarded = GuardMiddleware(inner, ISSUER.guard(), prefix=f"{root}/a", except_paths=["/health"])
    whole = GuardMiddleware(inner, ISSUER.guard(), prefix=root, except_paths=["/health"])
    for app, expected in ((guarded, (200, 200, 401)), (whole, (401, 200, 401))):
        mounted = Starlette(routes=[Mount(root, app)])
        seen = [answer_of(await ask_asgi(mounted, http_scope(f"{root}{path}"))) for path in ("/x", "/health", "/a/y")]
        assert tuple(each.status for each in seen) == expected
        behind = [http_scope(f"{root}{path}", root_path=root) for path in ("/x", "/health", "/a/y")]
        assert tuple([answer_of(await ask_asgi(app, scope)).status for scope in behind]) == expected


@pytest.mark.parametrize("root", ["/shop", "/outer/shop", "/far/outer/shop"])
def test_a_prefix_may_repeat_the_mount_point_behind_others(root: str) -> None:
    """As in an application that is tried without its proxy, where the same prefix guards."""
    from watchword.guard import wsgi

    paths = Paths(["/shop/a"], ["/health"])
    for path, guarded in (("/a/y", True), ("/x", False), ("/health", False), ("/shop/a/y", True)):
        assert guards(paths, {"path": root + path, "root_path": root}) is guarded
        assert wsgi._guards(paths, {"SCRIPT_NAME": root, "PATH_INFO": path}) is guarded
        assert wsgi._guards(paths, {"SCRIPT_NAME": f"{root}/", "PATH_INFO": path}) is guarded
        in_a_router = {"path": root + path, "root_path": "", "path_remaining": path[1:]}
        assert guards(paths, in_a_router) is guarded
    assert not guards(Paths(["/shop"], ["/health"]), {"path": f"{root}/health", "root_path": root})
    assert guards(Paths(["/shop"], ["/health"]), {"path": f"{root}/x", "root_path": root})


@given(PIECES, st.sampled_from(["", "/", "/svc", "/svc/", "/api", "/api/", "/x", "//"]))
def test_the_quick_way_to_a_reading_is_no_other(pieces: list[str], root_path: str) -> None:
    """Whether a request is guarded is what all readings say, also where they are not gone through."""
    path, paths = "/" + "".join(pieces), Paths(["/api"], ["/api/x"])
    readings = routed_paths(path, root_path) if root_path else {path}
    longer = [path[at:] for at in range(len(path)) if len(path) - at > min(map(len, readings)) and path[at] == "/"]
    slow = any(map(paths.guards, readings)) or (
        any(map(paths.guards, longer)) and not any(map(paths.excepts, readings))
    )
    assert guards(paths, {"path": path, "root_path": root_path}) is slow


async def test_what_frameworks_route_without_a_slash_is_guarded() -> None:
    """h11 and hypercorn hand over `GET secret` as it is: Litestar and Channels add the slash, Quart looks for a URL."""
    from litestar import Litestar, get
    from quart import Quart

    @get("/secret")
    async def answer() -> str:
        return "in"

    app = Quart(__name__)
    app.add_url_rule("/secret", "secret", answer.fn)
    litestar: Any = Litestar([answer], openapi_config=None)
    for bare, targets in ((app, ["secret", "x:/secret", "http:secret"]), (litestar, ["secret"])):
        for path in targets:
            scope = http_scope(path) | {"extensions": {}}
            assert answer_of(await ask_asgi(bare, dict(scope))).status == 200, path  # so there is something to guard
            guarded = GuardMiddleware(bare, ISSUER.guard(), prefix="/secret")
            assert answer_of(await ask_asgi(guarded, dict(scope))).status == 401, path


def test_a_mount_point_of_any_length_is_guarded_and_costs_little() -> None:
    """A client may write the mount point, as in `Mount("/{any:path}", …)`: each part was looked at, to its end."""
    paths, below = Paths(["/admin"], ["/open"]), "/x"
    for depth, guarded in ((32, False), (33, True), (30_000, True)):
        mount = "/a" * depth
        readings = list(with_mount(below, mount + below))
        assert len(readings) == min(depth, 33)
        assert paths.guards_any(below, readings) is guarded
        assert not paths.guards_any("/open", with_mount("/open", f"{mount}/open"))
    assert paths.guards_any(below, with_mount(below, f"{'/a' * 20}/admin{below}"))
