"""Foreign forms, forms of other sessions, frames, and what pages reflect (OWASP CSRF, XSS and session sheets)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from tests.e2e.client import COOKIE, PASSWORD
from tests.features.api import Api, served
from tests.features.test_safe_methods import _dump
from tests.identity.scenes import HOME, operator
from tests.pages.person import SENT_BY_US, Parsed, Person
from tests.pages.test_walks import logged_in
from watchword.app import features
from watchword.identity.granting import unchecked
from watchword.identity.keys.master import Master
from watchword.pages.tokens import FormTokens

APP = "https://app.example"
NEW = "quiet-harbor-lantern"
BEFORE_A_LOG_IN = ("login", "register", "code", "code/confirm", "forgotten", "reset", "verify", "confirm")
OURS = "http://127.0.0.1:4000"

FOREIGN: list[Mapping[str, str]] = [
    {},
    {"Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": APP},
    {"Origin": APP, "Sec-Fetch-Site": "same-site"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "same-site"},
    {"Origin": "null", "Sec-Fetch-Site": "none"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Origin": APP, "Sec-Fetch-Site": "same-origin"},
    {"Origin": OURS, "Sec-Fetch-Site": "cross-site"},
    {"Origin": OURS + ".evil.example"},
    {"Origin": "http://127.0.0.1:4001"},
    {"Origin": OURS.upper()},
    {"Origin": OURS + "/"},
    {"Sec-Fetch-Site": "Same-Origin"},
    {"Sec-Fetch-Site": "same-origin, cross-site"},
    {"Sec-Fetch-Site": "none"},
    {"Referer": OURS + "/account"},
    {"Authorization": "Bearer eyJ.eyJ.x"},
    {"X-Requested-With": "XMLHttpRequest"},
]


def _posts(api: Api) -> list[str]:
    (pages,) = [each for each in features(api.kernel) if each.name == "pages"]
    return [route.path for route in pages.routes if route.method == "POST"]


def _filled(person: Person, **more: str) -> dict[str, str]:
    """Every field that any form has, with the right token and password."""
    token = next(form.fields["token"] for form in person.page.forms if "token" in form.fields)
    return {
        "token": token,
        "password": PASSWORD,
        "new_password": NEW,
        "email": "evil@example.org",
        "username": "mallory",
        **more,
    }


async def test_F3_no_foreign_page_sends_a_form(tmp_path: Path) -> None:
    """Whatever a browser writes for it, with the cookie, the right token and the right password: nothing changes."""
    async with served(tmp_path, allowed_origins=APP) as api:
        person = await logged_in(api)
        fields, before, cookie = _filled(person), _dump(api), api.cookies[COOKIE]
        assert len(_posts(api)) == 13
        for path in _posts(api):
            for headers in FOREIGN:
                answer = await api.post(path, data=fields, headers=headers)
                assert answer.status_code == 403, (path, headers)
                assert answer.headers["content-type"] == "text/html; charset=utf-8"
                assert "set-cookie" not in answer.headers
                assert PASSWORD not in answer.text
        assert _dump(api) == before
        assert api.cookies[COOKIE] == cookie
        await person.open("/account")
        assert person.path == "/account"


@pytest.mark.parametrize(
    "headers",
    [
        SENT_BY_US,
        {"Origin": OURS},
        {"Origin": OURS, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://localhost:4000"},
    ],
)
async def test_our_own_pages_send_forms(api: Api, headers: dict[str, str]) -> None:
    """As browsers of now and of some years ago do."""
    await api.register("ada")
    answer = await api.post("/account/login", data={"username": "ada", "password": PASSWORD}, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "../account")


async def test_F10_a_form_carries_the_token_of_its_session(api: Api) -> None:
    """None, another session's, another service's, or a part of it: refused, and nothing changes."""
    person, other = await logged_in(api), await logged_in(api.elsewhere(), "bob")
    await person.open("/account")
    await other.open("/account")
    fields, stolen = _filled(person), _filled(other)["token"]
    right = fields["token"]
    held = await api.kernel.sessions.held(api.cookies[COOKIE], client_id="watchword")
    assert held is not None
    foreign = FormTokens(Master((b"another secret of 32 random byte",)).keys("form")).of(held.sid)
    before = _dump(api)
    for path in _posts(api):
        if path.removeprefix("/account/") in BEFORE_A_LOG_IN:
            continue
        for token in ("", "x", stolen, foreign, right[:-1], right + "A", right.lower(), "é" * 43, held.sid):
            answer = await api.post(path, data={**fields, "token": token}, headers=SENT_BY_US)
            assert answer.status_code == 403, (path, token)
    assert _dump(api) == before
    answer = await api.post("/account/logout", data={"token": right}, headers=SENT_BY_US)
    assert answer.status_code == 303


async def test_F10_a_form_from_before_a_log_in_does_nothing_to_the_next_account(api: Api) -> None:
    """Its token is of the session that was there then."""
    person = await logged_in(api)
    await person.open("/account/close")
    old = person.page.forms[0].fields["token"]
    await person.open("/account")
    await person.send("account/logout")
    await logged_in(api, "bob")
    answer = await api.post("/account/close", data={"token": old, "password": PASSWORD}, headers=SENT_BY_US)
    assert answer.status_code == 403
    assert await api.log_in("bob")


async def test_F6_to_open_a_page_changes_nothing(api: Api) -> None:
    """By anyone, however often, with whatever in the address; and no page rotates the cookie."""
    await logged_in(api)
    cookie, before = api.cookies[COOKIE], _dump(api)
    (pages,) = [each for each in features(api.kernel) if each.name == "pages"]
    for path in [route.path for route in pages.routes if route.method == "GET"]:
        for method in ("GET", "HEAD", "GET", "OPTIONS"):
            for query in ("", "?username=ada&password=" + PASSWORD, "?token=x&session=y&note=closed"):
                for caller in (api, api.elsewhere()):
                    answer = await caller.request(method, path + query)
                    assert "set-cookie" not in answer.headers, path
                    assert answer.status_code in (200, 204, 303)
    assert (_dump(api), api.cookies[COOKIE]) == (before, cookie)


async def test_C11_no_page_is_framed_stored_or_told_of(api: Api) -> None:
    """C11: the policy, and that nothing on a page is inline or from elsewhere."""
    person = await logged_in(api)
    for path in ("", "/password", "/email", "/close", "/register", "/code", "/forgotten", "/verify"):
        answer = await person.open("/account" + path)
        policy = answer.headers["content-security-policy"]
        assert policy == (
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
            " frame-ancestors 'none'"
        )
        assert (answer.headers["referrer-policy"], answer.headers["cache-control"]) == ("no-referrer", "no-store")
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        for tag, given in person.page.tags:
            assert tag not in {"script", "style", "iframe", "object", "embed", "base"}
            assert not [name for name in given if name == "style" or name.startswith("on")]
            for name in ("href", "action", "src"):
                assert "//" not in given.get(name, ""), path


@pytest.mark.parametrize(
    "text", ['"><script>alert(1)</script>', "{{ 7 * 191 }}", "%(service)s", "' onfocus=x autofocus '"]
)
async def test_F11_what_is_typed_is_text(api: Api, text: str) -> None:
    """In fields that are shown again, in the address, and in what a browser calls itself."""
    person = Person(api.elsewhere(agent=text))
    await person.open("/account/register")
    answers = [
        await person.send("account/register", username=text, email=text, password="short"),
        await person.open(f"/account/login?note={httpx2.QueryParams({'x': text})}"[:300]),
        await api.get("/account/login", params={"next": text, "note": text}),
        await api.get("/account/register", params={"next": text}),
        await api.post("/account/confirm", data={"handle": text, "code": text}, headers=SENT_BY_US),
        await api.post("/account/code", data={"email": text, "next": text}, headers=SENT_BY_US),
        await api.post("/account/code/confirm", data={"handle": text, "code": text, "next": text}, headers=SENT_BY_US),
    ]
    await api.register("ada")
    await person.open("/account/login")
    answers.append(await person.send("account/login", username="ada", password=PASSWORD))
    assert person.path == "/account"
    for answer in answers:
        assert "<script>" not in answer.text
        assert "1337" not in answer.text
        assert not [given for _, given in Parsed(answer.text).tags if "onfocus" in given]


async def test_D8_no_page_tells_who_has_an_account(tmp_path: Path) -> None:
    """The same bytes, but for the handle and what a cookie seals, for someone who is known and someone who is not."""
    async with served(tmp_path, email_verification="required") as api:
        await api.kernel.users.create(
            username="ada", email="ada@example.org", password=PASSWORD, client=HOME, check=unchecked
        )

        async def both(path: str, known: dict[str, str], unknown: dict[str, str]) -> None:
            shown = []
            for fields in (known, unknown):
                api.cookies.clear()
                answer = await api.post(path, data=fields, headers=SENT_BY_US)
                text = re.sub(r"wwh_[\w-]{43}", "HANDLE", answer.text)
                for value in fields.values():
                    text = text.replace(value, "TYPED")
                headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
                cookie = re.sub(
                    r"=[\w-]{20,}", lambda sealed: f"=SEALED:{len(sealed[0])}", headers.get("set-cookie", "")
                )
                shown.append((answer.status_code, text, cookie))
            assert shown[0] == shown[1], path

        await both("/account/login", {"username": "ada", "password": "x"}, {"username": "eve", "password": "x"})
        for path in ("/account/forgotten", "/account/code", "/account/verify"):
            await both(path, {"email": "ada@example.org"}, {"email": "eve@example.org"})
        await both(
            "/account/register",
            {"username": "new-1", "email": "ada@example.org", "password": NEW},
            {"username": "new-2", "email": "eve@example.org", "password": NEW},
        )
        # The right password of an account that is not confirmed is told so, as in the JSON route; a wrong one is not.
        answer = await api.post("/account/login", data={"username": "ada", "password": PASSWORD}, headers=SENT_BY_US)
        assert (answer.status_code, "not confirmed" in answer.text) == (403, True)


async def test_a_log_in_begins_a_new_session(api: Api) -> None:
    """E4: whatever cookie the browser had before, planted or not, is worth nothing after it."""
    attacker = await logged_in(api.elsewhere(), "mallory")
    planted = attacker.api.cookies[COOKIE]
    await api.register("ada")
    api.cookies.set(COOKIE, planted, domain="127.0.0.1", path="/")
    data = {"username": "ada", "password": PASSWORD}
    answer = await api.post("/account/login", data=data, headers=SENT_BY_US)
    assert answer.cookies[COOKIE] != planted
    await attacker.open("/account")
    assert attacker.path == "/account/login"


async def test_an_old_cookie_opens_no_page_and_ends_no_session(api: Api) -> None:
    """Only the newest refresh token is who is there; a thief's older copy sees nothing."""
    await logged_in(api)
    old = api.cookies[COOKIE]
    assert (await api.post("/refresh")).status_code == 200
    thief = api.elsewhere()
    answer = await thief.get("/account", headers={"Cookie": f"{COOKIE}={old}"})
    assert (answer.status_code, answer.headers["location"][:13]) == (303, "account/login")
    assert (await api.get("/account")).status_code == 200
    for cookie in ("", "x", "wwr_" + "A" * 49, old[:-1]):
        answer = await thief.get("/account", headers={"Cookie": f"{COOKIE}={cookie}"})
        assert answer.status_code == 303
    twice = await thief.get("/account", headers={"Cookie": f"{COOKIE}={old}; {COOKIE}={old}"})
    assert (twice.status_code, twice.headers["content-type"]) == (400, "text/html; charset=utf-8")


