"""The tutorial `cookies`: fifteen minutes, a refresh cookie of seven days, rotation, log-out, a limit on log-ins."""

from __future__ import annotations

import re
import subprocess
import time
from base64 import urlsafe_b64decode

from tests.e2e.client import COOKIE, PASSWORD, bearer, fields, fresh_name, refused
from tests.e2e.fixtures import Serve
from tests.e2e.server import COMMAND, UNLIMITED
from tests.tutorials.reading import tampered


def test_cookies(serve: Serve) -> None:
    """With a cookie jar, as a browser would: register, log in, refresh, log out."""
    server = serve()
    with server.client() as browser:
        name = fresh_name()
        # 1. A missing field names itself, a duplicate is 409.
        assert fields(browser.post("/register", json={"username": name})) == {"password": "required"}
        browser.register(name)
        refused(browser.post("/register", json={"username": name, "password": PASSWORD}), 409, "username_taken")
        # 2. Unknown user and wrong password are the same answer.
        unknown = browser.post("/login", json={"username": fresh_name(), "password": PASSWORD})
        wrong = browser.post("/login", json={"username": name, "password": "wrong-orbit-canvas"})
        first, second = (refused(answer, 401, "invalid_credentials") for answer in (unknown, wrong))
        assert {**first, "request_id": ""} == {**second, "request_id": ""}
        # 3. Fifteen minutes for the access token, seven days for the cookie, which no script can read.
        answer = browser.post("/login", json={"username": name, "password": PASSWORD})
        assert answer.json()["expires_in"] == 900
        assert "refresh" not in answer.text
        flags = answer.headers.get_list("set-cookie")[0].split("; ")[1:]
        assert set(flags) == {"Max-Age=604800", "Path=/", "HttpOnly", "SameSite=Strict"}
        token, cookie = answer.json()["access_token"], browser.cookies[COOKIE]
        # 4. The three refusals differ; the third, expired, is told in its own test below.
        refused(browser.get("/profile"), 401, "token_missing")
        refused(browser.get("/profile", headers=bearer(tampered(token)[0])), 401, "token_invalid")
        # 5. A whole group of routes is behind the guard.
        for path in ("/profile", "/sessions"):
            assert browser.get(path, headers=bearer(token)).status_code == 200
            refused(browser.get(path), 401, "token_missing")
        # 6. Refresh gives another access token and another cookie.
        refreshed = browser.post("/refresh")
        assert refreshed.json()["access_token"] != token
        assert browser.cookies[COOKIE] != cookie
        # 7. Log-out clears the cookie, and the access token that has fourteen minutes left is refused at once.
        out = browser.post("/logout", headers=bearer(refreshed.json()["access_token"]))
        assert out.status_code == 204
        assert out.headers["set-cookie"].startswith(f"{COOKIE}=; Max-Age=0")
        assert COOKIE not in browser.cookies
        for ended in (token, refreshed.json()["access_token"]):
            refused(browser.get("/profile", headers=bearer(ended)), 401, "token_revoked")
        refused(browser.post("/refresh"), 401, "refresh_token_missing")


def test_cookies_token_expired(serve: Serve) -> None:
    """An access token of two seconds: *expired* is not *invalid*, and the cookie gets the next one."""
    server = serve(WATCHWORD_ACCESS_LIFETIME="2s")
    with server.client() as browser:
        token = browser.newcomer()
        time.sleep(2.1)
        answer = browser.get("/profile", headers=bearer(token))
        refused(answer, 401, "token_expired")
        assert 'error_description="The access token expired."' in answer.headers["www-authenticate"]
        assert (
            browser.get("/profile", headers=bearer(browser.post("/refresh").json()["access_token"])).status_code == 200
        )
        # Log-out works with an expired access token too.
        assert browser.post("/logout", headers=bearer(token)).status_code == 204


def test_cookies_reuse(serve: Serve) -> None:
    """An old refresh token shown after the grace is a copy: the session ends for everybody who holds it."""
    server = serve(WATCHWORD_REFRESH_GRACE="0s", **UNLIMITED)
    with server.client() as browser:
        browser.newcomer()
        stolen = browser.cookies[COOKIE]
        token = browser.post("/refresh").json()["access_token"]
        time.sleep(1.1)  # the grace is counted in whole seconds
        thief = browser.post("/refresh", headers={"Cookie": f"{COOKIE}={stolen}"})
        refused(thief, 401, "refresh_token_reused")
        refused(browser.post("/refresh"), 401, "session_ended")
        refused(browser.get("/profile", headers=bearer(token)), 401, "token_revoked")


def test_cookies_limit(serve: Serve) -> None:
    """Ten failed log-ins in fifteen minutes; the eleventh is 429 and says when to come back."""
    server = serve()
    with server.client() as browser:
        name, other = browser.register()["username"], browser.register()["username"]
        wrong = {"username": name, "password": "wrong-orbit-canvas"}
        for _ in range(10):
            refused(browser.post("/login", json=wrong), 401, "invalid_credentials")
        for body in (wrong, {"username": name, "password": PASSWORD}):
            answer = browser.post("/login", json=body)
            refused(answer, 429, "too_many_attempts")
            assert 1 <= int(answer.headers["retry-after"]) <= 900
            assert answer.headers["ratelimit-policy"] == '"login";q=10;w=900, "session";q=300;w=3600'
            assert answer.headers["ratelimit"] == f'"login";r=0;t={answer.headers["retry-after"]}'
            assert re.fullmatch(r'"login";r=0;t=\d+', answer.headers["ratelimit"])
        # The same person at the other door is the same attempt; somebody else is not.
        door = browser.post("/token", data={"grant_type": "password", **wrong})
        assert door.status_code == 429
        assert door.json()["error"] == "temporarily_unavailable"
        assert browser.log_in(other)
        # A name that nobody has is limited just the same.
        for expected in [401] * 10 + [429]:
            assert browser.post("/login", json={**wrong, "username": "nobody"}).status_code == expected


def test_cookies_secret() -> None:
    """The tutorial makes its secrets with a random generator; there is a command for that."""
    made = {subprocess.check_output([COMMAND, "secret"], text=True).strip() for _ in range(3)}
    assert len(made) == 3
    assert all(len(urlsafe_b64decode(one + "=" * (-len(one) % 4))) >= 32 for one in made)
