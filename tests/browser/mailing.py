"""The service with a mail server, and what people do on its pages."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server
from tests.mail.mailbox import Mailbox, receiving

TO, NEW = "ada@example.org", "quiet-harbor-lantern"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """Whatever is sent arrives here."""
    with receiving() as one:
        yield one


def serving(serve: Serve, box: Mailbox, **more: str) -> Server:
    """The service with a mail server, on which addresses are confirmed."""
    return serve(
        **UNLIMITED,
        WATCHWORD_SMTP_URL=box.url,
        WATCHWORD_MAIL_FROM="Example <no-reply@example.com>",
        WATCHWORD_EMAIL_VERIFICATION="required",
        WATCHWORD_EMAIL_LOGIN="on",
        **more,
    )


def mailed(box: Mailbox, subject: str, to: str = TO) -> None:
    """Wait until the newest mail to an address is this one."""
    while box.subjects(to)[-1:] != [subject]:  # the test's own time limit ends what hangs
        time.sleep(0.05)


def press(page: Page, name: str) -> None:
    """Press the one button of this name."""
    page.get_by_role("button", name=name, exact=True).click()


def log_in(page: Page, password: str, name: str = "ada") -> None:
    """Fill in the form of the log-in page and send it."""
    page.get_by_label("Username or e-mail address").fill(name)
    page.get_by_label("Password").fill(password)
    press(page, "Log in")
