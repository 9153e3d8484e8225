"""WSGI middleware beyond the table: paths, mount points, preflights, and slips."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from watchword.guard.wsgi import GuardMiddleware, find_caller
from watchword.testing import Issuer

ISSUER = Issuer()
GOOD = ISSUER.headers("ada")["Authorization"]


def ask(app: Any, path: str, authorization: str | None = None, **environ: str) -> tuple[int, bytes]:
    begun: list[Any] = []
    given = {"REQUEST_METHOD": "GET", "PATH_INFO": path, **environ}
    if authorization is not None:
        given["HTTP_AUTHORIZATION"] = authorization
    body = b"".join(app(given, lambda *start: begun.append(start)))
    return int(begun[0][0][:3]), body


def inner(environ: Any, start_response: Any) -> list[bytes]:
    caller = find_caller(environ)
    start_response("200 OK", [])
    return [caller.user_id.encode() if caller else b"nobody"]


@pytest.fixture
def app() -> GuardMiddleware:
    return GuardMiddleware(inner, ISSUER.guard(), prefix="/api", except_paths=["/api/health", "/api/static/*"])


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/x", "/API/x", "/api//health", "/x/../api", "/api/static/../x", "/api/static%2f", "//x",
     "/api/health/", "/\xff\xfe;"],
)  # fmt: skip
def test_paths_that_need_a_token(app: GuardMiddleware, path: str) -> None:
    assert ask(app, path)[0] == 401
    assert ask(app, path, GOOD) == (200, b"ada")


@pytest.mark.parametrize("path", ["", "/", "/x", "/apix", "/api/health", "/api/static/x", "/caf\xc3\xa9"])
def test_paths_that_need_none(app: GuardMiddleware, path: str) -> None:
    assert ask(app, path, "Bearer x") == (200, b"nobody")


def test_the_mount_point_does_not_count(app: GuardMiddleware) -> None:
    assert ask(app, "/api/x", SCRIPT_NAME="/shop")[0] == 401
    assert ask(app, "/x", SCRIPT_NAME="/shop")[0] == 200
    assert ask(app, "/api/health", SCRIPT_NAME="/shop")[0] == 200


@pytest.mark.parametrize("mount", ["/api", "/API", "/outer/api", "/api/"])
def test_a_prefix_that_repeats_the_mount_point_guards(app: GuardMiddleware, mount: str) -> None:
    """It would guard nothing otherwise: `DispatcherMiddleware(home, {"/api": GuardMiddleware(…, prefix="/api")})`."""
    assert ask(app, "/x", SCRIPT_NAME=mount)[0] == 401
    assert ask(app, "", SCRIPT_NAME=mount)[0] == 401
    assert ask(app, "/api/health", SCRIPT_NAME=mount)[0] == 200


@pytest.mark.parametrize("path", ["api", "api/x", "x:api", "http:api", "x:/api/health", "api/health"])
def test_a_target_without_its_slash_needs_a_token(app: GuardMiddleware, path: str) -> None:
    """werkzeug, wsgiref and gevent hand it over as it is, and Flask adds the slash."""
    assert ask(app, path)[0] == 401


def test_no_client_names_a_caller(app: GuardMiddleware) -> None:
    """Headers get other names; what an outer guard found stays."""
    assert ask(app, "/x", HTTP_WATCHWORD_CALLER="ada") == (200, b"nobody")
    outer = GuardMiddleware(app, ISSUER.guard(), optional=True)
    assert [ask(outer, "/x", each) for each in (GOOD, None)] == [(200, b"ada"), (200, b"nobody")]
    assert ask(outer, "/x", "Bearer x")[0] == 401


def test_HEAD_has_no_body_and_OPTIONS_is_guarded(app: GuardMiddleware, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(app, "/api", REQUEST_METHOD="HEAD") == (401, b"")
    with caplog.at_level(logging.WARNING, "watchword.guard"):
        assert ask(app, "/api", REQUEST_METHOD="OPTIONS")[0] == 401
        assert not caplog.messages
        for _ in range(2):
            preflight = {"HTTP_ORIGIN": "https://app.example", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}
            assert ask(app, "/api", REQUEST_METHOD="OPTIONS", **preflight)[0] == 401
    assert [each.count("refused a CORS preflight") for each in caplog.messages] == [1]


def test_slips_raise_where_they_are_written() -> None:
    guard = ISSUER.guard()
    with pytest.raises(TypeError, match="GuardMiddleware takes a Guard"):
        GuardMiddleware(inner, inner)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes an application first"):
        GuardMiddleware(guard, guard)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes an application first"):
        GuardMiddleware(Issuer, guard)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="optional is True or False"):
        GuardMiddleware(inner, guard, optional="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="would be taken as it is"):
        GuardMiddleware(inner, guard, prefix="/api/*")
    with pytest.raises(ValueError, match="roles are empty"):
        GuardMiddleware(inner, guard, roles=[])