async def test_a_session_that_was_ended_opens_no_page(api: Api) -> None:
    """At once, and also where the account was disabled or closed."""
    person = await logged_in(api)
    await person.open("/account/password")
    held = await api.kernel.sessions.held(api.cookies[COOKIE], client_id="watchword")
    assert held is not None
    await operator(api.kernel).disable(held.sub)
    fields = {"token": person.page.forms[0].fields["token"], "password": PASSWORD, "new_password": NEW}
    answer = await api.post("/account/password", data=fields, headers=SENT_BY_US)
    assert (answer.status_code, answer.headers["location"]) == (303, "../account/login")
    assert "set-cookie" not in answer.headers
    assert (await api.get("/account")).status_code == 303


async def test_J13_the_session_of_someone_else_is_not_ended(api: Api) -> None:
    """J13: the form names a session, and it has to be one's own."""
    mallory, ada = await logged_in(api.elsewhere(), "mallory"), await logged_in(api)
    held = await api.kernel.sessions.held(api.cookies[COOKIE], client_id="watchword")
    assert held is not None
    await mallory.open("/account")
    fields = {"token": _filled(mallory)["token"], "session": held.sid}
    await mallory.api.post("/account/sessions/end", data=fields, headers=SENT_BY_US)
    await ada.open("/account")
    assert ada.path == "/account"


