"""`watchword.js` in Chromium for days: a service whose clock is moved, ten tabs, answers that get lost at random."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import chromium
from tests.browser.front_end import Site, account, do, ended, person, start
from tests.reliability.proxy import Proxy, in_a_thread
from tests.reliability.service import Service

__all__ = ["chromium"]
pytestmark = pytest.mark.timeout(600)
HOUR = 3600
TABS, DAYS = 10, 12


class World(NamedTuple):
    service: Service
    proxy: Proxy
    site: Site

    def advance(self, seconds: int) -> None:
        """Let time pass for the service; the pages' clocks are moved by the tests, or not."""
        self.service.clock.advance(seconds)

    def generation(self, session: str) -> int:
        with closing(sqlite3.connect(self.service.data / "watchword.db")) as database:
            ((generation,),) = database.execute("SELECT generation FROM ww_sessions WHERE id = ?", (session,))
        return int(generation)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    site = Site(tmp_path_factory.mktemp("site"))
    service = Service(tmp_path_factory.mktemp("service"), WATCHWORD_ALLOWED_ORIGINS=site.origin)
    with in_a_thread(service.port) as proxy:
        yield World(service, proxy, site)
    site.close()
    service.stop()
    assert not service.crashes(), service.crashes()


PASS = "(seconds) => { const now = Date.now; Date.now = () => now() + 1000 * seconds; }"


def test_a_token_that_has_expired_without_the_page_noticing(world: World, chromium: Browser) -> None:
    """A page whose clocks stood still sends an expired token: refused, refreshed, and asked once more."""
    with person(chromium, world.site, world.proxy) as one:
        tab = one.tab()
        user = do(tab, "auth.logIn(given)", account(world.service))
        world.advance(HOUR)
        assert do(tab, "auth.fetch(given).then((answer) => answer.json())", f"{one.url}/profile")["id"] == user["id"]
        assert one.asked.count("GET /profile") == 2
        assert one.refreshes() == 1
        world.advance(HOUR)
        assert (
            do(tab, "auth.call('PATCH', '/profile', { username: given })", f"x{user['username']}")["id"] == user["id"]
        )
        assert one.refreshes() == 2


def test_ten_tabs_wake_up_at_once(world: World, chromium: Browser) -> None:
    """After a night: one request, and one token for all."""
    with person(chromium, world.site, world.proxy) as one:
        tabs = [one.tab() for _ in range(TABS)]
        do(tabs[0], "auth.logIn(given)", account(world.service))
        session = do(tabs[0], "auth.session.sessionId")
        for night in range(1, 4):
            world.advance(10 * HOUR)
            for tab in tabs:
                tab.evaluate(PASS, 10 * HOUR)
            for tab in tabs:
                start(tab, "auth.token()")
            assert len({ended(tab) for tab in tabs}) == 1
            assert world.generation(session) == one.refreshes() == night


def test_days_with_a_bad_network(world: World, chromium: Browser) -> None:
    """Answers get lost, hours pass before the next try, tabs come and go: the user is never logged out."""
    chance = random.Random(1)
    with person(chromium, world.site, world.proxy) as one:
        tab = one.tab(timeout=1)
        do(tab, "auth.logIn(given)", account(world.service))
        session, lost = do(tab, "auth.session.sessionId"), 0
        for _ in range(DAYS):
            hours = chance.choice((1, 9, 40))
            world.advance(hours * HOUR)
            tab.evaluate(PASS, hours * HOUR)
            world.proxy.answers.swallows = chance.random() < 0.6
            before = world.generation(session)
            said = do(tab, "auth.token()")
            if world.proxy.answers.swallows:
                assert said["kind"] == "Unavailable"
                lost += world.generation(session) > before
                if chance.random() < 0.5:
                    tab.close()
                    tab = one.tab(timeout=1)
                world.advance(HOUR)
                world.proxy.mend()
                tab.evaluate("() => dispatchEvent(new Event('online'))")
                assert do(tab, "auth.start().catch(() => auth.start())") == "in"
            assert do(tab, "auth.call('GET', '/profile')")["username"]
        assert do(tab, "auth.session.sessionId") == session
        assert lost >= 3, "no answer was lost after its commit, so nothing was tried"
