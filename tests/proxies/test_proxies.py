"""nginx and Caddy, configured as their guides say, protect a static site and an application with our tokens."""

from __future__ import annotations

import time

import httpx2
import pytest

from tests.e2e.client import PASSWORD, bearer, fresh_name
from tests.proxies.conftest import Behind, log_in
from tests.tutorials.reading import tampered

PAGE = "<p>for those who are logged in</p>\n"
FORGED = {
    "X-Auth-User": "somebody-else",
    "X-Auth-Roles": "admin",
    "X-Auth-Scopes": "everything",
    "X_Auth_User": "somebody-else",
    "X_Auth_Roles": "admin",
    "X-Auth_Roles": "admin",
    "x_auth-roles": "admin",
}
NOBODYS = ("", "Bearer", "Basic YWRhOnBsdW0=", "Digest x")


def challenged(answer: httpx2.Response, status: int, error: str | None) -> None:
    """Assert a refusal with one challenge of ours."""
    assert answer.status_code == status, answer.text
    assert PAGE not in answer.text
    (challenge,) = answer.headers.get_list("www-authenticate")
    assert challenge.startswith('Bearer realm="watchword"'), challenge
    assert (f'error="{error}"' in challenge) if error else ("error" not in challenge), challenge


def test_a_good_token_opens_the_site(behind: Behind) -> None:
    """Plain files, for whoever is logged in."""
    token = behind.user.token
    assert behind.get("/", token).text == PAGE
    assert behind.get("/index.html", token).text == PAGE
    assert behind.get("/missing.html", token).status_code == 404


def test_without_a_token_nothing_is_served(behind: Behind) -> None:
    """Neither files nor the application, and not even that a file is missing; the challenge names no error."""
    for path in ("/", "/index.html", "/missing.html", "/admin/", "/api/orders"):
        challenged(behind.get(path), 401, None)
    for path in ("//", "/./index.html", "/x/../index.html", "/%2e/index.html", "//api/orders", "/api/../index.html"):
        assert behind.status(path) == 401, path


def test_a_bad_token_is_refused_with_our_challenge(behind: Behind, late_token: str) -> None:
    """Changed, expired, or no token at all."""
    token = behind.user.token
    for bad in (*tampered(token), late_token, "x.y.z", "wwr_abcdefgh"):
        challenged(behind.get("/", bad), 401, "invalid_token")
    assert "expired" in behind.get("/", late_token).headers["www-authenticate"]


def test_a_log_out_counts_at_once(behind: Behind) -> None:
    """The next request after it is refused."""
    token = log_in(behind.service).token
    assert behind.get("/", token).status_code == 200
    with behind.service.client() as client:
        assert client.post("/logout", headers=bearer(token)).status_code == 204
    challenged(behind.get("/", token), 401, "invalid_token")


def test_a_place_for_administrators(behind: Behind) -> None:
    """403 with our challenge for others, however they write the path."""
    token = behind.user.token
    for path in ("/admin/", "/admin/index.html", "/admin/missing.html"):
        challenged(behind.get(path, token), 403, "insufficient_scope")
    for path in ("//admin/", "/./admin/", "/x/../admin/index.html", "/%61dmin/", "/admin%2findex.html", "/admin//"):
        assert behind.status(path, token) == 403, path
    assert behind.get("/admin/", behind.admin.token).text == "<p>for administrators</p>\n"
    challenged(behind.get("/admin/"), 401, None)


def test_the_application_learns_who_asks(behind: Behind) -> None:
    """The user's id and the roles, in headers; the token goes along."""
    user_id, token = behind.admin
    told = behind.seen("/api/orders?page=2", token)
    assert told["path"] == "/api/orders?page=2"
    assert told["headers"]["x-auth-user"] == user_id
    assert told["headers"]["x-auth-roles"] == "admin"
    assert told["headers"]["authorization"] == f"Bearer {token}"


