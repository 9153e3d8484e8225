"""`watchword.js` in Chromium, beyond what `tests/browser` shows: wrong clocks, no network, no locks, and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser
from playwright.sync_api import Request as Sent
from playwright.sync_api import Route as Answering

from tests.browser.conftest import chromium
from tests.browser.front_end import (
    Person,
    World,
    a_day_passes,
    account,
    ada,
    do,
    ended,
    lose_an_answer,
    person,
    start,
    until,
    wait_for,
    world,
)  # fmt: skip

__all__ = ["ada", "chromium", "world"]
pytestmark = pytest.mark.timeout(300)


def test_without_the_key_a_lost_answer_is_a_log_out(world: World, ada: Person) -> None:
    """So it was the key. The tab learns how its session ended."""
    tab = ada.tab(timeout=2)
    lose_an_answer(world, tab)
    tab.evaluate("() => localStorage.clear()")
    world.proxy.mend()
    until(tab, "auth.state === 'out'")
    assert ["change", "out", "refresh_token_reused"] in do(tab, "seen")


def test_a_cookie_that_came_without_its_page_goes_on(world: World, ada: Person) -> None:
    """A page was closed between the answer and its next key: that key is refused, and the module makes another."""
    tab = ada.tab()
    do(tab, "auth.logIn(given)", account(world.server))
    kept = tab.evaluate("() => ({ ...localStorage })")
    a_day_passes(tab)
    do(tab, "auth.token()")
    tab.close()
    tab = ada.tab()
    tab.evaluate("kept => Object.assign(localStorage, kept)", kept)
    before = ada.refreshes()
    assert do(tab, "auth.start()") == "in"
    assert ada.refreshes() == before + 2


def test_what_is_refused_as_revoked_is_asked_once_more(world: World, ada: Person) -> None:
    """New roles revoke the old tokens: the body goes again, unless it is a stream. Then the next request succeeds."""
    tab = ada.tab(apis=[world.api])
    given = account(world.server)
    do(tab, "auth.logIn(given)", given)
    send = """auth.fetch(given, { method: 'POST', body: 'apples' })
        .then(async (answer) => [answer.status, (await answer.json()).body])"""
    bare = "fetch(given[0], { headers: { Authorization: `Bearer ${given[1]}` } }).then((answer) => answer.status)"
    url = f"{world.api}/orders"
    assert do(tab, send, url) == [200, "apples"]
    assert world.server.command("users", "roles", given["username"], "--set", "buyer").returncode == 0
    wait_for(lambda: do(tab, bare, [url, do(tab, "auth.token()")]) == 401)
    before = ada.refreshes()
    assert do(tab, send, url) == [200, "apples"]
    assert ada.refreshes() == before + 1
    assert do(tab, "auth.session.roles") == ["buyer"]
    assert world.server.command("users", "roles", given["username"], "--set", "seller").returncode == 0
    wait_for(lambda: do(tab, bare, [url, do(tab, "auth.token()")]) == 401)
    as_request = "auth.fetch(new Request(given, { method: 'POST', body: 'pears' })).then((answer) => answer.status)"
    assert do(tab, as_request, url) == 401
    assert do(tab, as_request, url) == 200


def test_a_session_that_was_ended_elsewhere_is_noticed(world: World, ada: Person) -> None:
    """By the next refusal: the refresh that follows says how it ended, in all tabs."""
    tab, other = ada.tab(), ada.tab()
    given = account(world.server)
    do(tab, "auth.logIn(given)", given)
    until(other, "auth.state === 'in'")
    assert world.server.command("users", "end-sessions", given["username"], "--yes").returncode == 0
    wait_for(lambda: do(tab, "auth.call('GET', '/profile')").get("kind") == "LoggedOut")
    assert do(tab, "seen.at(-1)") == ["change", "out", "session_ended"]
    until(other, "auth.state === 'out'")


def test_busy_is_not_logged_out(world: World, ada: Person) -> None:
    """503 with Retry-After: no more requests until then, then one that succeeds by itself."""
    tab = ada.tab()
    do(tab, "auth.logIn(given)", account(world.server))

    def busy(answering: Answering, _: Sent) -> None:
        ada.asked.append("busy")
        cors = {"Origin": world.site.origin, "Credentials": "true"}
        headers = {f"Access-Control-Allow-{name}": value for name, value in cors.items()}
        headers |= {"Retry-After": "2", "Access-Control-Expose-Headers": "Retry-After"}
        body = json.dumps({"code": "overloaded", "detail": "Later."})
        answering.fulfill(status=503, headers=headers, content_type="application/problem+json", body=body)

    ada.context.route("**/refresh", busy)
    a_day_passes(tab)
    for _ in range(3):
        said = do(tab, "auth.token()")
        assert (said["kind"], said["code"], said["retryAfter"]) == ("Unavailable", "overloaded", 2)
    assert ada.asked.count("busy") == 1
    ada.context.unroute("**/refresh")
    until(tab, "seen.some(([kind]) => kind === 'recovered')")
    assert do(tab, "auth.state") == "in"


def test_a_page_that_is_put_before_the_service_logs_no_one_out(world: World, ada: Person) -> None:
    """200 and HTML, as networks in trains answer. Who is logged out is not asked about again and again."""
    tab = ada.tab()
    do(tab, "auth.logIn(given)", account(world.server))
    cors = {"Access-Control-Allow-Origin": world.site.origin, "Access-Control-Allow-Credentials": "true"}
    ada.context.route("**/refresh", lambda route, _: route.fulfill(status=200, headers=cors, body="<h1>Welcome"))
    a_day_passes(tab)
    said = do(tab, "auth.token()")
    assert (said["kind"], said["code"]) == ("Unavailable", "unexpected")
    assert do(tab, "auth.state") == "in"
    ada.context.unroute("**/refresh")
    until(tab, "seen.some(([kind]) => kind === 'recovered')")
    do(tab, "auth.logOut()")
    before = len(ada.asked)
    for _ in range(3):
        assert do(tab, "auth.token()")["kind"] == "LoggedOut"
    assert len(ada.asked) == before


def test_a_log_out_without_a_network_is_told_later(world: World, ada: Person) -> None:
    """The tabs are logged out at once. No page refreshes before the service has heard of it, not even a new one."""
    tab, other = ada.tab(timeout=2), ada.tab(timeout=2)
    do(tab, "auth.logIn(given)", account(world.server))
    until(other, "auth.state === 'in'")
    token = do(tab, "auth.token()")
    world.proxy.refuse()
    world.proxy.cut()
    assert do(tab, "auth.logOut()")["kind"] == "Unavailable"
    until(other, "auth.state === 'out'")
    for page in (tab, other):
        page.close()
    world.proxy.mend()
    before = ada.refreshes()
    tab = ada.tab()
    assert do(tab, "auth.start()") == "out"
    assert ada.refreshes() == before
    with world.server.client() as client:
        assert client.get("/profile", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    do(tab, "auth.logIn(given)", account(world.server))
    assert do(tab, "auth.state") == "in"


@pytest.mark.parametrize("days", [-3000, 3000])
def test_the_browsers_clock_may_be_wrong(world: World, chromium: Browser, days: int) -> None:
    """By years: the token is used as long as it lives, and nothing is refreshed too soon."""
    wrong = f"(() => {{ const now = Date.now; Date.now = () => now() + {days} * 86_400_000; }})()"
    with person(chromium, world.site, world.proxy, wrong) as one:
        tab = one.tab(apis=[world.api])
        do(tab, "auth.logIn(given)", account(world.server))
        for _ in range(3):
            assert do(tab, "auth.fetch(given).then((answer) => answer.status)", f"{world.api}/orders") == 200
        assert one.refreshes() == 0


def test_without_web_locks_and_channels_tabs_still_agree(world: World, chromium: Browser) -> None:
    """Each tab refreshes once, however often it is asked, and the service gives all of them one successor."""
    missing = "delete Navigator.prototype.locks; delete globalThis.BroadcastChannel;"
    with person(chromium, world.site, world.proxy, missing) as one:
        tabs = [one.tab(), one.tab()]
        do(tabs[0], "auth.logIn(given)", account(world.server))
        assert do(tabs[1], "auth.start()") == "in"
        assert one.refreshes() == 1
        for tab in tabs:
            a_day_passes(tab)
        for tab in tabs:
            start(tab, "Promise.all([1, 2, 3].map(() => auth.token()))")
        assert [len(set(ended(tab))) for tab in tabs] == [1, 1]
        assert one.refreshes() in {3, 4}  # four: one had taken the other's key, and made another
        for tab in tabs:
            assert do(tab, "auth.call('GET', '/profile')")["username"]


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://auth.example"},
        {"apis": ["http://api.example"]},
        {"apis": ["https://api.example/"]},
        {"apis": ["*"]},
    ],
)
def test_wrong_addresses_are_refused(world: World, ada: Person, options: dict[str, Any]) -> None:
    """A token never travels over plain http, and an API is named by its origin."""
    tab = ada.tab()
    said = do(tab, "new module.Watchword({ url: 'https://auth.example', ...given })", options)
    assert said["kind"] == "TypeError"
