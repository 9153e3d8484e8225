"""FastAPI's own `/docs` of a guarded application, in Chromium: its Authorize button works, whatever is typed there."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.visitor import DARK_PHONE, DESK, PATIENCE, Screen, Visitor, visiting
from tests.e2e.client import PASSWORD, Client, bearer
from tests.e2e.fixtures import Serve
from tests.e2e.listening import listening
from tests.e2e.server import UNLIMITED, Server, clean_environment, free_port

pytestmark = pytest.mark.timeout(300)
APPLICATION = """
import sys
from typing import Annotated

import uvicorn
from fastapi import FastAPI

from watchword.guard import Caller, Guard
from watchword.guard.fastapi import FastAPIGuard

issuer, port = sys.argv[1], int(sys.argv[2])
auth = FastAPIGuard(Guard(issuer))
app = FastAPI(lifespan=auth.lifespan)


@app.get("/orders")
async def orders(caller: Annotated[Caller, auth.required()]):
    return {"orders of": caller.user_id}


uvicorn.run(app, host="127.0.0.1", port=port)
"""


@pytest.fixture
def service(serve: Serve) -> Server:
    return serve(**UNLIMITED)


@pytest.fixture
def port(service: Server, tmp_path: Path) -> Iterator[int]:
    """Where the application listens."""
    port = free_port()
    program = tmp_path / "main.py"
    program.write_text(APPLICATION)
    command = [sys.executable, program, service.origin, str(port)]
    with listening(command, tmp_path, port, environment=clean_environment()):
        yield port


def without_a_network(page: Page) -> None:
    """Give FastAPI's page the files of Swagger UI that it would fetch from a CDN."""
    found = find_spec("swagger_ui")
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "static"

    def answer(route: Route) -> None:
        file = folder / route.request.url.rpartition("/")[2]
        if file.is_file():
            route.fulfill(path=file)
        else:
            route.fulfill(status=204)

    page.route(lambda address: not address.startswith(("http://127.0.0.1", "http://localhost")), answer)


def authorized(visitor: Visitor, name: str, password: str, client_id: str = "") -> str:
    """Fill in FastAPI's window; what it says then."""
    window = visitor.authorize()
    if window.locator("button", has_text="Logout").count():
        window.locator("button", has_text="Logout").click()
    window.locator("[data-name=clientId], #client_id_password").first.fill(client_id)
    visitor.log_in(window, name, password)
    said = window.locator(".errors, button:has-text('Logout')").first
    expect(said).to_be_visible(timeout=PATIENCE)
    text = said.inner_text()
    window.locator(".btn-done").click()
    return text


@pytest.mark.parametrize(("host", "screen"), [("127.0.0.1", DESK), ("localhost", DARK_PHONE)])
def test_the_whole_walk(chromium: Browser, service: Server, port: int, host: str, screen: Screen) -> None:
    """Nothing had to be set: both are on this machine. A wrong password is called one, and so is a made-up client."""
    with Client(service.url) as client:
        name = client.register()["username"]
    with visiting(chromium, screen) as visitor:
        without_a_network(visitor.page)
        visitor.open(f"http://{host}:{port}/docs")
        assert visitor.try_out("orders_orders_get")[0] == 401
        assert "Failed to fetch" not in authorized(visitor, name, "not the password")
        assert "Failed to fetch" not in authorized(visitor, name, PASSWORD, client_id="made-up")
        assert authorized(visitor, name, PASSWORD) == "Logout"
        with visitor.page.expect_request("**/orders") as asked:
            assert visitor.try_out("orders_orders_get")[0] == 200
        token = asked.value.header_value("authorization")
        assert token is not None
        shown = bearer(token.partition(" ")[2])
        assert httpx2.post(f"{service.url}/logout", headers=shown).status_code == 204
        while visitor.try_out("orders_orders_get")[0] != 401:  # the guard hears of it within a second
            visitor.page.wait_for_timeout(100)


class _Blank(BaseHTTPRequestHandler):
    """A page of some other program."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:>")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def page_elsewhere() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_a_page_that_is_not_allowed_is_named_in_the_log(chromium: Browser, serve: Serve, page_elsewhere: str) -> None:
    """Beyond loopback nobody is a neighbour: the page says little, and the log says what to set."""
    service = serve(**UNLIMITED, WATCHWORD_PUBLIC_URL="https://auth.example", WATCHWORD_TRUSTED_PROXIES="0")
    with visiting(chromium) as visitor:
        visitor.page.goto(page_elsewhere)
        ask = """address => fetch(address, {method: "POST", headers: {"X-Requested-With": "XMLHttpRequest"}})
            .then(() => "answered", (error) => error.message)"""
        assert visitor.page.evaluate(ask, f"{service.url}/token") == "Failed to fetch"
        visitor.errors.clear()  # of CORS, as expected
    assert service.log().count("origin_refused") == 1
    assert f"WATCHWORD_ALLOWED_ORIGINS={page_elsewhere}" in service.log()
