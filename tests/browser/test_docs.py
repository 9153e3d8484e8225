"""The service's own `/docs`, walked through in Chromium as a person does in the first minutes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visitor import DARK_DESK, DARK_PHONE, DESK, PATIENCE, PHONE, Screen, visiting
from tests.e2e.client import PASSWORD, Client
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED

pytestmark = pytest.mark.timeout(300)
SCREENS = [DESK, DARK_PHONE]
ALL_SCREENS = [DESK, DARK_DESK, PHONE, DARK_PHONE]


def _named(screen: Screen) -> str:
    return f"{screen.scheme}-{screen.width}"


@pytest.mark.parametrize("screen", [pytest.param(DESK, marks=pytest.mark.rare), DARK_PHONE], ids=_named)
def test_the_whole_walk(chromium: Browser, serve: Serve, screen: Screen) -> None:
    """Register, authorize, profile, log out, profile; everything as the page suggests it."""
    server = serve(**UNLIMITED)
    with visiting(chromium, screen) as visitor:
        visitor.open(f"{server.url}/docs")
        status, made = visitor.try_out("post_register")
        assert (status, made["username"]) == (201, "testuser")
        window = visitor.authorize()
        visitor.log_in(window, "testuser", "not the password")
        expect(window.get_by_role("alert")).to_contain_text("is wrong", timeout=PATIENCE)
        assert visitor.wide() == []
        assert visitor.faint() == []
        visitor.log_in(window, "testuser", PASSWORD)
        expect(window).to_contain_text("Logged in as testuser", timeout=PATIENCE)
        assert visitor.faint() == []
        window.get_by_text("Close", exact=True).click()
        status, profile = visitor.try_out("get_profile")
        assert (status, profile["id"]) == (200, made["id"])
        assert visitor.try_out("get_sessions")[0] == 200
        assert visitor.try_out("post_logout")[0] == 204
        status, refused = visitor.try_out("get_profile")
        assert (status, refused["code"]) == (401, "token_revoked")
        assert visitor.wide() == []
        assert visitor.faint() == []
        assert all(address.startswith((server.origin, "data:")) for address in visitor.asked), visitor.asked


@pytest.mark.rare
def test_the_cookies_walk(chromium: Browser, serve: Serve) -> None:
    """Log-in, refresh and log-out by the cookie, and the token endpoint's form, all as they stand."""
    server = serve(**UNLIMITED)
    with visiting(chromium) as visitor:
        visitor.open(f"{server.url}/docs")
        visitor.try_out("post_register")
        assert visitor.try_out("post_login")[0] == 200
        assert visitor.try_out("post_refresh")[0] == 200
        assert visitor.try_out("post_token")[0] == 200
        assert visitor.try_out("post_revoke")[0] == 200
        assert visitor.try_out("post_logout")[0] == 204
        assert visitor.try_out("post_refresh")[0] == 401


def test_the_page_below_a_prefix(chromium: Browser, serve: Serve) -> None:
    server = serve(**UNLIMITED, WATCHWORD_PATH_PREFIX="/api")
    with visiting(chromium) as visitor:
        visitor.open(f"{server.url}/docs")
        visitor.try_out("post_register")
        window = visitor.authorize()
        visitor.log_in(window, "testuser", PASSWORD)
        expect(window).to_contain_text("Logged in as testuser", timeout=PATIENCE)
        window.get_by_text("Forget the token").click()
        expect(window.locator("#oauth_username")).to_be_visible(timeout=PATIENCE)


def test_without_the_password_grant_a_token_is_pasted(chromium: Browser, serve: Serve) -> None:
    server = serve(**UNLIMITED, WATCHWORD_PASSWORD_GRANT="off")
    with Client(server.url) as client:
        token = client.newcomer()
    with visiting(chromium) as visitor:
        visitor.open(f"{server.url}/docs")
        window = visitor.authorize()
        window.locator("input").fill(token)
        window.locator("button.authorize").click()
        window.get_by_text("Close", exact=True).click()
        assert visitor.try_out("get_profile")[0] == 200


