"""Sessions over HTTP: refresh, log out, list, end."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from tests.e2e.client import COOKIE, PASSWORD, bearer, refused
from tests.features.api import Api, served
from tests.tutorials.reading import claims

DAY = 86_400
KEY, OTHER_KEY = "bm90IHNvIHJhbmRvbSBrZQ", "YW5vdGhlciByZXRyeSBrZQ"


async def test_refresh_rotates(api: Api) -> None:
    """The next access token in the body, the next refresh token in the cookie, the same session."""
    token = await api.newcomer()
    cookie = api.cookies[COOKIE]
    answer = await api.post("/refresh")
    assert set(answer.json()) == {"access_token", "token_type", "expires_in", "scope"}
    assert api.cookies[COOKIE] != cookie
    assert claims(answer.json()["access_token"])["sid"] == claims(token)["sid"]
    # The previous access token lives out its own time.
    assert (await api.as_bearer("GET", "/profile", token)).status_code == 200


async def test_refresh_without_and_with_garbage(api: Api) -> None:
    """401 with a code of its own each; neither clears a cookie."""
    refused(await api.post("/refresh"), 401, "refresh_token_missing")
    for garbage in ("x", "wwr_AAAA", "wwr_" + "A" * 50, "eyJhbGciOiJub25lIn0.e30."):
        answer = await api.refresh_with(garbage)
        refused(answer, 401, "refresh_token_invalid")
        assert "set-cookie" not in answer.headers


async def test_E4_within_the_grace_the_parent_gets_the_same_successor(api: Api) -> None:
    """A lost answer, a second tab: the same token again, with the times of the one rotation."""
    await api.newcomer()
    parent = api.cookies[COOKIE]
    first = await api.post("/refresh")
    successor = api.cookies[COOKIE]
    api.clock.advance(30)
    again = await api.refresh_with(parent)
    assert again.status_code == 200
    assert f"{COOKIE}={successor};" in again.headers["set-cookie"]
    one, other = claims(first.json()["access_token"]), claims(again.json()["access_token"])
    assert (one["iat"], one["exp"]) == (other["iat"], other["exp"])
    assert again.json()["expires_in"] == 870


async def test_E3_after_the_grace_it_is_reuse_and_ends_the_session(api: Api) -> None:
    """The copy, the honest holder and the access token: all are refused from then on."""
    await api.newcomer()
    parent = api.cookies[COOKIE]
    token = (await api.post("/refresh")).json()["access_token"]
    successor = api.cookies[COOKIE]
    api.clock.advance(31)
    answer = await api.refresh_with(parent)
    refused(answer, 401, "refresh_token_reused")
    refused(await api.refresh_with(successor), 401, "session_ended")
    refused(await api.refresh_with(parent), 401, "session_ended")
    refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")


async def test_a_lost_answer_is_given_again_for_its_retry_key(api: Api) -> None:
    """Hours later: the same cookie. Without the key the same token is a copy, and ends the session."""
    await api.newcomer()
    parent = api.cookies[COOKIE]
    sent = {"headers": {"Cookie": f"{COOKIE}={parent}"}, "json": {"retry_key": KEY}}
    api.cookies.clear()
    successor = _cookie(await api.post("/refresh", **sent))
    api.clock.advance(DAY)
    api.cookies.clear()
    again = await api.post("/refresh", **sent)
    assert _cookie(again) == successor
    assert again.json()["expires_in"] == 0
    refused(await api.refresh_with(parent), 401, "refresh_token_reused")


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"retry_key": "short"}, "retry_key", "malformed"),
        ({"retry_key": 7}, "retry_key", "wrong_type"),
        ({"retry_key": None}, "retry_key", "null"),
        ({"refresh_token": "wwr_x"}, "refresh_token", "unknown_field"),
        ([], "body", "wrong_type"),
    ],
)
async def test_what_comes_with_a_refresh_is_a_retry_key_or_nothing(
    api: Api, body: object, field: str, code: str
) -> None:
    """A body that means something else is refused before the token is used."""
    await api.newcomer()
    cookie = api.cookies[COOKIE]
    answer = await api.post("/refresh", json=body)
    refused(answer, 422, "invalid_input")
    assert [(one["field"], one["code"]) for one in answer.json()["errors"]] == [(field, code)]
    assert api.cookies[COOKIE] == cookie
    refused(
        await api.post("/refresh", content=b"{", headers={"Content-Type": "application/json"}), 400, "malformed_json"
    )
    for empty in ({"json": {}}, {"headers": {"Content-Type": "application/json"}}, {}):
        assert (await api.post("/refresh", **empty)).status_code == 200  # type: ignore[arg-type]


async def test_a_retry_key_is_good_for_one_refresh(api: Api) -> None:
    """Who keeps one for ever is told at the second refresh, and stays logged in."""
    await api.newcomer()
    assert (await api.post("/refresh", json={"retry_key": KEY})).status_code == 200
    answer = await api.post("/refresh", json={"retry_key": KEY})
    refused(answer, 422, "invalid_input")
    assert answer.json()["errors"][0]["code"] == "repeated"
    assert (await api.post("/refresh", json={"retry_key": OTHER_KEY})).status_code == 200


async def test_a_slow_tab_is_superseded_and_the_session_lives(api: Api) -> None:
    """Two behind within the grace: refused, and nothing is ended."""
    await api.newcomer()
    grandparent = api.cookies[COOKIE]
    await api.post("/refresh")
    await api.post("/refresh")
    newest = api.cookies[COOKIE]
    refused(await api.refresh_with(grandparent), 401, "refresh_superseded")
    assert (await api.refresh_with(newest)).status_code == 200


async def test_a_limit_of_the_rule_a_thief_in_a_hurry(api: Api) -> None:
    """Who refreshes a copy every 14 s keeps the victim superseded for a while, as `docs/security/refresh.md` says; the
    victim's next log-in, which shows the old cookie, ends it."""
    name = (await api.register())["username"]
    await api.log_in(name)
    victims = api.cookies[COOKIE]
    async with api.elsewhere() as thief:
        stolen = _cookie(await thief.refresh_with(victims))
        for _ in range(10):
            api.clock.advance(14)
            stolen = _cookie(await thief.refresh_with(stolen))
            refused(await api.refresh_with(victims), 401, "refresh_superseded")
        api.cookies.clear()
        body = {"username": name, "password": PASSWORD}
        await api.post("/login", json=body, headers={"Cookie": f"{COOKIE}={victims}"})
        refused(await thief.refresh_with(stolen), 401, "session_ended")


