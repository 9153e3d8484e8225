"""Which web pages may use the cookie, and what they are told: over HTTP, with another origin allowed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.client import COOKIE, PASSWORD, Client, bearer, refused
from tests.e2e.fixtures import Serve, Server

ALLOWED = "https://app.example"
CORS = "access-control-allow-origin"
UNSAFE = ("/login", "/refresh", "/logout")


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A process that lets pages of `https://app.example` use the cookie."""
    from tests.e2e.server import UNLIMITED

    running = Server(tmp_path_factory.mktemp("server"), **UNLIMITED, WATCHWORD_ALLOWED_ORIGINS=ALLOWED)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def page(open_server: Server) -> Iterator[Client]:
    with open_server.client() as one:
        yield one


def _own(server: Server, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.port}"


def _body(path: str) -> dict[str, str] | None:
    return {"username": "nobody", "password": PASSWORD} if path == "/login" else None


def _ask(page: Client, path: str, headers: dict[str, str]) -> tuple[int, str]:
    answer = page.post(path, json=_body(path), headers=headers)
    return answer.status_code, answer.json()["code"] if answer.content else ""


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "https://app.example.evil.example",
        "https://app.example:8443",
        "http://app.example",
        "https://APP.example",
        "https://app.example/",
        "https://evil.example, https://app.example",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://127.0.0.1.evil.example",
        "file://",
        "chrome-extension://abc",
    ],
)
@pytest.mark.parametrize("path", UNSAFE)
def test_F3_F5_C10_other_origins_are_refused(page: Client, path: str, origin: str) -> None:
    """Log-in, refresh and log-out alike: scheme, host and port must be ours or listed; `null` never is.

    A page of this machine may read why, never with credentials.
    """
    answer = page.post(path, json=_body(path), headers={"Origin": origin})
    refused(answer, 403, "origin_refused")
    assert answer.headers.get(CORS) == (origin if origin in {"http://127.0.0.1", "http://127.0.0.1:1"} else None)
    assert "access-control-allow-credentials" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("path", UNSAFE)
def test_F3_our_own_and_allowed_origins_pass(open_server: Server, path: str) -> None:
    """Ours under every name of loopback, and the one that the operator listed."""
    for origin in (*(_own(open_server, host) for host in ("127.0.0.1", "localhost", "[::1]")), ALLOWED):
        with open_server.client() as page:
            assert _ask(page, path, {"Origin": origin})[0] in (204, 401)


@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("site", ["same-origin", "none", "same-site", "cross-site", "", "Same-Origin"])
def test_F3_without_an_origin_the_browser_says_where_from(page: Client, path: str, site: str) -> None:
    """Sec-Fetch-Site counts when there is no Origin; a neighbour on the same site is not us."""
    status, code = _ask(page, path, {"Sec-Fetch-Site": site})
    assert (code != "origin_refused") is (site in {"same-origin", "none"}), (status, code)


@pytest.mark.parametrize("path", UNSAFE)
def test_F3_neither_is_no_browser(page: Client, path: str) -> None:
    """curl, mobile applications, other services: no browser, no forgery by one."""
    assert _ask(page, path, {})[1] != "origin_refused"


