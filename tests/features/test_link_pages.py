"""The pages behind links in mails: they change nothing when opened, and work without a script."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import httpx2
import pytest

from tests.e2e.client import PASSWORD, refused
from tests.features.api import Api, served
from tests.features.mailing import deliver, mailing
from tests.features.test_safe_methods import _dump

TO, NEW = "ada@example.org", "quiet-harbor-lantern"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "null", "Accept-Language": "de"}
OURS = {**FORM, "Sec-Fetch-Site": "same-origin"}


class Page(HTMLParser):
    """What is on a page."""

    def __init__(self, answer: httpx2.Response) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        self.tags.append((tag, dict(attrs)))


async def test_F6_opening_a_link_changes_nothing(tmp_path: Path) -> None:
    """However often a scanner does; then its owner uses it."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email=TO)
        for path in ("/password/forgot", "/email/verification"):
            await api.post(path, json={"email": TO})
        await deliver(api)
        for text in box.texts(TO):
            token = re.findall(r"/links/(wwl_[\w-]+)", text)[0]
            before = _dump(api)
            for method in ("GET", "HEAD", "OPTIONS", "GET"):
                answer = await api.request(method, f"/links/{token}")
                assert answer.status_code in (200, 204)
                assert "set-cookie" not in answer.headers
            assert _dump(api) == before
        assert (await api.post("/email/verify", json={"token": token})).status_code == 204


async def test_a_page_has_nothing_inline_and_leads_nowhere_else(tmp_path: Path) -> None:
    """Its policy allows a style sheet, an icon and its own form; the address is sent to no one."""
    async with mailing(tmp_path, public_url="http://127.0.0.1:4000/auth") as (api, box):
        await api.register("ada", email=TO)
        await api.post("/password/forgot", json={"email": TO})
        await deliver(api)
        answer = await api.get(f"/links/{box.link(TO)}")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
            " frame-ancestors 'none'"
        )
        assert (answer.headers["referrer-policy"], answer.headers["cache-control"]) == ("no-referrer", "no-store")
        tags = Page(answer).tags
        assert {name for name, _ in tags} <= {
            *("html", "head", "meta", "link", "title", "body", "main", "h1", "p", "form", "label", "input", "button")
        }
        assert not [attributes for _, attributes in tags if {"style", "onclick", "action"} & set(attributes)]
        for _, attributes in tags:
            if "href" in attributes:
                assert (await api.get(f"/links/{attributes['href']}")).status_code == 200


async def test_a_new_password_on_the_page(tmp_path: Path) -> None:
    """As a browser sends the form: no JSON, and the origin `null`, because the page tells no one its address."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email=TO)
        await api.post("/password/forgot", json={"email": TO})
        await deliver(api)
        path = f"/links/{box.link(TO)}"
        page = await api.get(path, headers={"Accept-Language": "de"})
        assert '<html lang="de">' in page.text
        assert "Neues Passwort" in page.text
        poor = await api.post(path, content="new_password=short", headers=FORM)
        assert (poor.status_code, 'role="alert"' in poor.text) == (422, True)
        assert "password" in [attributes.get("type") for _, attributes in Page(poor).tags]
        done = await api.post(path, content=f"new_password={NEW}", headers=FORM)
        assert (done.status_code, "Das neue Passwort ist gesetzt" in done.text) == (200, True)
        assert NEW not in done.text
        assert "set-cookie" not in done.headers
        for method in ("GET", "POST"):
            again = await api.request(method, path, headers=FORM if method == "POST" else {})
            assert again.status_code == 404
        await api.log_in("ada", NEW)


@pytest.mark.parametrize("token", ["x", "wwl_" + "A" * 43, "%3Cscript%3E", "wwl_" + "é" * 43, "a" * 3000])
async def test_a_link_that_is_none(api: Api, token: str) -> None:
    """The same page for what was used, has expired or never was; nothing of the address is on it."""
    for method in ("GET", "POST"):
        answer = await api.request(method, f"/links/{token}", headers=FORM if method == "POST" else {})
        assert answer.status_code == 404
        assert "script" not in answer.text
        assert "AAAA" not in answer.text


async def test_F4_a_button_sends_a_form(tmp_path: Path) -> None:
    """Other kinds of body are refused, and so is one that two readers would take for two passwords."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email=TO)
        await api.post("/password/forgot", json={"email": TO})
        await deliver(api)
        path = f"/links/{box.link(TO)}"
        refused(await api.post(path, json={"new_password": NEW}), 415, "unsupported_media_type")
        twice = await api.post(path, content=f"new_password={NEW}&new_password=x", headers=FORM)
        assert twice.status_code == 400
        assert (await api.get(path)).status_code == 200, "the link still works"


async def test_confirming_and_taking_back_on_pages(tmp_path: Path) -> None:
    """Each says what its button does."""
    async with mailing(tmp_path, email_verification="required") as (api, box):
        await api.post("/register", json={"username": "ada", "email": TO, "password": PASSWORD})
        await deliver(api)
        path = f"/links/{box.link(TO)}"
        assert "Confirm this e-mail address" in (await api.get(path)).text
        assert (await api.post(path, headers=OURS)).status_code == 200
        token = await api.log_in("ada")
        body = {"email": "new@example.net", "password": PASSWORD}
        await api.as_bearer("POST", "/profile/email", token, json=body)
        await deliver(api)
        assert (await api.post(f"/links/{box.link('new@example.net')}", headers=OURS)).status_code == 200
        await deliver(api)
        path = f"/links/{box.link(TO)}"
        assert "Take the account back" in (await api.get(path)).text
        assert (await api.post(path, headers=FORM)).status_code == 200
        refused(await api.post("/refresh"), 401, "session_ended")


async def test_a_taken_name_is_said_on_the_page(tmp_path: Path) -> None:
    """It is the person at the mailbox who reads it."""
    async with mailing(tmp_path, email_verification="required") as (api, box):
        for email in (TO, "bob@example.org"):
            await api.post("/register", json={"username": "ada", "email": email, "password": PASSWORD})
        await deliver(api)
        assert (await api.post(f"/links/{box.link(TO)}", headers=OURS)).status_code == 200
        late = await api.post(f"/links/{box.link('bob@example.org')}", headers=OURS)
        assert (late.status_code, "Dieser Benutzername ist vergeben." in late.text) == (409, True)


async def test_the_style_is_a_file(tmp_path: Path) -> None:
    """Cached for ten minutes, and asked for again by its tag."""
    async with served(tmp_path) as api:
        answer = await api.get("/pages.css")
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        known = await api.get("/pages.css", headers={"If-None-Match": answer.headers["etag"]})
        assert known.status_code == 304