async def test_a_thief_in_a_hurry_is_given_away_by_the_distance(api: Api) -> None:
    """Seventeen generations behind is no slow tab, however young the row: the victim's return ends the session."""
    await api.newcomer()
    victims = api.cookies[COOKIE]
    async with api.elsewhere() as thief:
        stolen = _cookie(await thief.refresh_with(victims))
        for _ in range(16):
            api.clock.advance(14)
            stolen = _cookie(await thief.refresh_with(stolen))
        refused(await api.refresh_with(victims), 401, "refresh_token_reused")
        refused(await thief.refresh_with(stolen), 401, "session_ended")


def _cookie(answer: httpx2.Response) -> str:
    """The refresh token that an answer sets."""
    assert answer.status_code == 200, answer.text
    return str(answer.headers["set-cookie"]).partition(";")[0].partition("=")[2]


async def test_grace_from_elsewhere_three_times_is_reuse(api: Api) -> None:
    """Another network and another agent, three times without an ordinary rotation between them: a copy is in use."""
    await api.newcomer()
    parent = api.cookies[COOKIE]
    await api.post("/refresh")
    async with api.elsewhere() as thief:
        for _ in range(2):
            assert (await thief.refresh_with(parent)).status_code == 200
        refused(await thief.refresh_with(parent), 401, "refresh_token_reused")
    refused(await api.post("/refresh"), 401, "session_ended")


