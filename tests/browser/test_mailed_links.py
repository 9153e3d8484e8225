"""What mails lead to, in Chromium without JavaScript: a real mail server receives them, and people open their links."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.mailing import NEW, TO, box, log_in, mailed, press, serving
from tests.browser.visitor import DESK, visiting
from tests.e2e.client import PASSWORD, Client
from tests.e2e.fixtures import Serve
from tests.e2e.server import Server
from tests.mail.mailbox import Mailbox

__all__ = ["box"]  # a fixture
pytestmark = pytest.mark.timeout(600)
THEIRS = "mallory@example.net"


def registered(server: Server, box: Mailbox) -> None:
    """Make the account of Ada, whose address is confirmed."""
    with Client(server.url) as client:
        body = {"username": "ada", "email": TO, "password": PASSWORD}
        handle = client.post("/register", json=body).json()["handle"]
        mailed(box, "Confirm your registration")
        given = {"handle": handle, "code": box.code(TO)}
        assert client.post("/email/verify", json=given).status_code == 204


def opened(page: Page, server: Server, box: Mailbox, to: str, button: str) -> None:
    """Open the link of the newest mail, twice, as a scanner does first, and press the page's button."""
    for _ in range(2):
        page.goto(f"{server.url}/links/{box.link(to)}")
    press(page, button)


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def test_an_address_is_changed_taken_back_and_the_account_closed(chromium: Browser, serve: Serve, box: Mailbox) -> None:
    """Someone at Ada's desk takes her account; the link in the notice brings it back, and she closes it for good."""
    server = serving(serve, box)
    registered(server, box)
    with visiting(chromium, DESK, scripts=False) as thief, visiting(chromium, DESK, scripts=False) as ada:
        page = thief.page
        page.goto(f"{server.url}/account/email")
        log_in(page, PASSWORD)
        page.get_by_label("New e-mail address").fill(THEIRS)
        page.get_by_label("Your password").fill(PASSWORD)
        press(page, "Change the e-mail address")
        heading(page, "Look into your mailbox")
        mailed(box, "Confirm your new e-mail address", THEIRS)
        opened(page, server, box, THEIRS, "Confirm")
        expect(page.get_by_role("status")).to_contain_text("The address is confirmed")
        page.goto(f"{server.url}/account")
        expect(page.get_by_role("definition").nth(1)).to_have_text(THEIRS)

        mailed(box, "Your e-mail address was changed")
        opened(ada.page, server, box, TO, "Take it back")
        expect(ada.page.get_by_role("status")).to_contain_text("Your former address is back")
        page.goto(f"{server.url}/account")
        heading(page, "Log in")
        log_in(page, PASSWORD)
        expect(page.get_by_role("alert")).to_contain_text("is wrong")

        page = ada.page
        page.goto(f"{server.url}/account/forgotten")
        page.get_by_label("E-mail address of your account").fill(TO)
        press(page, "Send the mail")
        mailed(box, "Set a new password")
        page.goto(f"{server.url}/links/{box.link(TO)}")
        page.get_by_label("New password").fill(NEW)
        press(page, "Set the password")
        page.goto(f"{server.url}/account/close")
        log_in(page, NEW)
        page.get_by_label("Your password").fill(NEW)
        press(page, "Close the account for good")
        heading(page, "The account is closed")
        page.goto(f"{server.url}/account")
        log_in(page, NEW)
        expect(page.get_by_role("alert")).to_contain_text("is wrong")


def test_an_invited_user_sets_a_password(chromium: Browser, serve: Serve, box: Mailbox) -> None:
    """An operator makes the account and never knows its password; the link works once."""
    server, to = serving(serve, box, WATCHWORD_ADMIN="on"), "grace@example.com"
    made = server.command("users", "create", "root", "--admin", "--password-stdin", stdin=PASSWORD)
    assert made.returncode == 0, made.stderr
    with Client(server.url) as client:
        token = client.post("/login", json={"username": "root", "password": PASSWORD}).json()["access_token"]
        invited = {"username": "grace", "email": to, "invite": True}
        answer = client.post("/admin/users", json=invited, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 201, answer.text
    mailed(box, "Your account at 127.0.0.1", to)
    link = f"{server.url}/links/{box.link(to)}"
    with visiting(chromium, DESK, scripts=False) as visitor:
        page = visitor.page
        page.goto(link)
        page.get_by_label("New password").fill(NEW)
        press(page, "Set the password")
        expect(page.get_by_role("status")).to_contain_text("The new password is set")
        page.goto(link)
        heading(page, "This link does not work any more")
        page.goto(f"{server.url}/account")
        log_in(page, NEW, "grace")
        heading(page, "Your account")