async def test_F10_a_form_sets_what_it_shows_and_nothing_else(api: Api) -> None:
    """Mass assignment: more fields are no more rights."""
    more = {"roles": "admin", "email_verified": "true", "id": "1", "disabled_at": "0", "token_version": "9"}
    data = {"username": "ada", "password": PASSWORD, **more}
    assert (await api.post("/account/register", data=data, headers=SENT_BY_US)).status_code == 303
    token = await api.log_in("ada")
    profile = (await api.as_bearer("GET", "/profile", token)).json()
    assert (profile["roles"], profile["email_verified"]) == ([], False)


async def test_F4_only_forms_are_read(api: Api) -> None:
    """No JSON, no text, no file upload; no field twice; nothing from the address."""
    await api.register("ada")
    right = f"username=ada&password={PASSWORD}"
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        answer = await api.post("/account/login", content=right, headers={**SENT_BY_US, "Content-Type": kind})
        assert answer.status_code == 415
    form = {**SENT_BY_US, "Content-Type": "application/x-www-form-urlencoded"}
    assert (await api.post("/account/login", content=f"{right}&password=x", headers=form)).status_code == 400
    assert (await api.post(f"/account/login?{right}", content="", headers=form)).status_code == 401


async def test_F1_under_https_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    """And only forms of the https origin count."""
    given = {"public_url": "https://auth.example", "trusted_proxies": "0", "docs": "on", "email_login": "off"}
    async with served(tmp_path, **given) as api:
        await api.register("ada")
        data = {"username": "ada", "password": PASSWORD}
        for origin in ("http://auth.example", "https://auth.example:8443", "https://www.auth.example"):
            answer = await api.post("/account/login", data=data, headers={"Origin": origin})
            assert answer.status_code == 403, origin
        answer = await api.post("/account/login", data=data, headers={"Origin": "https://auth.example"})
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-watchword_refresh=wwr_")
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        planted = cookie.partition(";")[0].removeprefix("__Host-")
        answer = await api.elsewhere().get("/account", headers={"Cookie": planted})
        assert answer.status_code == 303, "a cookie that could be written over http is none"
