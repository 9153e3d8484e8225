"""The guides for pages made on a server and for WebSockets, as they stand, in Chromium with the service."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_pages import press
from tests.e2e.client import PASSWORD, fresh_name
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server, free_port
from tests.guard_adapters.serving import ROOT, on_uvicorn

pytestmark = pytest.mark.timeout(300)
GUIDES = ROOT / "docs" / "guides"
REVOKED = 4401


def blocks(guide: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (GUIDES / guide).read_text("utf-8"), re.DOTALL)


@contextmanager
def as_the_guide_says(guide: str, serve: Serve, place: str = "") -> Iterator[tuple[Server, str]]:
    """The service with the guide's settings and the guide's application: the service, and where the pages are.

    :param place: what the guide tells to write in place of the `tokens_from=` of its code; empty: nothing else.
    """
    port = free_port()
    pages = f"http://127.0.0.1:{port}"
    service = serve(**UNLIMITED, WATCHWORD_ACCESS_COOKIE="on", WATCHWORD_ALLOWED_ORIGINS=pages)
    (code,) = blocks(guide, "python")
    if place:
        assert code.count("tokens_from=Subprotocol()") == (GUIDES / guide).read_text("utf-8").count(f"`{place}`") == 1
        code = code.replace("tokens_from=Subprotocol()", place)
    assert code.count("http://127.0.0.1:4000") == 1
    for shown, actual in (("http://127.0.0.1:4000", service.url), ("http://127.0.0.1:8000", pages)):
        code = code.replace(shown, actual)
    module: Any = ModuleType("guide")
    exec(compile(code, guide, "exec", dont_inherit=True), vars(module))
    with on_uvicorn(module.app, port, ws="wsproto"):
        yield service, pages
    module.guard.stop()


@pytest.fixture
def evil() -> Iterator[str]:
    """Where someone else's pages are, on the same host: cookies do not tell ports apart."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>Hello</p>")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@contextmanager
def visitor(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    try:
        yield page
    finally:
        context.close()


def log_in(page: Page, name: str) -> None:
    page.get_by_label("Username or e-mail address").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Log in")


def person(service: Server) -> str:
    name = fresh_name()
    with service.client() as client:
        client.register(name)
    return name


def test_a_page_made_on_a_server(chromium: Browser, serve: Serve, evil: str) -> None:
    """From the page to the log-in and back; a form; a cookie that is over; a log-out elsewhere."""
    with as_the_guide_says("server-rendered.md", serve) as (service, pages), visitor(chromium) as page:
        name = person(service)
        page.goto(f"{pages}/?a=1")
        assert page.url.startswith(f"{service.url}/account/login?next=")
        log_in(page, name)
        page.wait_for_url(f"{pages}/?a=1")
        press(page, "Press")
        expect(page.locator("b")).to_have_text("1")

        page.context.clear_cookies(name="watchword_access")
        page.goto(pages)
        expect(page.locator("b")).to_have_text("1")
        assert page.url == f"{pages}/", "led to the log-in page and back without a form"

        _scripts(page, service)
        _attacks(page, evil, pages)

        page.goto(f"{service.url}/account")
        press(page, "Log out")
        expect(page.get_by_text("You are logged out.")).to_be_visible()
        page.goto(pages)
        assert page.url.startswith(f"{service.url}/account/login")


def _scripts(page: Page, service: Server) -> None:
    """What a script of the page may send: the cookie, or a header without it."""
    with service.client() as client:
        token = client.newcomer()
    statuses = page.evaluate(
        """async token => {
            const headers = {Authorization: "Bearer " + token};
            const ways = [{}, {headers, credentials: "omit"}, {headers}, {method: "POST"}];
            return Promise.all(ways.map(async way => (await fetch("/", way)).status));
        }""",
        token,
    )
    assert statuses == [200, 200, 400, 200]


def _attacks(page: Page, evil: str, pages: str) -> None:
    """From another origin of the same host, to which the browser sends the cookie too."""
    page.goto(evil)
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status) if answer.url.startswith(pages) else None)
    page.evaluate(
        """async pages => {
            await fetch(pages, {method: "POST", mode: "no-cors", credentials: "include"}).catch(() => {});
            await fetch(pages, {mode: "no-cors", credentials: "include"}).catch(() => {});
        }""",
        pages,
    )
    assert statuses == [403, 403]
    page.goto(pages)
    expect(page.locator("b")).to_have_text("2")  # the script's, and no one else's


