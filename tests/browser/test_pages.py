"""The pages in Chromium: without JavaScript, on a phone, in the dark, and as axe sees them (WCAG 2.2 AA)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.mailing import NEW, TO, box, log_in, mailed, press, serving
from tests.browser.visitor import DARK_PHONE, DESK, PATIENCE, PHONE, Screen, Visitor, visiting
from tests.e2e.client import PASSWORD, Client
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server
from tests.mail.mailbox import Mailbox

__all__ = ["box"]  # a fixture

pytestmark = pytest.mark.timeout(300)
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.mark.parametrize("screen", [DESK, pytest.param(DARK_PHONE, marks=pytest.mark.rare)], ids=["desk", "dark-phone"])
def test_the_whole_walk_without_javascript(chromium: Browser, serve: Serve, box: Mailbox, screen: Screen) -> None:
    """Register, confirm by mail, log in, change the password, log out, forget it all, and come in by a code."""
    server = serving(serve, box)
    with visiting(chromium, screen, scripts=False) as visitor:
        page = visitor.page
        page.goto(f"{server.url}/account")
        page.get_by_role("link", name="Make an account").click()
        page.get_by_label("Username").fill("ada")
        page.get_by_label("E-mail address").fill(TO)
        page.get_by_label("Password").fill(PASSWORD)
        press(page, "Make the account")
        expect(page.get_by_role("heading")).to_have_text("Look into your mailbox")
        mailed(box, "Confirm your registration")
        page.goto(f"{server.url}/links/{box.link(TO)}")
        press(page, "Confirm")
        page.get_by_role("link", name="Log in").click()
        log_in(page, "wrong")
        expect(page.get_by_role("alert")).to_be_focused()
        expect(page.get_by_role("alert")).to_contain_text("is wrong")
        log_in(page, PASSWORD)
        expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
        page.get_by_role("link", name="Change the password").click()
        page.get_by_label("Your password now").fill(PASSWORD)
        page.get_by_label("New password").fill(NEW)
        press(page, "Change the password")
        expect(page.get_by_role("status")).to_contain_text("The new password is set")
        press(page, "Log out")
        expect(page.get_by_role("status")).to_have_text("You are logged out.")
        page.get_by_role("link", name="Forgotten your password?").click()
        page.get_by_label("E-mail address of your account").fill(TO)
        press(page, "Send the mail")
        mailed(box, "Set a new password")
        page.get_by_label("Code in the mail").fill(box.code(TO))
        page.get_by_label("New password").fill(PASSWORD)
        press(page, "Set the password")
        log_in(page, PASSWORD)
        expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
        press(page, "Log out")
        page.get_by_role("link", name="Log in by a code in a mail").click()
        page.get_by_label("E-mail address of your account").fill(TO)
        press(page, "Send the mail")
        mailed(box, "Your code to log in")
        page.get_by_label("Code in the mail").fill("x")
        press(page, "Log in")
        expect(page.get_by_role("alert")).to_contain_text("This code is wrong")
        page.get_by_label("Code in the mail").fill(box.code(TO))
        press(page, "Log in")
        expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
        assert all(address.startswith(server.origin) for address in visitor.asked), visitor.asked


def walked(visitor: Visitor, server: Server, box: Mailbox) -> Iterator[str]:
    """Every page, one after the other, with its name; each with faults too."""
    page = visitor.page
    for path in ("login", "register", "code", "forgotten", "verify"):
        page.goto(f"{server.url}/account/{path}")
        yield path
    page.goto(f"{server.url}/account/register")
    page.get_by_label("Username").fill("a b")
    page.get_by_label("E-mail address").fill("a@b")
    page.get_by_label("Password").fill("short")
    press(page, "Make the account")
    yield "register with faults"
    page.goto(f"{server.url}/account/register")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("E-mail address").fill(TO)
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Make the account")
    yield "confirm"
    mailed(box, "Confirm your registration")
    page.goto(f"{server.url}/links/{box.link(TO)}")
    yield "link"
    press(page, "Confirm")
    yield "said"
    page.goto(f"{server.url}/links/x")
    yield "worthless"
    page.goto(f"{server.url}/account/forgotten")
    page.get_by_label("E-mail address of your account").fill(TO)
    press(page, "Send the mail")
    yield "reset"
    page.goto(f"{server.url}/account/code")
    page.get_by_label("E-mail address of your account").fill(TO)
    press(page, "Send the mail")
    yield "enter the code"
    page.get_by_label("Code in the mail").fill("x")
    press(page, "Log in")
    yield "enter the code with a fault"
    with Client(server.url) as other:
        for agent in ("Firefox on Linux", "Safari on iPhone"):
            other.post("/login", json={"username": "ada", "password": PASSWORD}, headers={"User-Agent": agent})
    page.goto(f"{server.url}/account/login")
    log_in(page, PASSWORD)
    yield "account"
    for path in ("password", "email", "close"):
        page.goto(f"{server.url}/account/{path}")
        yield path
    page.get_by_label("Your password").fill("wrong")
    press(page, "Close the account for good")
    yield "close with a fault"
    page.context.set_extra_http_headers({"Accept-Language": "de"})
    page.goto(f"{server.url}/account")
    yield "account in German"


@pytest.mark.parametrize("screen", [pytest.param(PHONE, marks=pytest.mark.rare), DARK_PHONE], ids=["light", "dark"])
def test_axe_finds_nothing(chromium: Browser, serve: Serve, box: Mailbox, screen: Screen) -> None:
    """On every page, with faults and without; nothing is wider than a phone or faint."""
    server, seen = serving(serve, box), []
    with visiting(chromium, screen) as visitor:
        for name in walked(visitor, server, box):
            found = Axe().run(visitor.page, options=WCAG).response["violations"]
            told = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
            assert told == [], (name, told)
            assert visitor.wide() == [], name
            assert visitor.faint() == [], name
            seen.append(name)
    assert len(seen) == 19


def test_axe_can_find_something(chromium: Browser) -> None:
    """The rules that are asked for are rules that there are."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.set_content("<html><body><input><p style='color:#ccc;background:#fff'>faint</p></body></html>")
        found = {each["id"] for each in Axe().run(page, options=WCAG).response["violations"]}
        assert {"label", "color-contrast", "html-has-lang", "document-title"} <= found


