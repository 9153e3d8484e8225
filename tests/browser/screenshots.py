"""The pictures of the guides: what a person sees of each flow, on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page

from tests.browser.mailing import TO, log_in, mailed, press
from tests.e2e.client import PASSWORD, Client
from tests.e2e.server import Server
from tests.mail.mailbox import Mailbox, text_of

AGENTS = ("Mozilla/5.0 (iPhone) Safari", "Mozilla/5.0 (X11; Linux x86_64) Firefox")
INVITED = "grace@example.com"
Scheme = Literal["light", "dark"]


def take_all(browser: Browser, server: Server, box: Mailbox, folder: Path) -> None:
    """Take every picture of the guides into a folder.

    :param server: one with administration and without limits, whose mails arrive in the box.
    """
    with Client(server.url) as client:
        _people(server, client, box)
        for scheme in ("light", "dark"):
            with _phone(browser, scheme) as page:
                _pages(page, server, folder, scheme)
        with _phone(browser, "light") as page:
            _mails(page, server, box, folder)
            _invitation(page, client, box, folder)


def _people(server: Server, client: Client, box: Mailbox) -> None:
    """Make an administrator, and Ada, who has logged in on two devices."""
    made = server.command("users", "create", "root", "--admin", "--password-stdin", stdin=PASSWORD)
    assert made.returncode == 0, made.stderr
    given = {"username": "ada", "email": TO, "password": PASSWORD}
    handle = client.post("/register", json=given).json()["handle"]
    mailed(box, "Confirm your registration")
    assert client.post("/email/verify", json={"handle": handle, "code": box.code(TO)}).status_code == 204
    for agent in AGENTS:
        client.cookies.clear()
        client.post("/login", json={"username": "ada", "password": PASSWORD}, headers={"User-Agent": agent})


def _pages(page: Page, server: Server, folder: Path, scheme: Scheme) -> None:
    page.goto(f"{server.url}/account/login")
    page.screenshot(path=folder / f"pages-log-in-{scheme}.png")
    log_in(page, PASSWORD)
    page.screenshot(path=folder / f"pages-account-{scheme}.png")


def _mails(page: Page, server: Server, box: Mailbox, folder: Path) -> None:
    page.goto(f"{server.url}/account/forgotten")
    page.get_by_label("E-mail address of your account").fill(TO)
    press(page, "Send the mail")
    page.screenshot(path=folder / "pages-code.png")
    mailed(box, "Set a new password")
    link = box.link(TO)
    _newest(page, box, TO, folder / "mail-reset.png")
    page.goto(f"{server.url}/links/{link}")
    page.screenshot(path=folder / "mail-link.png")


def _invitation(page: Page, client: Client, box: Mailbox, folder: Path) -> None:
    token = client.post("/login", json={"username": "root", "password": PASSWORD}).json()["access_token"]
    given = {"email": INVITED, "invite": True}
    answer = client.post("/admin/users", json=given, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 201, answer.text
    mailed(box, "Your account at Example", INVITED)
    _newest(page, box, INVITED, folder / "administer-invitation.png")


def _newest(page: Page, box: Mailbox, to: str, path: Path) -> None:
    """Show the newest mail to someone as a mail program does, and take its picture."""
    mail = [each for each in box.mails if each["To"] == to][-1]
    page.goto("about:blank")  # the policy of a page of ours would take the mail's styles away
    page.set_content(text_of(mail, "html"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the mail is wider than a phone"
    page.locator("body").screenshot(path=path)


@contextmanager
def _phone(browser: Browser, scheme: Scheme) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 700}, color_scheme=scheme)
    try:
        yield context.new_page()
    finally:
        context.close()