async def test_E5_idle_and_absolute_life(api: Api) -> None:
    """Seven days unused, thirty days in all, exact to the second (J15); rotation moves only the first."""
    await api.newcomer()
    api.clock.advance(7 * DAY - 1)
    assert (await api.post("/refresh")).status_code == 200
    api.clock.advance(7 * DAY)
    cookie = api.cookies[COOKIE]
    refused(await api.refresh_with(cookie), 401, "session_ended")
    await api.newcomer()
    for _ in range(5):
        api.clock.advance(5 * DAY)
        assert (await api.post("/refresh")).status_code == 200
    api.clock.advance(5 * DAY - 1)
    answer = await api.post("/refresh")
    assert "Max-Age=1;" in answer.headers["set-cookie"]
    cookie = api.cookies[COOKIE]
    api.clock.advance(1)
    refused(await api.refresh_with(cookie), 401, "session_ended")


async def test_a_changed_lifetime_is_kept(tmp_path: Path) -> None:
    """The lives are settings, and the cookie says what the session has left."""
    async with served(tmp_path, access_lifetime="5m", refresh_idle="1h", session_lifetime="2h") as api:
        name = (await api.register())["username"]
        answer = await api.post("/login", json={"username": name, "password": PASSWORD})
        assert answer.json()["expires_in"] == 300
        assert "Max-Age=3600;" in answer.headers["set-cookie"]
        api.clock.advance(300)
        refused(await api.as_bearer("GET", "/profile", answer.json()["access_token"]), 401, "token_expired")


@pytest.mark.parametrize("shown", ["cookie", "token", "both"])
async def test_log_out_by_cookie_or_token(api: Api, shown: str) -> None:
    """Either names the session; it ends, and the cookie is cleared."""
    token = await api.newcomer()
    cookie = api.cookies[COOKIE]
    if shown == "token":
        api.cookies.clear()
    answer = await api.post("/logout", headers={} if shown == "cookie" else bearer(token))
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["set-cookie"].startswith(f"{COOKIE}=; Max-Age=0")
    refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")
    refused(await api.refresh_with(cookie), 401, "session_ended")


async def test_log_out_is_idempotent(api: Api) -> None:
    """With nothing to end it is still done: no cookie, an ended one, garbage, an expired or ended access token."""
    token = await api.newcomer()
    cookie = api.cookies[COOKIE]
    api.clock.advance(901)
    for headers in ({}, bearer(token), bearer(token), {"Cookie": f"{COOKIE}={cookie}"}, {"Cookie": f"{COOKIE}=x"}):
        api.cookies.clear()
        assert (await api.post("/logout", headers=headers)).status_code == 204
    refused(await api.refresh_with(cookie), 401, "session_ended")


async def test_log_out_with_a_forged_token(api: Api) -> None:
    """Nobody is logged out by a token that we did not sign; a cookie beside it still counts."""
    token = await api.newcomer()
    forged = token[:-8] + "AAAAAAAA"
    cookie = api.cookies[COOKIE]
    api.cookies.clear()
    refused(await api.post("/logout", headers=bearer(forged)), 401, "token_invalid")
    assert (await api.as_bearer("GET", "/profile", token)).status_code == 200
    answer = await api.post("/logout", headers={**bearer(forged), "Cookie": f"{COOKIE}={cookie}"})
    assert answer.status_code == 204
    refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")


async def test_log_out_of_two_sessions_at_once(api: Api) -> None:
    """A token of one session and the cookie of another: both were meant."""
    first = await api.newcomer()
    api.cookies.clear()
    second = await api.newcomer()
    await api.post("/logout", headers=bearer(first))
    for token in (first, second):
        refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")


async def test_E10_the_list_shows_devices_and_no_credential(api: Api) -> None:
    """Where, when, with what; which one is asking; ids that are names and nothing more."""
    name = (await api.register())["username"]
    token = await api.log_in(name)
    async with api.elsewhere() as phone:
        await phone.log_in(name)
        listed = (await api.as_bearer("GET", "/sessions", token)).json()
        assert listed["next_cursor"] is None
        mine, theirs = listed["items"]
        assert (mine["current"], theirs["current"]) == (True, False)
        assert (theirs["address"], theirs["agent"]) == ("203.0.113.9", "phone")
        assert mine["id"] == claims(token)["sid"]
        assert phone.cookies[COOKIE] not in str(listed)
        refused(await phone.refresh_with(theirs["id"]), 401, "refresh_token_invalid")


