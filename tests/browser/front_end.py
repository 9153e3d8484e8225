"""A single-page application of the guide, in several tabs of one browser, beside a service whose answers get lost."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from tests.e2e.client import PASSWORD, fresh_name
from tests.e2e.server import UNLIMITED, Server
from tests.guard_adapters.serving import on_uvicorn
from tests.reliability.proxy import Proxy, in_a_thread
from watchword.guard import Guard
from watchword.guard.starlette import guarded

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "clients" / "js" / "watchword.js"
GUIDE = (ROOT / "docs" / "guides" / "front-end.md").read_text("utf-8")
PATIENCE = 60_000
GRACE = 1  # seconds: what comes later needs the key
EMPTY = "<!doctype html><meta charset=utf-8><title>tab</title>"


def block(language: str, holding: str) -> str:
    """The one code block of the guide in this language that holds these words."""
    found = [code for code in re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL) if holding in code]
    assert len(found) == 1, (language, holding, len(found))
    return str(found[0])


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {".js": "text/javascript", ".html": "text/html; charset=utf-8"}  # noqa: RUF012

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Site:
    """Static files at http://localhost:<port>, and at http://127.0.0.1:<port>, which is another site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
        self.origin = f"http://localhost:{self._server.server_port}"
        (folder / "watchword.js").write_bytes(MODULE.read_bytes())
        (folder / "tab.html").write_text(EMPTY)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class Person:
    """One browser's cookies and storage, its tabs, and what they asked of the service."""

    def __init__(self, context: BrowserContext, site: Site, url: str) -> None:
        self.context = context
        self.site = site
        self.url = url
        self.asked: list[str] = []
        context.set_default_timeout(PATIENCE)
        context.on("request", lambda request: self._note(request.method, request.url))

    def _note(self, method: str, url: str) -> None:
        if url.startswith(self.url):
            self.asked.append(f"{method} {url.removeprefix(self.url)}")

    def refreshes(self) -> int:
        """How often any tab refreshed."""
        return sum(each.partition("?")[0] == "POST /refresh" for each in self.asked)

    def tab(self, **options: Any) -> Page:
        """One more tab, with a client of the module as `auth`; it is not started."""
        page = self.context.new_page()
        page.goto(f"{self.site.origin}/tab.html")
        page.evaluate(
            """async (options) => {
                globalThis.module = await import("./watchword.js");
                globalThis.auth = new module.Watchword(options);
                globalThis.seen = [];
                for (const kind of ["change", "trouble", "recovered"])
                    auth.addEventListener(kind, ({ detail }) =>
                        seen.push([kind, detail?.state ?? detail?.error.code ?? null, detail?.reason ?? null]));
                globalThis.caught = async (work) => {
                    try {
                        return { value: (await work()) ?? null };
                    } catch ({ name: kind, code, retryAfter, errors }) {
                        return { value: { kind, code, retryAfter, errors } };
                    }
                };
            }""",
            {"url": self.url, **options},
        )
        return page


def do(page: Page, work: str, given: Any = None) -> Any:
    """Run `work` in the page and return its value, or what it threw as `{kind, code, …}`."""
    return page.evaluate(f"async (given) => (await caught(async () => ({work}))).value", given)


def start(page: Page, work: str) -> None:
    """Begin something without waiting for it; `ended(page)` waits."""
    page.evaluate(f"() => {{ globalThis.running = caught(async () => ({work})); }}")


def ended(page: Page) -> Any:
    """What came of what was started."""
    return page.evaluate("async () => (await running).value")


def a_day_passes(page: Page) -> None:
    """Move the page's clock."""
    page.evaluate("() => { const now = Date.now; Date.now = () => now() + 86_400_000; }")


def until(page: Page, condition: str) -> None:
    """Wait until it is true in the page."""
    page.wait_for_function(f"() => {condition}", timeout=PATIENCE)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it is true here; the time limit of every test ends what never comes."""
    while not condition():
        time.sleep(0.02)


@contextmanager
def person(browser: Browser, site: Site, proxy: Proxy, *scripts: str) -> Iterator[Person]:
    """A browser of its own, whose way to the service leads through the proxy.

    :param scripts: run in each page before anything else.
    """
    context = browser.new_context()
    for script in scripts:
        context.add_init_script(script)
    try:
        yield Person(context, site, f"http://localhost:{proxy.port}")
    finally:
        proxy.mend()
        context.close()


def account(server: Server) -> dict[str, str]:
    """A new account's name and password."""
    given = {"username": fresh_name(), "password": PASSWORD}
    with server.client() as client:
        assert client.post("/register", json=given).status_code == 201
    return given


