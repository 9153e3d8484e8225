"""The pages as people walk through them, by the forms that they show."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.e2e.client import COOKIE, PASSWORD
from tests.features.api import Api, served
from tests.features.mailing import deliver, mailing
from tests.identity.test_rights import define
from tests.pages.person import SENT_BY_US, Parsed, Person
from watchword import Settings, Watchword

SEEN_BY_PEOPLE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
ORDERS = "https://orders.example"
PAGES = ("/account", "/account/password", "/account/email", "/account/close")
TO, NEW = "ada@example.org", "quiet-harbor-lantern"


async def logged_in(api: Api, name: str = "ada", **more: str) -> Person:
    """Someone who has registered and logged in by the pages."""
    person = Person(api)
    await person.open("/account/register")
    await person.send("account/register", username=name, password=PASSWORD, **more)
    await person.send("account/login", username=name, password=PASSWORD)
    assert person.path.endswith("/account"), person.answer.text
    return person


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_from_registering_to_closing(tmp_path: Path, prefix: str, located: dict[str, str]) -> None:
    """Every page is reached by a link or a form of the one before, under every prefix."""
    async with served(tmp_path, path_prefix=prefix, **located) as api:
        person = Person(api)
        await person.open("/account")
        assert person.path == f"{prefix}/account/login"
        await person.open("/account/register")
        await person.send("account/register", username="ada", email=TO, password=PASSWORD)
        assert (person.path, "The account is made" in person.answer.text) == (f"{prefix}/account/login", True)
        await person.send("account/login", username=TO, password=PASSWORD)
        assert (person.path, TO in person.answer.text) == (f"{prefix}/account", True)
        before = api.cookies[COOKIE]
        await person.open("/account/password")
        await person.send("account/password", password=PASSWORD, new_password=NEW)
        assert "every other session has ended" in person.answer.text
        assert api.cookies[COOKIE] != before
        await person.open("/account/email")
        await person.send("account/email", password=NEW, email="new@example.net")
        assert "new@example.net" in person.answer.text
        await person.send("account/logout")
        assert (person.path, "You are logged out" in person.answer.text) == (f"{prefix}/account/login", True)
        assert COOKIE not in api.cookies
        await person.send("account/login", username="ada", password=NEW)
        await person.open("/account/close")
        await person.send("account/close", password=NEW)
        assert "deleted" in person.answer.text
        assert COOKIE not in api.cookies
        await person.open("/account/login")
        assert (await person.send("account/login", username="ada", password=NEW)).status_code == 401


async def test_a_registration_that_is_confirmed_by_mail(tmp_path: Path) -> None:
    """Required: the account begins with the code; with the link as well, which leads to the log-in."""
    async with mailing(tmp_path, email_verification="required") as (api, box):
        for name, way in (("ada", "code"), ("bob", "link")):
            person, to = Person(api), f"{name}@example.org"
            await person.open("/account/register")
            await person.send("account/register", username=name, email=to, password=PASSWORD)
            await deliver(api)
            if way == "code":
                await person.send("account/confirm", code=box.code(to))
                assert "The address is confirmed" in person.answer.text
            else:
                await person.open(f"/links/{box.link(to)}")
                answer = await api.post(f"/links/{box.link(to)}", data={"password": ""}, headers=SENT_BY_US)
                assert "../account/login" in Parsed(answer.text).links
                await person.open("/account/login")
            await person.send("account/login", username=name, password=PASSWORD)
            assert to in person.answer.text
            await person.send("account/logout")


async def test_a_forgotten_password(tmp_path: Path, located: dict[str, str]) -> None:
    """By the code in the mail; every session ends, and no one is logged in by it."""
    async with mailing(tmp_path, **located) as (api, box):
        person = await logged_in(api, email=TO)
        other = Person(api.elsewhere())
        await other.open("/account/forgotten")
        await other.send("account/forgotten", email=TO)
        await deliver(api)
        wrong = await other.send("account/reset", code="000000x", new_password=NEW)
        assert (wrong.status_code, 'role="alert"' in wrong.text) == (400, True)
        await other.send("account/reset", code=box.code(TO), new_password=NEW)
        assert (other.path, "The new password is set" in other.answer.text) == ("/account/login", True)
        assert COOKIE not in other.api.cookies
        await person.open("/account")
        assert person.path == "/account/login"
        await other.send("account/login", username="ada", password=NEW)
        assert other.path == "/account"


async def test_a_change_of_address_that_is_confirmed(tmp_path: Path) -> None:
    """The old address stays until the new one is confirmed."""
    async with mailing(tmp_path, email_verification="optional") as (api, box):
        person = await logged_in(api, email=TO)
        await person.open("/account/email")
        await person.send("account/email", email="new@example.net", password=PASSWORD)
        await deliver(api)
        await person.send("account/confirm", code=box.code("new@example.net"))
        assert (person.path, "new@example.net" in person.answer.text) == ("/account", True)


async def test_sessions_are_listed_and_ended(api: Api) -> None:
    """One by one or all others; this one stays."""
    person = await logged_in(api)
    others = [Person(api.elsewhere(f"203.0.113.{number}", "Firefox on Linux")) for number in range(3)]
    for other in others:
        await other.open("/account/login")
        await other.send("account/login", username="ada", password=PASSWORD)
    await person.open("/account")
    assert person.answer.text.count("Firefox on Linux") >= 3
    await person.send("account/sessions/end")
    await others[2].open("/account")
    assert others[2].path == "/account/login", "the newest stands first"
    await others[0].open("/account")
    assert others[0].path == "/account"
    form = next(each for each in person.page.forms if "session" not in each.fields and "sessions" in each.action)
    await api.post("/account/sessions/end", data=form.fields, headers={"Sec-Fetch-Site": "same-origin"})
    await others[0].open("/account")
    assert others[0].path == "/account/login"
    await person.open("/account")
    assert person.path == "/account"


async def test_what_is_wrong_stands_above_the_form_and_at_its_field(api: Api) -> None:
    """The summary takes the focus and leads to the field; what was typed stays, but no password."""
    person = Person(api)
    await person.open("/account/register")
    answer = await person.send("account/register", username="a b", email="no address", password="short")
    assert answer.status_code == 422
    tags = person.page.tags
    (summary,) = [given for tag, given in tags if given.get("role") == "alert"]
    assert {"autofocus", "tabindex"} <= set(summary)
    ids = {given["id"] for _, given in tags if "id" in given}
    for name in ("username", "email", "password"):
        assert f"#{name}" in person.page.links
        (field,) = [given for tag, given in tags if tag == "input" and given.get("id") == name]
        assert field["aria-invalid"] == "true"
        assert set(field["aria-describedby"].split()) <= ids
        assert name == "password" or field["value"]
    assert "short" not in answer.text


async def test_password_managers_find_the_fields(api: Api) -> None:
    """WCAG 1.3.5: each field says what it is for; each has a label."""
    person = await logged_in(api, email=TO)
    found = {}
    for path in ("password", "email", "close"):
        await person.open(f"/account/{path}")
        found |= {(path, given["name"]): given["autocomplete"] for tag, given in person.page.tags
                  if tag == "input" and given.get("type") != "hidden"}  # fmt: skip
    await person.send("account/close", password="x")
    await person.open("/account")
    await person.send("account/logout")
    for path in ("login", "register", "code", "forgotten"):
        await person.open(f"/account/{path}")
        labels = {given["for"] for tag, given in person.page.tags if tag == "label"}
        for tag, given in person.page.tags:
            if tag == "input" and given["type"] != "hidden":
                found[path, given["name"]] = given["autocomplete"]
                assert given["id"] in labels
    assert found == {
        ("password", "username"): "username",
        ("password", "password"): "current-password",
        ("password", "new_password"): "new-password",
        ("email", "email"): "email",
        ("email", "password"): "current-password",
        ("close", "password"): "current-password",
        ("login", "username"): "username",
        ("login", "password"): "current-password",
        ("register", "username"): "username",
        ("register", "email"): "email",
        ("register", "password"): "new-password",
        ("code", "email"): "email",
        ("forgotten", "email"): "email",
    }


async def test_pages_that_are_off(tmp_path: Path) -> None:
    """Then there is none; the pages behind links stay, and lead nowhere."""
    async with served(tmp_path, pages="off") as api:
        for path in ("/account", "/account/login", "/account/register"):
            assert (await api.get(path)).status_code == 404
            assert (await api.post(path, data={}, headers=SENT_BY_US)).status_code == 404
        assert "account" not in (await api.get("/links/x")).text


async def test_closed_registration(tmp_path: Path) -> None:
    async with served(tmp_path, registration="closed") as api:
        person = Person(api)
        await person.open("/account/login")
        assert not [each for each in person.page.links if "register" in each]
        answer = await person.open("/account/register")
        assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")


async def test_inside_another_application(tmp_path: Path) -> None:
    """Mounted: links, forms and the way back after the log-in keep to the mount point."""
    auth = Watchword(Settings(public_url="http://127.0.0.1:4000/auth", data_dir=tmp_path))
    app = Starlette(routes=[Mount("/auth", auth)], lifespan=auth.lifespan)
    transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 50_000))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:4000") as client,
    ):
        person = Person(client)
        await person.open("/auth/account/register")
        await person.send("account/register", username="ada", password=PASSWORD)
        await person.open("/auth/account/password")
        assert (person.path, person.answer.request.url.params["next"]) == (
            "/auth/account/login",
            "/auth/account/password",
        )
        await person.send("account/login", username="ada", password=PASSWORD)
        assert person.path == "/auth/account/password"
        lost = await client.get("/auth/account/nothing/x", headers={"Accept": SEEN_BY_PEOPLE})
        assert 'href="../../account"' in lost.text
        assert (await client.get("/auth/pages.css")).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_a_slash_behind_an_address_leads_to_the_page(tmp_path: Path, prefix: str) -> None:
    """⚑ A browser got JSON. The query goes along, and nothing else is found under two addresses."""
    async with served(tmp_path, path_prefix=prefix) as api:
        person = Person(api)
        for path in ("/account", "/account/login", "/account/code/confirm"):
            answer = await api.get(f"{path}/")
            assert (answer.status_code, answer.headers["location"]) == (308, f"../{path.rpartition('/')[2]}")
            assert answer.headers["cache-control"] == "no-store"
            assert (await api.head(f"{path}/")).status_code == 308
        answer = await api.get("/account/login/?next=/orders")
        assert answer.headers["location"] == "../login?next=/orders"
        await person.open("/account/")
        assert person.path == f"{prefix}/account/login"
        assert person.answer.request.url.params["next"] == f"{prefix}/account"
        for path in ("/profile/", "/account//", "/account/login//", "/account/login/x/", "/openapi.json/"):
            assert (await api.get(path)).status_code == 404, path
        assert (await api.post("/account/login/", data={}, headers=SENT_BY_US)).status_code == 405


LOST = ("/account/nothing", "/account/login/x", "/account/a%2Fb", "/account//", "/account/a/b/", "/account/logout")
"""The last is there for a form only."""


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_a_browser_that_is_lost_is_shown_the_way_back(tmp_path: Path, prefix: str) -> None:
    """⚑ It got JSON. Programs still do, and so does everything that is not below the pages."""
    async with served(tmp_path, path_prefix=prefix) as api:
        for path in LOST:
            status = 405 if path == "/account/logout" else 404
            answer = await api.get(path, headers={"Accept": SEEN_BY_PEOPLE, "Accept-Language": "de"})
            assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
            assert ("Diese Seite gibt es nicht" in answer.text, answer.headers["cache-control"]) == (True, "no-store")
            (back,) = re.findall(r'<a href="([^"]+)">Ihr Konto</a>', answer.text)
            assert _led_to(f"{prefix}{path}", back) == f"{prefix}/account", path
            assert ("allow" in answer.headers) is (status == 405)
            for plain in ({"Accept": "application/json"}, {"Accept": "*/*"}, {}):
                told = await api.get(path, headers=plain)
                assert (told.status_code, told.headers["content-type"]) == (status, "application/problem+json")
        browser = {"Accept": SEEN_BY_PEOPLE}
        for path in ("/nothing", "/accounting/x", "/profile/x"):
            assert (await api.get(path, headers=browser)).json()["code"] == "not_found"
        assert (await api.post("/account/nothing", headers=browser)).json()["code"] == "not_found"
        assert (await api.head("/account/nothing", headers=browser)).headers["content-type"].startswith("text/html")
    async with served(tmp_path / "off", path_prefix=prefix, pages="off") as api:
        assert (await api.get("/account/nothing", headers=browser)).json()["code"] == "not_found"


def _led_to(address: str, link: str) -> str:
    """Where a relative link leads a browser; `urljoin` forgets empty segments, which browsers count."""
    folders = address.split("/")[:-1]
    steps = link.count("../")
    return "/".join([*folders[: max(len(folders) - steps, 1)], link.removeprefix("../" * steps)])


async def test_the_front_page_leads_to_the_account(tmp_path: Path) -> None:
    """Where there are pages."""
    for pages in ("on", "off"):
        async with served(tmp_path / pages, pages=pages) as api:
            assert ("account" in (await api.get("/")).json()) is (pages == "on")
            page = await api.get("/", headers={"Accept": "text/html"})
            assert ("/account" in page.text) is (pages == "on")


async def test_two_tabs_and_an_application_do_not_refuse_each_other(api: Api) -> None:
    """A form that was open before the cookie was replaced still counts: its token is the session's."""
    person = await logged_in(api)
    await person.open("/account/password")
    for _ in range(3):
        api.clock.advance(60)
        assert (await api.post("/refresh")).status_code == 200
    await person.send("account/password", password=PASSWORD, new_password=NEW)
    assert (person.path, "The new password is set" in person.answer.text) == ("/account", True)