async def test_E10_end_one_session(api: Api) -> None:
    """204, and its token is refused at once; a second time there is no such session."""
    name = (await api.register())["username"]
    token = await api.log_in(name)
    async with api.elsewhere() as phone:
        there = await phone.log_in(name)
        path = f"/sessions/{claims(there)['sid']}"
        assert (await api.as_bearer("DELETE", path, token)).status_code == 204
        refused(await phone.as_bearer("GET", "/profile", there), 401, "token_revoked")
        refused(await phone.post("/refresh"), 401, "session_ended")
        refused(await api.as_bearer("DELETE", path, token), 404, "not_found")
    assert (await api.as_bearer("GET", "/profile", token)).status_code == 200


async def test_J13_nobody_ends_a_strangers_session(api: Api) -> None:
    """Somebody else's session is not found, as one that does not exist; and stays."""
    token = await api.newcomer()
    async with api.elsewhere() as stranger:
        theirs = await stranger.newcomer()
        refused(await api.as_bearer("DELETE", f"/sessions/{claims(theirs)['sid']}", token), 404, "not_found")
        assert (await stranger.as_bearer("GET", "/profile", theirs)).status_code == 200
        assert len((await api.as_bearer("GET", "/sessions", token)).json()["items"]) == 1


async def test_E10_end_all_others(api: Api) -> None:
    """The one that asks goes on, every other is ended; with none left it is still done."""
    name = (await api.register())["username"]
    token = await api.log_in(name)
    others = []
    for number in range(3):
        async with api.elsewhere(f"198.51.{number}.1") as device:
            others.append(await device.log_in(name))
    for _ in range(2):
        assert (await api.as_bearer("DELETE", "/sessions", token)).status_code == 204
    for other in others:
        refused(await api.as_bearer("GET", "/profile", other), 401, "token_revoked")
    assert (await api.as_bearer("GET", "/profile", token)).status_code == 200


async def test_the_list_is_paged(api: Api) -> None:
    """A cursor is the id after which to go on; what is none is refused."""
    name = (await api.register())["username"]
    token = await api.log_in(name)
    async with api.elsewhere() as phone:
        await phone.log_in(name)
    everything = (await api.as_bearer("GET", "/sessions", token)).json()["items"]
    rest = (await api.as_bearer("GET", f"/sessions?cursor={everything[0]['id']}", token)).json()["items"]
    assert rest == everything[1:]
    refused(await api.as_bearer("GET", "/sessions?cursor=nonsense", token), 422, "invalid_input")


@pytest.mark.parametrize(
    "name", ["%00", "x", "0197f1a2-5b6c-7d8e-9f00-11223344556", "0197F1A2-5b6c-7d8e-9f00-112233445566"]
)
async def test_j6_what_is_no_id_never_reaches_the_database(api: Api, name: str) -> None:
    """404 as for any session that is not there."""
    token = await api.newcomer()
    refused(await api.as_bearer("DELETE", f"/sessions/{name}", token), 404, "not_found")


async def test_j15_an_access_token_does_not_outlive_its_session(tmp_path: Path) -> None:
    """A day's access life in a session of a minute: the token ends with the session."""
    async with served(tmp_path, session_lifetime="60s", refresh_idle="60s", access_lifetime="1d") as api:
        token = await api.newcomer()
        refreshed = await api.post("/refresh")
        assert refreshed.json()["expires_in"] == 60
        api.clock.advance(59)
        assert (await api.as_bearer("GET", "/profile", token)).status_code == 200
        api.clock.advance(1)
        refused(await api.as_bearer("GET", "/profile", token), 401, "token_expired")


async def test_F8_a_bearer_token_from_elsewhere_is_taken_without_the_cookie(api: Api) -> None:
    """Whatever stands in the Authorization header, a foreign page gets nothing out of the browser's cookie."""
    await api.newcomer()
    cookie = api.cookies[COOKIE]
    foreign = {"Origin": "https://evil.example", "Authorization": "Bearer junk"}
    refused(await api.post("/refresh", headers=foreign), 401, "refresh_token_missing")
    refused(await api.post("/logout", headers=foreign), 401, "token_malformed")
    own = {"Origin": "http://127.0.0.1:4000", "Authorization": "Bearer junk"}
    assert (await api.post("/refresh", headers=own)).status_code == 200
    assert api.cookies[COOKIE] != cookie
