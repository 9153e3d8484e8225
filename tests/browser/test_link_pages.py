"""The page behind a link in a mail, in Chromium: without a script, on a phone and in the dark, under its own policy."""

from __future__ import annotations

import re
import time

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visitor import DARK_PHONE, DESK, PATIENCE, Screen
from tests.e2e.client import PASSWORD
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server

pytestmark = pytest.mark.timeout(300)
NEW = "quiet-harbor-lantern"


def printed_link(server: Server) -> str:
    """The link in the mail that the service prints on its own machine."""
    for _ in range(600):
        found = re.findall(r"\| (http://\S+/links/wwl_[\w-]{43})", server.log())
        if found:
            return str(found[-1])
        time.sleep(0.1)
    raise AssertionError(server.log())


@pytest.mark.parametrize("screen", [DESK, DARK_PHONE], ids=["desk", "dark phone"])
def test_a_new_password(chromium: Browser, serve: Serve, screen: Screen) -> None:
    """Opened twice, refused once, set once; nothing is asked of another site, and nothing is blocked."""
    server = serve(**UNLIMITED)
    with httpx2.Client(base_url=server.url) as api:
        body = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
        assert api.post("/register", json=body).status_code == 201
        assert api.post("/password/forgot", json={"email": "ada@example.org"}).status_code == 202
        link = printed_link(server)
        context = chromium.new_context(
            viewport={"width": screen.width, "height": screen.height},
            color_scheme=screen.scheme,  # type: ignore[arg-type]
            java_script_enabled=False,
            locale="de-DE",
        )
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for _ in range(2):
            page.goto(link)
            expect(page.get_by_role("heading", name="Setzen Sie ein neues Passwort")).to_be_visible(timeout=PATIENCE)
        page.get_by_label("Neues Passwort").fill("password1234")
        page.get_by_role("button", name="Passwort setzen").click()
        expect(page.get_by_role("alert")).to_be_visible(timeout=PATIENCE)
        page.get_by_label("Neues Passwort").fill(NEW)
        page.get_by_role("button", name="Passwort setzen").click()
        expect(page.get_by_role("status")).to_contain_text("ist gesetzt", timeout=PATIENCE)
        assert api.post("/login", json={"username": "ada", "password": NEW}).status_code == 200
        page.goto(link)
        expect(page.get_by_role("heading", name="gilt nicht mehr")).to_be_visible(timeout=PATIENCE)
        context.close()
    assert not [line for line in said if "Content Security Policy" in line], said
    assert all(url.startswith(server.url) for url in asked), asked
