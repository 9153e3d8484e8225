"""The access token as a cookie: set wherever the refresh token is, cleared with it, and by choice only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.client import PASSWORD, fresh_name
from tests.features.api import Api, served
from watchword.identity.sessions.sessions import Tokens
from watchword.web import cookies
from watchword.web.cookies import SessionCookies

NAME = "watchword_access"
OWN = {"Origin": "http://127.0.0.1:4000", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with served(tmp_path, access_cookie="on") as one:
        yield one


def line(answer: httpx2.Response, name: str = NAME) -> str:
    """The answer's only `Set-Cookie` of that name; nothing without one."""
    lines = [each for each in answer.headers.get_list("set-cookie") if each.startswith(f"{name}=")]
    assert len(lines) < 2
    return lines[0] if lines else ""


def value(answer: httpx2.Response) -> str:
    return line(answer).partition("=")[2].partition(";")[0]


def is_cleared(answer: httpx2.Response) -> bool:
    return line(answer).startswith(f"{NAME}=; Max-Age=0;")


async def test_each_way_in_sets_it_and_each_way_out_clears_it(api: Api) -> None:
    name = fresh_name()
    await api.register(name, email=f"{name}@example.com")
    logged_in = await api.post("/login", json={"username": name, "password": PASSWORD})
    assert line(logged_in) == (
        f"{NAME}={logged_in.json()['access_token']}; Max-Age=900; Path=/; HttpOnly; SameSite=Lax"
    )
    refreshed = await api.post("/refresh")
    assert value(refreshed) == refreshed.json()["access_token"]
    changed = await api.post(
        "/profile/password",
        json={"current_password": PASSWORD, "new_password": "quiet-harbor-lantern"},
        headers={"Authorization": f"Bearer {value(refreshed)}"},
    )
    assert value(changed) == changed.json()["access_token"]
    assert is_cleared(await api.post("/logout"))


async def test_the_forms_do_as_the_routes_do(api: Api) -> None:
    name = fresh_name()
    await api.register(name)
    form = {"username": name, "password": PASSWORD, "next": "/orders"}
    answer = await api.post("/account/login", data=form, headers=OWN)
    assert answer.headers["location"] == "/orders"
    opened = await api.get("/verify?from=cookie", headers={"X-Forwarded-Method": "GET"})
    assert opened.status_code == 200
    token = (await api.get("/account")).text.partition('name="token" value="')[2].partition('"')[0]
    assert is_cleared(await api.post("/account/logout", data={"token": token}, headers=OWN))


async def test_the_default_sets_none(tmp_path: Path) -> None:
    async with served(tmp_path / "default") as api:
        name = fresh_name()
        await api.register(name)
        logged_in = await api.post("/login", json={"username": name, "password": PASSWORD})
        refreshed = await api.post("/refresh")
        assert [line(each) for each in (logged_in, refreshed, await api.post("/logout"))] == ["", "", ""]


async def test_the_door_for_programs_sets_no_cookie(api: Api) -> None:
    name = fresh_name()
    await api.register(name)
    answer = await api.post("/token", data={"grant_type": "password", "username": name, "password": PASSWORD})
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers


# The log-in page renews it --------------------------------------------------------------------------------------------


async def test_a_session_gets_a_new_cookie_and_is_led_back(api: Api) -> None:
    """As when a page's guard has sent its visitor here, whose token is over."""
    await api.newcomer()
    del api.cookies[NAME]
    answer = await api.get("/account/login?next=/orders%3Fa%3D1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/orders?a=1")
    assert value(answer)
    assert line(answer, "watchword_refresh")
    assert (await api.post("/refresh")).status_code == 200, "the refresh token goes on"


async def test_without_a_session_there_is_the_form_and_an_old_cookie_goes(api: Api) -> None:
    """One that outlived its session elsewhere would keep its browser from public pages until it is over."""
    token = await api.newcomer()
    await api.elsewhere().post("/logout", headers={"Authorization": f"Bearer {token}"})
    answer = await api.get("/account/login?next=/orders")
    assert answer.status_code == 200
    assert 'name="password"' in answer.text
    assert is_cleared(answer)
    api.cookies.clear()
    assert "set-cookie" not in (await api.get("/account/login?next=/orders")).headers


async def test_a_link_from_another_site_asks_once_more(api: Api) -> None:
    """Browsers leave the refresh cookie out then; nothing is cleared meanwhile."""
    await api.newcomer()
    sent = {"Cookie": f"{NAME}={api.cookies[NAME]}", "Sec-Fetch-Site": "cross-site"}
    api.cookies.clear()
    answer = await api.get("/account/login?next=/orders", headers=sent)
    assert 'http-equiv="refresh"' in answer.text
    assert "set-cookie" not in answer.headers


async def test_nothing_is_renewed_without_a_destination_of_ours(api: Api) -> None:
    await api.newcomer()
    for address in ("/account/login", "/account/login?next=//evil.test", "/account/login?next=https://evil.test"):
        answer = await api.get(address)
        assert answer.headers["location"] == "../account"
        assert "set-cookie" not in answer.headers


async def test_two_tabs_that_come_at_once_both_go_on(api: Api) -> None:
    await api.newcomer()
    cookie = api.cookies["watchword_refresh"]
    for _ in range(2):
        api.cookies.clear()
        headers = {"Cookie": f"watchword_refresh={cookie}"}
        assert (await api.get("/account/login?next=/orders", headers=headers)).status_code == 303


async def test_with_the_default_the_page_changes_nothing(tmp_path: Path) -> None:
    async with served(tmp_path / "default") as api:
        await api.newcomer()
        answer = await api.get("/account/login?next=/orders")
        assert answer.headers["location"] == "/orders"
        assert "set-cookie" not in answer.headers


# A token that is too large --------------------------------------------------------------------------------------------


async def test_a_token_that_no_cookie_holds_ends_in_no_loop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log-in goes on without it, and the log-in page leads to the account instead of back."""
    monkeypatch.setattr(cookies, "_MAX_COOKIE", 500)  # as if the token had four thousand letters
    name = fresh_name()
    await api.register(name)
    logged_in = await api.post("/login", json={"username": name, "password": PASSWORD})
    assert logged_in.status_code == 200
    assert is_cleared(logged_in)
    answer = await api.get("/account/login?next=/orders")
    assert (answer.status_code, answer.headers["location"]) == (303, "../account")
    assert line(answer, "watchword_refresh"), "what was rotated is kept"


def test_under_https_it_belongs_to_the_host() -> None:
    made = SessionCookies("https://auth.example", access=True)
    refresh, access = made.write(Tokens("a.b.c", 900, "wwr_x", 3600, ""))
    assert access == (
        b"set-cookie",
        b"__Host-watchword_access=a.b.c; Max-Age=900; Path=/; HttpOnly; SameSite=Lax; Secure",
    )
    assert b"SameSite=Strict" in refresh[1]
    assert [each[1].partition(b"=")[0] for each in made.clear()] == [
        b"__Host-watchword_refresh",
        b"__Host-watchword_access",
    ]