@pytest.mark.parametrize("access", ["off", "on"])
@pytest.mark.parametrize("limit", [{"scope": "read"}, {"resource": ORDERS}])
async def test_a_limited_session_opens_no_page(tmp_path: Path, limit: dict[str, str], access: str) -> None:
    """⚑ The refresh token of a session for one API, sent as the cookie, once listed and ended all sessions."""
    async with served(tmp_path, access_cookie=access) as api:
        await define(api.kernel, ("*", "read"), apis=(("orders", ORDERS, "read"),))
        person = await logged_in(api)
        await person.open("/account")
        token = person.page.forms[0].fields["token"]
        given = {"grant_type": "password", "username": "ada", "password": PASSWORD} | limit
        found = (await api.post("/token", data=given)).json()["refresh_token"]
        thief = api.elsewhere()
        thief.cookies.set(COOKIE, found, domain="127.0.0.1")
        for path in PAGES:
            answer = await thief.get(path, follow_redirects=True)
            assert (answer.status_code, answer.request.url.path) == (200, "/account/login"), path
            assert "ada" not in answer.text
        for path in ("/account/sessions/end", "/account/password", "/account/close", "/account/logout"):
            answer = await thief.post(path, data={"token": token}, headers=SENT_BY_US)
            assert (answer.status_code, "account/login" in answer.headers["location"]) == (303, True), path
        assert (await api.post("/refresh")).status_code == 200, "the owner's session has not ended"
        again = await thief.post("/token", data={"grant_type": "refresh_token", "refresh_token": found})
        assert again.status_code == 200, "nor the limited one"
        walker = Person(thief)
        await walker.open("/account/login")
        await walker.send("account/login", username="ada", password=PASSWORD)
        assert walker.path == "/account"


async def test_a_link_from_another_site_asks_once_more(api: Api) -> None:
    """Browsers leave the cookie out; the page then asks as a page of ours, and no page asks for ever."""
    link = {"Sec-Fetch-Site": "cross-site"}
    await logged_in(api)
    stranger = api.elsewhere()
    first = await stranger.get("/account/password", headers=link)
    assert (first.status_code, '<meta http-equiv="refresh" content="0">' in first.text) == (200, True)
    assert "set-cookie" not in first.headers
    for headers in (
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {},
        {**link, "Cookie": f"{COOKIE}=x"},
    ):
        assert (await stranger.get("/account/password", headers=headers)).status_code == 303
    assert (await api.get("/account/password", headers=link)).status_code == 200