def test_F3_the_origin_outweighs_the_site(page: Client) -> None:
    """An allowed page is on another site and says so, and is still allowed; a refused one stays refused."""
    assert _ask(page, "/refresh", {"Origin": ALLOWED, "Sec-Fetch-Site": "cross-site"})[0] == 401
    assert _ask(page, "/refresh", {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"})[0] == 403


def test_F5_a_foreign_page_cannot_log_somebody_in(page: Client) -> None:
    """Log-in forgery: the victim would go on working in the attacker's account."""
    name = page.register()["username"]
    page.cookies.clear()  # of the registration, in a page of ours
    answer = page.post(
        "/login", json={"username": name, "password": PASSWORD}, headers={"Origin": "https://evil.example"}
    )
    refused(answer, 403, "origin_refused")
    assert not page.cookies


def test_F5_a_foreign_page_cannot_make_a_browser_show_an_account(page: Client) -> None:
    """A registration makes the browser one that confirms its address: only where a page of ours sent it."""
    body = {"username": "mallory", "email": "victim@example.org", "password": PASSWORD}
    assert page.post("/register", json=body, headers={"Origin": "https://evil.example"}).status_code == 201
    assert not page.cookies


def test_F8_bearer_requests_are_exempt_and_ignore_cookies(page: Client) -> None:
    """No foreign page can show a token it does not have; and a cookie beside the token changes nothing."""
    token = page.newcomer()
    foreign = {"Origin": "https://evil.example", **bearer(token)}
    assert page.get("/profile", headers=foreign).status_code == 200
    assert page.delete("/sessions", headers=foreign).status_code == 204
    page.cookies.clear()
    page.cookies.set(COOKIE, "garbage")
    assert page.get("/profile", headers=foreign).status_code == 200
    assert page.post("/logout", headers=foreign).status_code == 204
    refused(page.get("/profile", headers=bearer(token)), 401, "token_revoked")


def test_F8_a_cookie_is_no_token(page: Client) -> None:
    """Where an access token is asked for, the cookie alone is nothing."""
    page.newcomer()
    for method, path in (("GET", "/profile"), ("GET", "/sessions"), ("DELETE", "/sessions"), ("DELETE", "/profile")):
        answer = page.request(method, path, json={"password": PASSWORD} if path == "/profile" else None)
        refused(answer, 401, "token_missing")


def test_C10_an_allowed_page_may_read_answers(page: Client) -> None:
    """Exactly the listed origin, with credentials, on success and on refusal; never `*` beside credentials."""
    name = page.register()["username"]
    for answer in (
        page.post("/login", json={"username": name, "password": PASSWORD}, headers={"Origin": ALLOWED}),
        page.post("/login", json={"username": name, "password": "wrong wrong"}, headers={"Origin": ALLOWED}),
        page.get("/profile", headers={"Origin": ALLOWED}),
        page.get("/nothing/here", headers={"Origin": ALLOWED}),
    ):
        assert answer.headers[CORS] == ALLOWED
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in answer.headers["vary"]
        assert "X-Request-Id" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("path", ["/login", "/refresh", "/logout", "/profile", "/sessions", "/sessions/x", "/token"])
def test_C10_preflights(page: Client, path: str) -> None:
    """An allowed page is told what it may do; another one is refused and told nothing."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = page.options(path, headers={"Origin": ALLOWED, **asked})
    assert answer.status_code == 204
    assert answer.headers[CORS] == ALLOWED
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "*" not in answer.headers["access-control-allow-methods"]
    foreign = page.options(path, headers={"Origin": "https://evil.example", **asked})
    assert foreign.status_code == 403
    assert CORS not in foreign.headers
    assert "access-control-allow-methods" not in foreign.headers


def test_C10_swagger_ui_of_an_allowed_page_gets_a_token(page: Client) -> None:
    """The Authorize button of FastAPI's `/docs`: the preflight that it causes, then the request with its header."""
    wanted = "authorization,x-requested-with,content-type"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
    preflight = page.options("/token", headers={"Origin": ALLOWED, **asked})
    assert (preflight.status_code, preflight.headers[CORS]) == (204, ALLOWED)
    assert set(wanted.split(",")) <= set(preflight.headers["access-control-allow-headers"].lower().split(", "))
    form = {"grant_type": "password", "username": page.register()["username"], "password": PASSWORD}
    sent = {"Origin": ALLOWED, "X-Requested-With": "XMLHttpRequest", "Authorization": "Basic Og=="}
    answer = page.post("/token", data=form, headers=sent)
    assert (answer.status_code, answer.headers[CORS]) == (200, ALLOWED)


def test_C10_without_allowed_origins_nobody_is_told_anything(client: Client) -> None:
    """By default no other page may read an answer, and no answer differs by origin."""
    answer = client.get("/profile", headers={"Origin": ALLOWED})
    assert CORS not in answer.headers
    assert (
        client.options("/login", headers={"Origin": ALLOWED, "Access-Control-Request-Method": "POST"}).status_code
        == 403
    )


def test_public_documents_may_be_read_by_any_page(page: Client) -> None:
    """The key set is public: `*` without credentials, since it is the same for everybody."""
    for origin in ("https://evil.example", ALLOWED):
        answer = page.get("/.well-known/jwks.json", headers={"Origin": origin})
        allowed = answer.headers.get_list(CORS)
        assert len(allowed) == 1, allowed
        if allowed == ["*"]:
            assert "access-control-allow-credentials" not in answer.headers


def test_F1_the_cookie_over_https(serve: Serve) -> None:
    """Behind a TLS proxy: `__Host-`, Secure, HttpOnly, SameSite=Strict, Path=/, no Domain; HSTS on every answer."""
    server = serve(WATCHWORD_PUBLIC_URL="https://auth.example", WATCHWORD_TRUSTED_PROXIES="0", WATCHWORD_DOCS="on")
    with server.client() as client:
        name = client.register()["username"]
        answer = client.post("/login", json={"username": name, "password": PASSWORD})
        line, device = answer.headers.get_list("set-cookie")
        assert device.startswith("__Host-ww_device=")
        assert set(device.split("; ")[2:]) == {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"}
        pair, *flags = line.split("; ")
        assert pair.startswith("__Host-watchword_refresh=wwr_")
        assert set(flags[1:]) == {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"}
        assert flags[0].startswith("Max-Age=")
        assert len(line) <= 4096
        assert "max-age=63072000" in answer.headers["strict-transport-security"]
        value = pair.partition("=")[2]
        loopback = client.post("/refresh", headers={"Cookie": f"{COOKIE}={value}"})
        refused(loopback, 401, "refresh_token_missing")
        secure = {"Cookie": f"__Host-{COOKIE}={value}", "Origin": "https://auth.example"}
        assert client.post("/refresh", headers=secure).status_code == 200
        local = {"Cookie": f"__Host-{COOKIE}={value}", "Origin": server.origin}
        refused(client.post("/refresh", headers=local), 403, "origin_refused")


def test_F1_the_cookie_on_loopback(client: Client) -> None:
    """Over plain http on this machine: the same without Secure and without the prefix that demands it."""
    name = client.register()["username"]
    answer = client.post("/login", json={"username": name, "password": PASSWORD})
    line, _ = answer.headers.get_list("set-cookie")
    assert line.startswith(f"{COOKIE}=wwr_")
    assert set(line.split("; ")[2:]) == {"Path=/", "HttpOnly", "SameSite=Strict"}


def test_a_page_of_this_machine_gets_tokens_but_never_through_the_cookie(client: Client, server: Server) -> None:
    """FastAPI's `/docs` on another port: Authorize works unasked; who is logged in here stays out of reach."""
    neighbour = {"Origin": "http://localhost:8000"}
    name = client.register()["username"]
    client.log_in(name)
    cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    form = {"grant_type": "password", "username": name, "password": PASSWORD}
    answer = client.post("/token", data=form, headers=neighbour)
    assert (answer.status_code, answer.headers[CORS]) == (200, "http://localhost:8000")
    assert "access-control-allow-credentials" not in answer.headers
    refused(client.post("/refresh", headers=neighbour), 403, "origin_refused")
    refused(client.post("/logout", headers=neighbour), 403, "origin_refused")
    shown = {**neighbour, **bearer(answer.json()["access_token"])}
    assert client.post("/logout", headers=shown).status_code == 204
    client.cookies.clear()  # a page without credentials cannot, so that the browser's session goes on
    assert client.post("/refresh", headers=cookie).status_code == 200


def test_a_refused_origin_is_logged_once_with_the_line_to_set(serve: Serve) -> None:
    server = serve(
        WATCHWORD_PUBLIC_URL="https://auth.example", WATCHWORD_TRUSTED_PROXIES="0", WATCHWORD_ALLOWED_ORIGINS=ALLOWED
    )
    asked = {"Origin": "http://127.0.0.1:8000", "Access-Control-Request-Method": "POST"}
    with server.client(inspected=False) as page:
        for _ in range(3):
            assert page.options("/token", headers=asked).status_code == 403
    assert server.log().count("origin_refused") == 1
    assert f"WATCHWORD_ALLOWED_ORIGINS={ALLOWED},http://127.0.0.1:8000" in server.log()