CONNECT = """async ([code, token, pages]) => {
    const socket = new Function("token", code + "; return socket")(token);
    window.heard = [];
    window.gone = new Promise(tell => socket.onclose = event => tell([event.code, event.reason]));
    const hello = new Promise(tell => socket.onmessage = event => tell([socket.protocol, event.data]));
    return Promise.race([hello, window.gone]);
}"""


def test_sockets_and_events(chromium: Browser, serve: Serve, evil: str) -> None:
    """Each line of the guide, and what the browser hears at the log-out."""
    by_protocol, by_message, by_cookie = blocks("websockets.md", "js")
    by_handshake = (by_protocol, "watchword.bearer", "")
    for code, protocol, place in (by_handshake, (by_message, "", "tokens_from=FirstMessage(seconds=5)")):
        guided = as_the_guide_says("websockets.md", serve, place)
        with guided as (service, pages), visitor(chromium) as page, service.client() as client:
            token = client.newcomer()
            page.goto(f"{pages}/openapi.json")
            assert connect(page, code, token, pages)[0] == protocol
            client.post("/logout", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
            assert page.evaluate("() => window.gone") == [REVOKED, "token_revoked"]
            assert connect(page, code, "rubbish", pages)[0] in {1006, REVOKED}
    own_pages = 'tokens_from=AccessCookie(origin="http://127.0.0.1:8000")'
    with as_the_guide_says("websockets.md", serve, own_pages) as (service, pages):
        _by_cookie(chromium, service, pages, by_cookie, evil)


def connect(page: Page, code: str, token: str, pages: str) -> Any:
    assert "127.0.0.1:8000" in code
    return page.evaluate(CONNECT, [code.replace("127.0.0.1:8000", urlsplit(pages).netloc), token, pages])


def _by_cookie(chromium: Browser, service: Server, pages: str, code: str, evil: str) -> None:
    with visitor(chromium) as page:
        page.goto(f"{service.url}/account/login")
        log_in(page, person(service))
        expect(page.get_by_role("button", name="Log out", exact=True)).to_be_visible()
        only_socket, events = code.splitlines()
        page.goto(evil)
        assert connect(page, only_socket, "", pages)[0] == 1006, "a page of another origin hijacks nothing"

        page.goto(f"{pages}/openapi.json")
        assert connect(page, only_socket, "", pages)[1].startswith("Hello, ")
        first = page.evaluate(
            """code => {
                window.events = new Function(code + "; return events")();
                window.ended = new Promise(tell => events.onerror = () => events.readyState === 2 && tell("ended"));
                return new Promise(tell => events.onmessage = event => tell(event.data));
            }""",
            events,
        )
        assert first == "0"
        other = page.context.new_page()
        other.goto(f"{service.url}/account")
        press(other, "Log out")
        assert page.evaluate("() => window.gone") == [REVOKED, "token_revoked"]
        assert page.evaluate("() => window.ended") == "ended"


def test_the_guides_say_how_to_start() -> None:
    text = (GUIDES / "server-rendered.md").read_text("utf-8")
    assert "WATCHWORD_ACCESS_COOKIE=on WATCHWORD_ALLOWED_ORIGINS=http://127.0.0.1:8000 watchword serve" in text
    for guide in ("server-rendered.md", "websockets.md"):
        assert "uvicorn main:app --port 8000" in (GUIDES / guide).read_text("utf-8")