def test_the_clients_query_is_no_part_of_the_question(behind: Behind) -> None:
    """It is the application's: a role in it is not asked for, and whatever is in it reaches the application."""
    for query in ("role=nobody", "scope=x&role=nobody", "page=2", "a=%zz", "role=a&role=b"):
        assert behind.seen(f"/api/orders?{query}", behind.user.token)["path"] == f"/api/orders?{query}"
        assert behind.get(f"/admin/?{query}", behind.user.token).status_code == 403
        assert behind.get(f"/admin/?{query}", behind.admin.token).status_code == 200


def test_what_a_client_says_about_itself_is_not_passed_on(behind: Behind) -> None:
    """Neither in our spelling nor with underscores, which some servers take for dashes; not even what is empty."""
    user_id, token = behind.user
    headers = behind.seen("/api/orders", token, headers=FORGED.items())["headers"]
    ours = {name: value for name, value in headers.items() if name.replace("_", "-").startswith("x-auth")}
    assert {name: value for name, value in ours.items() if value} == {"x-auth-user": user_id}


@pytest.mark.parametrize("authorization", NOBODYS)
def test_no_header_of_a_client_stands_for_a_token(behind: Behind, authorization: str) -> None:
    """Other schemes and an empty one, with forged headers beside: never let through."""
    headers = [("Authorization", authorization), *FORGED.items()]
    assert behind.get("/api/orders", headers=headers).status_code in {400, 401}


def test_a_malformed_header_is_told_from_a_bad_token(behind: Behind) -> None:
    """400 and 401, as the guide of nginx says which."""
    for authorization, status in (("Bearer", 400), ("Bearer a b", 400), ("Bearer garbage", 401), ("Basic x", 401)):
        answer = behind.get("/", headers=[("Authorization", authorization)])
        assert answer.status_code == status, authorization


def test_bodies_reach_the_application_whole(behind: Behind) -> None:
    """With a length and in chunks; large ones too. The service never sees them."""
    token = behind.user.token
    for size in (0, 1, 500_000):
        told = behind.seen("/api/orders", token, "POST", content=b"x" * size)
        assert (told["method"], told["size"]) == ("POST", size)
    assert behind.get("/api/orders", method="POST", content=b"x" * 500_000).status_code == 401


def test_every_method_is_asked_about(behind: Behind) -> None:
    """HEAD has no body either way; PUT and DELETE are checked like the rest."""
    token = behind.user.token
    assert behind.get("/", token, "HEAD").headers["content-length"] == str(len(PAGE))
    refused = behind.get("/", method="HEAD")
    challenged(refused, 401, None)
    assert refused.content == b""
    for method in ("PUT", "DELETE"):
        assert behind.seen("/api/orders/1", token, method)["method"] == method
        assert behind.get("/api/orders/1", method=method).status_code == 401


def test_the_applications_own_refusals_stay_its_own(behind: Behind) -> None:
    """What the application answers, whatever its status, is passed on without a challenge of ours."""
    token = behind.user.token
    for status in (400, 401, 403, 404, 500, 503):
        answer = behind.get(f"/api/status/{status}", token)
        assert (answer.status_code, answer.json()["path"]) == (status, f"/api/status/{status}")
        assert "www-authenticate" not in answer.headers


def test_two_headers_are_none(behind: Behind) -> None:
    """A good token twice, or beside a bad one, is a malformed request."""
    token = behind.user.token
    for other in (token, "x.y.z"):
        lines = f"Authorization: Bearer {token}\r\nAuthorization: Bearer {other}\r\n"
        answer = behind.raw(f"GET /api/orders HTTP/1.1\r\nHost: localhost\r\n{lines}Connection: close\r\n\r\n".encode())
        assert answer.split()[1] == b"400", answer


def test_what_asks_the_service_cannot_be_reached_from_outside(behind: Behind) -> None:
    """With a good token the paths that nginx asks by are like any that do not exist."""
    token = behind.user.token
    for path in ("/_verify/", "/_verify/user", "/_verify/admin", "/verify"):
        assert behind.get(path, token).status_code == 404


