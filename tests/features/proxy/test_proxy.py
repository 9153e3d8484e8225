"""What a reverse proxy hears when it asks whether a request may pass."""

from __future__ import annotations

import pytest

from tests.e2e.client import bearer, refused
from tests.features.api import Api
from tests.identity.scenes import give_roles, statements

HOME_PAGE = "http://127.0.0.1:4000"
HEADERS = ("x-auth-user", "x-auth-roles", "x-auth-scopes")


async def _admin(api: Api) -> tuple[str, str]:
    """The id and an access token of somebody with two roles."""
    user = await api.register()
    await give_roles(api.kernel, user["id"], ("editor", "admin"))
    return user["id"], await api.log_in(user["username"])


async def test_who_it_is_stands_in_the_headers(api: Api) -> None:
    """And in the body, for people; sorted, separated by spaces."""
    user, token = await _admin(api)
    answer = await api.as_bearer("GET", "/verify", token)
    assert answer.status_code == 200
    assert [answer.headers[name] for name in HEADERS] == [user, "admin editor", ""]
    assert answer.json() == {"user": user, "roles": ["admin", "editor"], "scopes": []}
    assert answer.headers["cache-control"] == "no-store"


async def test_all_three_headers_are_always_there(api: Api) -> None:
    """Empty where there is nothing to say, so that a proxy which copies them overwrites what the client had sent."""
    token = await api.newcomer()
    sent = bearer(token) | {"X-Auth-User": "root", "X-Auth-Roles": "admin", "X-Auth-Scopes": "all"}
    answer = await api.get("/verify", headers=sent)
    assert [answer.headers.get_list(name) for name in HEADERS] == [[answer.json()["user"]], [""], [""]]


@pytest.mark.parametrize(
    ("query", "code"),
    [("role=admin", None), ("role=admin+editor", None), ("role=editor%20admin", None),
     ("", None), ("scope=read&role=owner", "scope_missing"),
     ("role=owner", "role_missing"), ("role=admin+owner", "role_missing"), ("role=adm", "role_missing"),
     ("scope=read", "scope_missing"), ("role=admin&scope=read", "scope_missing")],
)  # fmt: skip
async def test_it_may_ask_for_roles_and_scopes(api: Api, query: str, code: str | None) -> None:
    """Each of those named; 403 and no headers otherwise."""
    _, token = await _admin(api)
    answer = await api.as_bearer("GET", f"/verify?{query}", token)
    if code is None:
        assert answer.status_code == 200
        return
    refused(answer, 403, code)
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope=""' not in answer.headers["www-authenticate"], "RFC 6750 section 3: a scope is at least one token"
    assert not set(HEADERS) & set(answer.headers)


async def test_C2_who_may_not_pass(api: Api) -> None:
    """No token, a wrong one, an expired one, one of a session that was ended: 401 each, told apart, without headers."""
    token = await api.newcomer()
    answers = [(await api.get("/verify"), "token_missing")]
    answers += [(await api.as_bearer("GET", "/verify", token[:-4] + "AAAA"), "token_invalid")]
    answers += [(await api.as_bearer("GET", "/verify", "nonsense"), "token_malformed")]
    await api.as_bearer("POST", "/logout", token)
    answers += [(await api.as_bearer("GET", "/verify", token), "token_revoked")]
    other = await api.newcomer()
    api.clock.advance(901)
    answers += [(await api.as_bearer("GET", "/verify", other), "token_expired")]
    for answer, code in answers:
        refused(answer, 401, code)
        assert not set(HEADERS) & set(answer.headers)


@pytest.mark.parametrize("query", ["role=a&role=b", "role=%zz", "scope=%ff"])
async def test_a_query_that_cannot_be_read_lets_nobody_pass(api: Api, query: str) -> None:
    """A slip in a proxy's configuration is no open door."""
    refused(await api.as_bearer("GET", f"/verify?{query}", await api.newcomer()), 400, "invalid_request")


@pytest.mark.parametrize(
    "query",
    ["roles=admin", "Role=admin", "role%20=admin", "scopes=read", "other=1", "admin", "role=editor&roles=admin",
     "role", "role=", "scope=", "role=+", "role=%20&scope=read", "scope=%C2%A0", "role=editor&scope=", "role=editor&",
     "&", "=", "=admin"],
)  # fmt: skip
async def test_a_query_that_asks_for_nothing_known_lets_nobody_pass(api: Api, query: str) -> None:
    """A misspelt name or a forgotten value would otherwise open to everybody what was meant for a few."""
    _, token = await _admin(api)
    answer = await api.as_bearer("GET", f"/verify?{query}", token)
    refused(answer, 400, "invalid_request")
    assert not set(HEADERS) & set(answer.headers)


async def test_the_database_is_not_asked(api: Api) -> None:
    """Not even once: a proxy asks for every picture on a page."""
    token = await api.newcomer()
    with statements(api.kernel) as seen:
        for _ in range(3):
            assert (await api.as_bearer("GET", "/verify", token)).status_code == 200
    assert seen.seen == []
    await api.kernel.database.close()
    assert (await api.as_bearer("GET", "/verify", token)).status_code == 200


async def test_cookies_open_nothing_here(api: Api) -> None:
    """The refresh cookie is no access token: a proxy that passes cookies on lets nobody in by them."""
    await api.newcomer()
    assert api.cookies
    refused(await api.get("/verify"), 401, "token_missing")


async def test_head_is_answered_like_get(api: Api) -> None:
    """Some proxies ask with the method of the request."""
    answer = await api.as_bearer("HEAD", "/verify", await api.newcomer())
    assert (answer.status_code, answer.content, bool(answer.headers["x-auth-user"])) == (200, b"", True)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "CONNECT", "get", "X")


@pytest.mark.parametrize("method", METHODS)
async def test_no_method_passes_without_a_token(api: Api, method: str) -> None:
    """A proxy that keeps the client's method takes any 2xx for a yes; a preflight's headers change nothing."""
    token = await api.newcomer()
    preflight = {"Origin": HOME_PAGE, "Access-Control-Request-Method": "GET"}
    for shown in ({}, bearer("x.y.z"), preflight, {**preflight, **bearer("x.y.z")}):
        for query in ("", "?role=admin"):
            answer = await api.request(method, f"/verify{query}", headers=shown)
            assert answer.status_code == 401, (method, shown, query)
            assert not set(HEADERS) & set(answer.headers)
    assert (await api.request(method, "/verify?role=admin", headers=bearer(token))).status_code == 403
    assert (await api.request(method, "/verify", headers=bearer(token))).status_code == 200


async def test_a_body_that_came_along_is_not_looked_at(api: Api) -> None:
    """It is the application's."""
    sent = {**bearer(await api.newcomer()), "Content-Type": "text/plain"}
    assert (await api.request("POST", "/verify", headers=sent, content=b"x" * 200_000)).status_code == 200
