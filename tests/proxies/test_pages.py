"""nginx and Caddy, configured as their guides say, protect pages by the access cookie, and lead to the log-in page."""

from __future__ import annotations

from contextlib import closing
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest

from tests.e2e.client import PASSWORD, fresh_name
from tests.proxies.conftest import Behind, log_in

PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}


def browser(behind: Behind) -> httpx2.Client:
    """A client that keeps cookies, as a browser does."""
    return httpx2.Client(base_url=f"http://127.0.0.1:{behind.port}", timeout=120)


def own(behind: Behind) -> dict[str, str]:
    return {"Origin": f"http://127.0.0.1:{behind.port}", "Sec-Fetch-Site": "same-origin"}


def logged_in(behind: Behind, *, role: str = "") -> httpx2.Client:
    """A browser in which someone has logged in by the form."""
    name = fresh_name()
    made = browser(behind)
    made.post("/auth/register", json={"username": name, "password": PASSWORD}).raise_for_status()
    if role:
        assert behind.service.command("users", "roles", name, "--set", role).returncode == 0
    form = {"username": name, "password": PASSWORD, "next": "/"}
    answer = made.post("/auth/account/login", data=form, headers=own(behind))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return made


def way(answer: httpx2.Response) -> tuple[int, str, str]:
    """Status, log-in page and where it leads back."""
    log_in_page, _, back = answer.headers.get("location", "").partition("?next=")
    return answer.status_code, log_in_page, unquote(back)


def test_from_a_page_to_the_log_in_and_back(behind: Behind) -> None:
    """Each step as a browser takes it, until the log-out."""
    with browser(behind) as visitor:
        name = fresh_name()
        visitor.post("/auth/register", json={"username": name, "password": PASSWORD}).raise_for_status()
        sent = visitor.get("/api/orders?a=1&b=%2F", headers=PAGE)
        page = f"http://127.0.0.1:{behind.port}/auth/account/login"
        assert way(sent) == (303, page, "/api/orders?a=1&b=%2F")
        shown = visitor.get(sent.headers["location"])
        assert shown.status_code == 200
        form = {"username": name, "password": PASSWORD, "next": "/api/orders?a=1&b=%2F"}
        back = visitor.post("/auth/account/login", data=form, headers=own(behind))
        assert back.headers["location"] == "/api/orders?a=1&b=%2F"
        seen = visitor.get(back.headers["location"], headers=PAGE)
        assert seen.status_code == 200
        told = dict(seen.json()["headers"])
        assert told["x-auth-user"]
        assert visitor.post("/auth/logout", headers=own(behind)).status_code == 204
        assert way(visitor.get("/", headers=PAGE))[0] == 303


def test_a_cookie_that_is_over_is_renewed_on_the_way(behind: Behind) -> None:
    with closing(logged_in(behind)) as visitor:
        del visitor.cookies["watchword_access"]
        sent = visitor.get("/", headers=PAGE)
        renewed = visitor.get(sent.headers["location"])
        assert (renewed.status_code, renewed.headers["location"]) == (303, "/")
        assert visitor.get("/", headers=PAGE).status_code == 200


def test_a_script_keeps_the_cookie_fresh(behind: Behind) -> None:
    """As the guide says, for forms that are open for long."""
    with closing(logged_in(behind)) as visitor:
        del visitor.cookies["watchword_access"]
        assert visitor.post("/api/orders", headers=own(behind)).status_code == 401
        assert visitor.post("/auth/refresh", headers=own(behind)).status_code == 200
        assert visitor.post("/api/orders", headers=own(behind)).status_code == 200


def test_roles_count_for_the_cookie_too(behind: Behind) -> None:
    with closing(logged_in(behind)) as visitor, closing(logged_in(behind, role="admin")) as admin:
        assert visitor.get("/admin/", headers=PAGE).status_code == 403
        assert admin.get("/admin/", headers=PAGE).status_code == 200


def test_a_form_from_elsewhere_goes_nowhere(behind: Behind) -> None:
    """The method that counts is the browser's, whatever the proxy asks with."""
    with closing(logged_in(behind)) as visitor:
        assert visitor.post("/api/orders", headers=own(behind)).status_code == 200
        hostile: list[dict[str, str]] = [
            {},
            {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"},
            {"Origin": "null"},
            {"X-Forwarded-Method": "GET"},
            {"X-Forwarded-Method": "GET", "Origin": "https://evil.test"},
            {"X-HTTP-Method-Override": "GET"},
        ]
        for headers in hostile:
            for method in ("POST", "PUT", "DELETE"):
                assert visitor.request(method, "/api/orders", headers=headers).status_code == 403, headers


def test_a_hijacked_socket_does_not_open(behind: Behind) -> None:
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with closing(logged_in(behind)) as visitor:
        for origin in ("https://evil.test", "null"):
            assert visitor.get("/api/live", headers=handshake | {"Origin": origin}).status_code == 403
        assert visitor.get("/api/live", headers=handshake | own(behind)).status_code == 200


@pytest.mark.parametrize("path", ["//evil.test", "/\\evil.test", "/%5cevil.test", "///evil.test/"])
def test_the_way_back_is_a_path_of_ours(behind: Behind, path: str) -> None:
    lines = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Mode: navigate\r\nConnection: close\r\n\r\n"
    answer = behind.raw(lines.encode())
    location: Any = next((each for each in answer.split(b"\r\n") if each.lower().startswith(b"location:")), b"")
    back = unquote(location.decode().partition("?next=")[2])
    assert not back.startswith(("//", "/\\"))


def test_a_program_gets_the_refusal_and_two_tokens_are_none(behind: Behind) -> None:
    assert behind.get("/").status_code == 401
    person = log_in(behind.service)
    with closing(logged_in(behind)) as visitor:
        assert visitor.get("/", headers={"Authorization": f"Bearer {person.token}"}).status_code == 400