def test_nothing_passes_while_the_service_is_away(behind: Behind) -> None:
    """Closed, not open; and told as the fault of a server, not of the client. When it is back all is well again."""
    token = behind.user.token
    assert behind.service.stop() == 0
    try:
        for path in ("/", "/api/orders", "/admin/"):
            answer = behind.get(path, token)
            assert answer.status_code in {502, 503}, answer.text
            assert "www-authenticate" not in answer.headers
    finally:
        behind.service.start()
    deadline = time.monotonic() + 120
    while behind.get("/", token).status_code != 200:  # nginx leaves a server alone for ten seconds that failed
        assert time.monotonic() < deadline
        time.sleep(0.1)


PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}


def through(behind: Behind, address: str) -> httpx2.Client:
    """A client at an address of its own, on the service's own routes."""
    transport = httpx2.HTTPTransport(local_address=address)
    return httpx2.Client(transport=transport, base_url=f"http://127.0.0.1:{behind.port}/auth", timeout=30)


def test_the_service_itself_can_be_reached(behind: Behind) -> None:
    """Register, log in, look, log out, all through the proxy; its documents name the address that clients use."""
    with through(behind, "127.0.0.1") as client:
        person = {"username": fresh_name(), "password": PASSWORD}
        assert client.post("/register", json=person).status_code == 201
        token = client.post("/login", json=person).json()["access_token"]
        assert client.get("/profile", headers=bearer(token)).status_code == 200
        assert behind.get("/", token).status_code == 200
        assert client.post("/logout", headers=bearer(token)).status_code == 204
        assert behind.get("/", token).status_code == 401
        assert client.post("/login", json={"username": "x" * 200_000}).status_code == 413
        for method in ("GET", "POST", "OPTIONS", "DELETE"):
            assert client.request(method, "/verify?role=admin").status_code == 401


@pytest.mark.rare
def test_a_strangers_wrong_passwords_lock_out_the_stranger_only(behind: Behind) -> None:
    """A hundred from one address, each claiming another in X-Forwarded-For; then an honest one from elsewhere."""
    person = {"username": fresh_name(), "password": PASSWORD}
    with through(behind, "127.0.0.66") as stranger, through(behind, "127.0.0.2") as honest:
        assert honest.post("/register", json=person).status_code == 201
        statuses = []
        for number in range(101):
            claimed = {"X-Forwarded-For": f"198.51.100.{number}, 127.0.0.2"}
            wrong = {"username": f"nobody{number}", "password": PASSWORD}
            statuses.append(stranger.post("/login", json=wrong, headers=claimed).status_code)
        assert statuses == [401] * 100 + [429]
        answer = honest.post("/login", json=person)
        assert answer.status_code == 200, answer.text
        sessions = honest.get("/sessions", headers=bearer(answer.json()["access_token"])).json()
        assert [each["address"] for each in sessions["items"]] == ["127.0.0.2"]


def test_a_preflight_reaches_the_application(behind: Behind) -> None:
    """It carries no token. What only looks like one, and every other request, still needs one."""
    answer = behind.get("/api/orders", method="OPTIONS", headers=PREFLIGHT.items())
    assert (answer.status_code, answer.json()["method"]) == (200, "OPTIONS")
    told = dict(answer.json()["headers"])
    assert not {name for name in told if name.startswith("x-auth") and told[name]}
    for method, headers in (
        ("OPTIONS", {}),
        ("OPTIONS", {"Origin": "https://app.example"}),
        ("OPTIONS", {"Access-Control-Request-Method": "GET"}),
        ("GET", PREFLIGHT),
        ("POST", {**PREFLIGHT, "X-HTTP-Method-Override": "OPTIONS"}),
    ):
        assert behind.get("/api/orders", method=method, headers=headers.items()).status_code == 401, (method, headers)
    for path in ("/", "/admin/", "/_verify/api", "/api/../admin/"):
        assert behind.get(path, method="OPTIONS", headers=PREFLIGHT.items()).status_code in {401, 404}, path
