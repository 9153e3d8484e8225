"""A person at a page of Swagger UI, who also looks for what people do not say: errors, overflow, faint words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Locator, Page, expect

PATIENCE = 60_000  # milliseconds; for a machine that is busy with other things
_SCRIPTS = Path(__file__).with_name("looking.js").read_text("utf-8")


class Screen(NamedTuple):
    """What somebody looks at the page with."""

    scheme: str
    width: int
    height: int


DESK = Screen("light", 1280, 900)
DARK_DESK = Screen("dark", 1280, 900)
PHONE = Screen("light", 390, 844)
DARK_PHONE = Screen("dark", 390, 844)


class Visitor:
    """A page, and everything that went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.add_init_script(_SCRIPTS)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        # The browser itself notes every answer from 400 on; the visitor looks at statuses where they matter.
        if kind == "error" and not text.startswith("Failed to load resource: the server responded with"):
            self.errors.append(text)

    def open(self, address: str) -> None:
        self.page.goto(address)
        expect(self.page.locator(".opblock").first).to_be_visible(timeout=PATIENCE)

    def try_out(self, operation: str, body: Any = None) -> tuple[int, Any]:
        """Press Try it out and Execute; status and JSON of the answer. The body as it stands, unless another is given.

        :param operation: the end of its id, as `post_register`.
        """
        block = self.page.locator(f".opblock[id$='-{operation}']")
        execute = block.locator(".execute")
        if not execute.is_visible():
            block.locator(".opblock-summary-control").first.click()
            block.locator(".try-out__btn").first.click()
        if body is not None:
            block.locator("textarea.body-param__text").fill(json.dumps(body))
        with self.page.expect_response(lambda answer: answer.request.method != "OPTIONS") as answered:
            execute.click()
        status = answered.value.status
        shown = block.locator(".live-responses-table tbody .response-col_status").first
        expect(shown).to_contain_text(str(status), timeout=PATIENCE)
        content = answered.value.body()
        return status, json.loads(content) if content else None

    def click_all(self, selector: str) -> None:
        """Everything of a kind at once: one by one would take a person minutes, and a driver too."""
        self.page.evaluate("what => document.querySelectorAll(what).forEach(one => one.click())", selector)

    def authorize(self) -> Locator:
        """Open the window."""
        self.page.locator(".auth-wrapper button.authorize").first.click()
        window = self.page.locator(".modal-ux")
        expect(window).to_be_visible(timeout=PATIENCE)
        return window

    def log_in(self, window: Locator, name: str, password: str) -> None:
        window.locator("#oauth_username").fill(name)
        window.locator("#oauth_password").fill(password)
        window.locator("button.authorize").click()

    def wide(self) -> list[str]:
        """The elements that reach beyond the screen."""
        found: list[str] = self.page.evaluate("looking.wide()")
        return found

    def faint(self) -> list[str]:
        """The words that stand out by less than 4.5 to 1 (WCAG 2.2, 1.4.3)."""
        found: list[str] = self.page.evaluate("looking.faint()")
        return found

    def violations(self) -> list[str]:
        """What the page's security policy has refused."""
        found: list[str] = self.page.evaluate("looking.violations")
        return found


@contextmanager
def visiting(browser: Browser, screen: Screen = DESK, *, scripts: bool = True) -> Iterator[Visitor]:
    """A new visitor, without cookies; nothing may have gone wrong in the page by the end."""
    context = browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        color_scheme="dark" if screen.scheme == "dark" else "light",
        java_script_enabled=scripts,
    )
    try:
        visitor = Visitor(context.new_page())
        yield visitor
        assert not visitor.errors, visitor.errors
        if scripts:
            assert not visitor.violations(), visitor.violations()
    finally:
        context.close()