@pytest.mark.rare
def test_how_it_looks(chromium: Browser, serve: Serve) -> None:
    """The order, one small window, nothing wider than the screen, nothing faint."""
    server = serve(**UNLIMITED)
    for screen in SCREENS:
        with visiting(chromium, screen) as visitor:
            visitor.open(f"{server.url}/docs")
            paths = visitor.page.locator(".opblock-summary-path").evaluate_all("all => all.map(x => x.dataset.path)")
            assert paths[:6] == ["/register", "/login", "/profile", "/refresh", "/logout", "/sessions"]
            assert visitor.page.locator(".models .model-container").count() == 0, "schemas are folded"
            body = visitor.page.locator("body").evaluate("x => getComputedStyle(x).backgroundColor")
            assert (body == "rgb(255, 255, 255)") is (screen.scheme == "light")
            icon = visitor.page.locator("link[rel=icon]").evaluate("x => x.href")
            assert visitor.page.request.get(icon).headers["content-type"] == "image/svg+xml"
            window = visitor.authorize()
            assert window.locator("input").count() == 2
            words = window.inner_text().lower()
            assert "scope" not in words
            assert "client_id" not in words
            box = window.locator("button.authorize").bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= screen.height, "the button lies on the screen"
            window.get_by_text("Close", exact=True).click()
            visitor.click_all(".models-control")
            visitor.click_all(".opblock:not(.is-open) .opblock-summary-control")
            expect(visitor.page.locator(".try-out__btn")).to_have_count(len(paths), timeout=PATIENCE)
            visitor.click_all(".try-out__btn")
            expect(visitor.page.locator(".execute")).to_have_count(len(paths), timeout=PATIENCE)
            assert visitor.wide() == []
            assert visitor.faint() == []


def test_the_front_page_and_the_problem_pages(chromium: Browser, serve: Serve) -> None:
    """They can be read on a phone and in the dark, and their links lead somewhere."""
    server = serve(**UNLIMITED)
    for screen in ALL_SCREENS:
        with visiting(chromium, screen) as visitor:
            for path in ("/", "/problems/token_expired", "/problems/too_many_attempts", "/problems"):
                visitor.page.goto(server.url + path)
                assert visitor.wide() == []
                assert visitor.faint() == []
    with visiting(chromium) as visitor:
        visitor.page.goto(server.url)
        visitor.page.get_by_role("link", name="Every route, to read and to try").click()
        expect(visitor.page.locator(".opblock").first).to_be_visible(timeout=PATIENCE)
        visitor.page.goto(f"{server.url}/problems/token_expired")
        visitor.page.get_by_role("link", name="GET /profile", exact=True).click()
        expect(visitor.page.locator(".opblock.is-open[id$='-get_profile']")).to_be_visible(timeout=PATIENCE)


def test_a_client_that_is_not_accepted_opens_no_box_of_the_browser(chromium: Browser, serve: Serve) -> None:
    """Under a Basic challenge the request would wait for a person to fill in the browser's own sign-in box."""
    server = serve(**UNLIMITED)
    ask = """async ([body, headers]) => (await fetch("/token", {method: "POST", headers,
        body: new URLSearchParams({grant_type: "password", username: "a", password: "b", ...body})})).status"""
    basic = {"Authorization": "Basic YW55Og=="}
    with visiting(chromium) as visitor:
        visitor.open(f"{server.url}/docs")
        for body, headers in (
            ({"client_id": "any"}, {}),
            ({"client_id": "any", "client_secret": "any"}, {}),
            ({}, basic),
            ({}, {**basic, "X-Requested-With": "XMLHttpRequest"}),
        ):
            assert visitor.page.evaluate(ask, [body, headers]) == 401