class World(NamedTuple):
    """What all tests of this module share."""

    server: Server
    proxy: Proxy
    site: Site
    api: str
    foreign: str
    heard: list[tuple[str, str | None, bytes]]
    """Path, `Authorization` and body of each request to the API and to the foreign origin."""
    grace: int
    """Seconds after which a lost answer needs its key."""


def _api(server: Server, origin: str, heard: list[tuple[str, str | None, bytes]], elsewhere: list[str]) -> Starlette:
    guard = Guard(server.url)

    async def note(request: Request) -> None:
        heard.append((request.url.path, request.headers.get("Authorization"), await request.body()))

    async def orders(request: Request) -> JSONResponse:
        await note(request)
        return JSONResponse({"orders of": request.state.caller.user_id, "body": (await request.body()).decode()})

    async def anyone(request: Request) -> JSONResponse:
        await note(request)
        return JSONResponse({})

    async def moved(request: Request) -> RedirectResponse:
        await note(request)
        return RedirectResponse(elsewhere[0] if request.path_params["where"] == "abroad" else "/orders", 307)

    routes = [
        Route("/orders", orders, methods=["GET", "POST"], middleware=[guarded(guard)]),
        Route("/anyone", anyone, methods=["GET", "POST"]),
        Route("/moved/{where}", moved),
    ]
    cors = Middleware(CORSMiddleware, allow_origins=[origin], allow_methods=["*"], allow_headers=["*"])
    return Starlette(routes=routes, middleware=[cors])


def api_of_its_own(server: Server, origin: str, audience: str) -> Starlette:
    """An API that takes tokens for its own audience only, with the scope orders:read, and says what they may do."""
    guard = Guard(server.url, audience=audience)

    async def orders(request: Request) -> JSONResponse:
        return JSONResponse(sorted(request.state.caller.scopes))

    cors = Middleware(CORSMiddleware, allow_origins=[origin], allow_methods=["*"], allow_headers=["*"])
    routes = [Route("/orders", orders, middleware=[guarded(guard, scopes="orders:read")])]
    return Starlette(routes=routes, middleware=[cors])


@contextmanager
def standing(site_folder: Path, server_folder: Path, *, grace: int) -> Iterator[World]:
    """All of it, for a module's tests.

    :param grace: seconds after which a lost answer needs its key.
    """
    site = Site(site_folder)
    more = {"WATCHWORD_ALLOWED_ORIGINS": site.origin, "WATCHWORD_REFRESH_GRACE": f"{grace}s"}
    server = Server(server_folder, **UNLIMITED, **more)
    heard: list[tuple[str, str | None, bytes]] = []
    elsewhere: list[str] = []
    app = _api(server, site.origin, heard, elsewhere)
    with (
        in_a_thread(server.port) as proxy,
        on_uvicorn(app) as one,
        on_uvicorn(_api(server, site.origin, heard, [])) as two,
    ):
        elsewhere.append(f"http://localhost:{two.port}/anyone")
        yield World(server, proxy, site, f"http://localhost:{one.port}", f"http://localhost:{two.port}", heard, grace)
    site.close()
    server.stop()
    assert "Traceback" not in server.log(), server.log()


def lose_an_answer(world: World, tab: Page) -> None:
    """The service has committed a refresh, its answer never comes, and the grace goes by."""
    do(tab, "auth.logIn(given)", account(world.server))
    a_day_passes(tab)
    do(tab, "auth.token()")  # now the browser asks for this address without a preflight
    session = do(tab, "auth.session.sessionId")
    world.proxy.answers.swallows = True
    a_day_passes(tab)
    lost = do(tab, "auth.token()")
    assert (lost["kind"], lost["code"]) == ("Unavailable", "offline")
    assert ["trouble", "offline", None] in do(tab, "seen")
    with closing(sqlite3.connect(world.server.data / "watchword.db")) as database:
        ((generation,),) = database.execute("SELECT generation FROM ww_sessions WHERE id = ?", (session,))
    assert generation == 2
    time.sleep(world.grace + 1.1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with standing(tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("server"), grace=GRACE) as made:
        yield made


@pytest.fixture
def ada(world: World, chromium: Browser) -> Iterator[Person]:
    world.heard.clear()
    with person(chromium, world.site, world.proxy) as one:
        yield one