class _Elsewhere(BaseHTTPRequestHandler):
    """A page of another site, with a link and with forms that lead to the service."""

    def do_GET(self) -> None:
        target = getattr(self.server, "target")  # noqa: B009 - set by the test
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(
            f"""<!doctype html><link rel=icon href=data:><h1>elsewhere</h1><a href="{target}/account">Account</a>
            <form method=post action="{target}/account/login"><input name=username value=mallory>
            <input name=password value="{PASSWORD}"><button>In</button></form>
            <iframe sandbox="allow-forms" srcdoc='<form method=post action="{target}/account/logout">
            <button>Out</button></form>'></iframe>""".encode()
        )

    def log_message(self, *_: object) -> None: ...


@contextmanager
def elsewhere(target: str) -> Iterator[str]:
    """A server of another site: `localhost` is not `127.0.0.1`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as listening:
        listening.target = target  # type: ignore[attr-defined]
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


def test_another_site_leads_here_and_can_do_nothing(chromium: Browser, serve: Serve) -> None:
    """A link shows the account of who is logged in; a form, and a form in a sandboxed frame, are refused."""
    server = serve(**UNLIMITED)
    with Client(server.url) as client:
        client.register("ada")
        client.register("mallory")
    with visiting(chromium) as visitor, elsewhere(server.url) as other:
        page = visitor.page
        page.goto(f"{server.url}/account/login")
        log_in(page, PASSWORD)
        page.goto(other)
        page.get_by_role("link", name="Account").click()
        expect(page.locator("dd").first).to_have_text("ada", timeout=PATIENCE)
        page.goto(other)
        page.get_by_role("button", name="In").click()
        expect(page.get_by_role("heading")).to_have_text("This form does not come from here")
        page.goto(other)
        with page.expect_response("**/account/logout") as refused:
            page.frame_locator("iframe").get_by_role("button", name="Out").click()
        assert refused.value.status == 403
        page.goto(f"{server.url}/account")
        expect(page.locator("dd").first).to_have_text("ada")
        visitor.errors.clear()  # of the frame that was not shown


def test_a_log_in_leads_back_to_the_application(chromium: Browser, serve: Serve) -> None:
    """The browser compares the redirect with the policy of the page; only an allowed origin is named there."""
    with elsewhere("http://127.0.0.1:9") as application:
        server = serve(**UNLIMITED, WATCHWORD_ALLOWED_ORIGINS=application)
        with Client(server.url) as client:
            client.register("ada")
        with visiting(chromium, scripts=False) as visitor:
            page = visitor.page
            page.goto(f"{server.url}/account/login?next={application}/orders")
            log_in(page, PASSWORD)
            expect(page.get_by_role("heading")).to_have_text("elsewhere")
            assert page.url == f"{application}/orders"
