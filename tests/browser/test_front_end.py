"""The guide for front ends: its page, its API and its server with pages run as they stand; only the ports differ."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.front_end import PATIENCE, Site, account, block
from tests.e2e.client import PASSWORD, fresh_name
from tests.e2e.server import UNLIMITED, Server
from tests.guard_adapters.serving import on_uvicorn

pytestmark = pytest.mark.timeout(300)
PAGE, SERVICE, API = "http://localhost:5173", "http://localhost:4000", "http://localhost:8000"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Server]:
    more = {"WATCHWORD_ALLOWED_ORIGINS": site.origin, "WATCHWORD_TRUSTED_PROXIES": "1"}
    running = Server(tmp_path_factory.mktemp("server"), **UNLIMITED, **more)
    yield running
    running.stop()
    assert "Traceback" not in running.log(), running.log()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab; nothing may have gone wrong in it by the end. The browser itself notes the 401 of the first refresh."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert [error for error in errors if not error.startswith("Failed to load resource")] == []


def loaded(name: str, code: str, server: Server, **changes: str) -> Any:
    """The module of a block."""
    for shown, real in {"http://127.0.0.1:4000": server.url, **changes}.items():
        assert code.count(shown) == 1, shown
        code = code.replace(shown, real)
    sys.modules[name] = module = ModuleType(name)
    exec(compile(code, "front-end.md", "exec", dont_inherit=True), vars(module))
    return module


def test_the_application(server: Server, site: Site, page: Page) -> None:
    """Logged out, a wrong password, logged in, the orders, a second tab, and log-out in both."""
    service = f"http://localhost:{server.port}"
    api = loaded("front_end_api", block("python", "allow_origins"), server, **{PAGE: site.origin})
    with on_uvicorn(api.app) as running:
        places = {SERVICE: service, API: f"http://localhost:{running.port}"}
        for name, language, holding in (("index.html", "html", "doctype"), ("app.js", "js", "attempt")):
            code = block(language, holding)
            for shown, real in places.items():
                assert code.count(shown) == 1
                code = code.replace(shown, real)
            (site.folder / name).write_text(code)
        given = account(server)
        page.goto(f"{site.origin}/index.html")
        expect(page.locator("#door")).to_be_visible()
        page.fill("[name=username]", given["username"])
        page.fill("[name=password]", "not this one")
        page.click("#door button")
        expect(page.locator("#note")).not_to_be_empty(timeout=PATIENCE)
        page.fill("[name=username]", given["username"])
        page.fill("[name=password]", given["password"])
        page.click("#door button")
        expect(page.locator("#show")).to_be_visible(timeout=PATIENCE)
        expect(page.locator("#note")).to_be_empty()
        page.click("#show")
        expect(page.locator("#orders")).to_contain_text("orders of", timeout=PATIENCE)
        page.reload()
        expect(page.locator("#show")).to_be_visible(timeout=PATIENCE)
        other = page.context.new_page()
        other.goto(f"{site.origin}/index.html")
        expect(other.locator("#leave")).to_be_visible(timeout=PATIENCE)
        other.click("#leave")
        for tab in (page, other):
            expect(tab.locator("#door")).to_be_visible(timeout=PATIENCE)


def test_a_page_of_another_site_stays_logged_out(server: Server, site: Site, chromium: Browser) -> None:
    """As the guide says, `127.0.0.1` is another site than `localhost`; its origin was not allowed either."""
    context, said = chromium.new_context(), []
    page = context.new_page()
    page.on("console", lambda line: said.append(line.text))
    page.goto(f"{site.origin.replace('localhost', '127.0.0.1')}/tab.html")
    work = """async ([url, given]) => {
        const { Watchword } = await import("./watchword.js");
        return new Watchword({ url }).logIn(given).then(() => "in", ({ name, code }) => `${name} ${code}`);
    }"""
    assert page.evaluate(work, [f"http://localhost:{server.port}", account(server)]) == "Unavailable offline"
    assert any("blocked by CORS policy" in line for line in said)
    context.close()


def test_the_server_with_pages(server: Server, page: Page) -> None:
    """No token and no script in the browser. A session that has ended shows the form again."""
    pages = loaded("front_end_pages", block("python", "class Visit"), server)
    with on_uvicorn(pages.app) as running:
        given = account(server)
        page.goto(f"http://127.0.0.1:{running.port}/")
        for password in ("not this one", given["password"]):
            page.fill("[name=username]", given["username"])
            page.fill("[name=password]", password)
            page.click("button")
        expect(page.locator("body")).to_contain_text(f"Hello {given['username']}")
        assert [cookie["httpOnly"] for cookie in page.context.cookies()] == [True]
        (visit,) = pages.visits.values()
        # What it does for a visitor from elsewhere: the limits count their address.
        pages.answer_log_in({"username": given["username"], "password": "not this one"}, "203.0.113.9")
        assert '"address": "203.0.113.9"' in server.log()
        first = visit.access
        visit.until = 0.0  # its access token ends
        page.reload()
        expect(page.locator("body")).to_contain_text(f"Hello {given['username']}")
        assert visit.access != first
        form = {"headers": {"Sec-Fetch-Site": "cross-site"}, "form": given}
        assert page.request.post(f"http://127.0.0.1:{running.port}/log-in", **form).status == 403  # type: ignore[arg-type]
        assert server.command("users", "end-sessions", given["username"], "--yes").returncode == 0
        visit.until = 0.0
        page.reload()
        expect(page.locator("[name=password]")).to_be_visible()
        assert pages.visits == {}


def test_the_server_with_pages_greets_users_without_a_username(server: Server) -> None:
    """Someone may have registered with an address alone."""
    pages = loaded("front_end_pages", block("python", "class Visit"), server)
    given = {"email": f"{fresh_name()}@example.com", "password": PASSWORD}
    with on_uvicorn(pages.app) as running, server.client() as service, httpx2.Client() as visitor:
        assert service.post("/register", json=given).status_code == 201
        form = {"username": given["email"], "password": PASSWORD}
        assert visitor.post(f"http://127.0.0.1:{running.port}/log-in", data=form).status_code == 303
        answer = visitor.get(f"http://127.0.0.1:{running.port}/")
        assert (answer.status_code, answer.text) == (200, f"Hello {given['email']}")


def test_the_types_name_what_there_is() -> None:
    """Each class and member of `watchword.d.ts` is in the module, and the other way round."""
    folder = Path(__file__).parents[2] / "clients" / "js"
    code, types = ((folder / f"watchword.{end}").read_text("utf-8") for end in ("js", "d.ts"))
    classes = re.findall(r"^export class (\w+)", code, re.MULTILINE)
    assert classes == re.findall(r"^export declare class (\w+)", types, re.MULTILINE)
    methods = re.compile(r"^  (?:get |async |readonly )*([a-z]\w*)[<(:]", re.MULTILINE)
    ours = code.partition("export class Watchword extends EventTarget")[2].partition("\n}\n")[0]
    theirs = types.partition("export declare class Watchword extends EventTarget")[2].partition("\n}\n")[0]
    inherited = {"addEventListener"}
    assert set(methods.findall(ours)) | inherited == set(methods.findall(theirs))
