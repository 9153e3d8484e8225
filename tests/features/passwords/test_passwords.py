"""Passwords over HTTP: log in, change, and how both refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import COOKIE, PASSWORD, bearer, fields, fresh_name, refused
from tests.features.api import Api, served
from tests.tutorials.reading import claims

NEW = "another-orbit-canvas"


async def test_log_in_answers_tokens_and_user(api: Api) -> None:
    """The access token in the body, the refresh token in the cookie and nowhere else."""
    user = await api.register()
    answer = await api.post("/login", json={"username": user["username"], "password": PASSWORD})
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope", "user"}
    assert (body["token_type"], body["expires_in"], body["user"]["id"]) == ("Bearer", 900, user["id"])
    assert api.cookies[COOKIE].startswith("wwr_")
    assert api.cookies[COOKIE] not in answer.text


async def test_B1_the_token_has_the_claims_of_rfc_9068(api: Api) -> None:
    """All that are promised, and no personal data (B5)."""
    user = await api.register(email="ada@example.com")
    inside = claims(await api.log_in(user["username"]))
    assert set(inside) == {
        *("iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid", "ver", "auth_time", "amr")
    }, "and neither an empty scope nor empty roles, which validators of RFC 9068 refuse"
    assert inside["sub"] == user["id"]
    assert inside["amr"] == ["pwd"]
    assert "ada" not in str(inside)


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"password": "required"}),
        ({"password": PASSWORD}, {"username": "required"}),
        ({"username": "a", "email": "a@example.com", "password": PASSWORD}, {"email": "ambiguous"}),
        ({"username": "a", "password": PASSWORD, "remember": True}, {"remember": "unknown_field"}),
    ],
)
async def test_log_in_names_faulty_fields(api: Api, body: dict[str, str], faults: dict[str, str]) -> None:
    """422 is about the request, never about the account."""
    assert fields(await api.post("/login", json=body)) == faults


async def test_log_in_finds_by_either_name_however_written(api: Api) -> None:
    """Case and width of letters do not matter to names; to passwords they do."""
    await api.register("Ada.Lovelace", email="Ada@Example.com")
    for body in ({"username": "ADA.LOVELACE"}, {"username": "ａda.lovelace"}, {"email": "ada@EXAMPLE.com"}):
        assert (await api.post("/login", json={**body, "password": PASSWORD})).status_code == 200
    answer = await api.post("/login", json={"username": "ada.lovelace", "password": PASSWORD.upper()})
    refused(answer, 401, "invalid_credentials")


async def test_D6_a_password_typed_on_another_keyboard(api: Api) -> None:
    """Composed and decomposed letters are the same password."""
    composed, decomposed = "caf\u00e9-orbit-canvas", "cafe\u0301-orbit-canvas"
    await api.register("ada", password=composed)
    assert await api.log_in("ada", decomposed)


async def test_log_in_replaces_the_session_of_the_cookie(api: Api) -> None:
    """E-9: the browser's older session ends, and the new one has another id and another token."""
    name = (await api.register())["username"]
    first = await api.log_in(name)
    cookie = api.cookies[COOKIE]
    second = await api.log_in(name)
    assert claims(first)["sid"] != claims(second)["sid"]
    refused(await api.as_bearer("GET", "/profile", first), 401, "token_revoked")
    refused(await api.refresh_with(cookie), 401, "session_ended")
    assert (await api.as_bearer("GET", "/profile", second)).status_code == 200


async def test_a_failed_log_in_leaves_the_session_alone(api: Api) -> None:
    """Neither the cookie nor the session behind it is touched by somebody's typing error."""
    name = (await api.register())["username"]
    token = await api.log_in(name)
    answer = await api.post("/login", json={"username": name, "password": "wrong-orbit-canvas"})
    refused(answer, 401, "invalid_credentials")
    assert "set-cookie" not in answer.headers
    assert (await api.as_bearer("GET", "/profile", token)).status_code == 200
    assert (await api.post("/refresh")).status_code == 200


async def test_D9_failures_are_limited_per_address_and_account(tmp_path: Path) -> None:
    """Both names of an account share its limit; other addresses and other accounts go on; success gives back."""
    async with served(tmp_path, login_limit="3/15m") as api:
        await api.register("ada", email="ada@example.com")
        await api.register("bob")
        for _ in range(5):
            assert await api.log_in("ada")
        api.cookies.clear()  # as from a browser where ada has not logged in
        for body in ({"username": "ada"}, {"email": "ada@example.com"}, {"username": "ADA"}):
            answer = await api.post("/login", json={**body, "password": "wrong-orbit-canvas"})
            refused(answer, 401, "invalid_credentials")
        answer = await api.post("/login", json={"username": "ada", "password": PASSWORD})
        refused(answer, 429, "too_many_attempts")
        assert "set-cookie" not in answer.headers
        assert await api.log_in("bob")
        async with api.elsewhere() as other:
            assert await other.log_in("ada")
        api.clock.advance(15 * 60)
        assert await api.log_in("ada")


async def test_D9_failures_are_limited_per_address(tmp_path: Path) -> None:
    """One address trying many names; D11: a success in between does not set its count back."""
    async with served(tmp_path, login_address_limit="5/15m") as api:
        await api.register("ada")
        for number in range(5):
            if number == 3:
                assert await api.log_in("ada")
                api.cookies.clear()
            answer = await api.post("/login", json={"username": f"nobody{number}", "password": PASSWORD})
            refused(answer, 401, "invalid_credentials")
        answer = await api.post("/login", json={"username": "ada", "password": PASSWORD})
        refused(answer, 429, "too_many_attempts")
        assert answer.headers["ratelimit"].startswith('"login";r=0;t=')


async def test_D9_failures_are_limited_per_account(tmp_path: Path) -> None:
    """Many addresses trying one name."""
    async with served(tmp_path, login_account_limit="3/15m") as api:
        await api.register("ada")
        for number in range(4):
            async with api.elsewhere(f"198.51.{number}.1") as other:
                answer = await other.post("/login", json={"username": "ada", "password": "wrong-orbit-canvas"})
                assert answer.status_code == (401 if number < 3 else 429)


async def test_D12_changing_the_password(api: Api) -> None:
    """Needs the current one, ends every session, and the caller goes on with a new one."""
    name = (await api.register())["username"]
    async with api.elsewhere() as other:
        there, their_cookie = await other.log_in(name), other.cookies[COOKIE]
        token, cookie = await api.log_in(name), api.cookies[COOKIE]
        body = {"current_password": PASSWORD, "new_password": NEW}
        answer = await api.post("/profile/password", json=body, headers=bearer(token))
        assert answer.status_code == 200
        fresh, fresh_cookie = answer.json()["access_token"], api.cookies[COOKIE]
        for old in (there, token):
            refused(await api.as_bearer("GET", "/profile", old), 401, "token_revoked")
        assert (await api.as_bearer("GET", "/profile", fresh)).status_code == 200
        for old in (their_cookie, cookie):
            refused(await api.refresh_with(old), 401, "session_ended")
        assert (await api.refresh_with(fresh_cookie)).status_code == 200
        refused(await other.post("/login", json={"username": name, "password": PASSWORD}), 401, "invalid_credentials")
        assert await other.log_in(name, NEW)


UNFIT = {
    "short": "too_short",
    "password1": "too_common",
    "a1b2" * 300: "too_long",
    "ada-of-the-canvas": "contains_identifier",
}


@pytest.mark.parametrize(("new", "code"), UNFIT.items())
async def test_a_new_password_that_may_not_be_set(api: Api, new: str, code: str) -> None:
    """422 under the name of the field, and the old one still works."""
    await api.register("ada")
    token = await api.log_in("ada")
    body = {"current_password": PASSWORD, "new_password": new}
    answer = await api.as_bearer("POST", "/profile/password", token, json=body)
    assert fields(answer)["new_password"] == code
    assert (await api.as_bearer("GET", "/profile", token)).status_code == 200


async def test_a_wrong_current_password(tmp_path: Path) -> None:
    """401 that says so, under the limit of a log-in, and no session is lost: a stolen token cannot try passwords."""
    async with served(tmp_path, login_limit="2/15m", login_device_limit="2/15m") as api:
        token = await api.newcomer()
        body = {"current_password": "wrong-orbit-canvas", "new_password": NEW}
        for _ in range(2):
            answer = await api.as_bearer("POST", "/profile/password", token, json=body)
            refused(answer, 401, "invalid_credentials")
        answer = await api.as_bearer("POST", "/profile/password", token, json={**body, "current_password": PASSWORD})
        refused(answer, 429, "too_many_attempts")
        assert (await api.as_bearer("GET", "/profile", token)).status_code == 200


@pytest.mark.parametrize(("policy", "accepted"), [("default", True), ("nist", False)])
async def test_D4_the_nist_policy_asks_for_fifteen(tmp_path: Path, policy: str, accepted: bool) -> None:
    """Eight characters by default, fifteen by setting."""
    async with served(tmp_path, password_policy=policy) as api:
        answer = await api.post("/register", json={"username": "ada", "password": "plum-orbit"})
        assert (answer.status_code == 201) is accepted


async def test_D2_bcrypt_sees_72_bytes_and_no_more(tmp_path: Path) -> None:
    """With bcrypt a longer password is refused when it is set, and is not an error when it is tried."""
    async with served(tmp_path, password_hash="bcrypt") as api:
        long = "plum-orbit-canvas-" * 4
        answer = await api.post("/register", json={"username": "ada", "password": long + "x"})
        assert fields(answer) == {"password": "too_long"}
        await api.register("ada", password=long)
        assert await api.log_in("ada", long)
        refused(await api.post("/login", json={"username": "ada", "password": long + "x"}), 401, "invalid_credentials")


@pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "\u00a0{}"])
async def test_a_space_around_a_name_is_no_wrong_password(api: Api, around: str) -> None:
    """Copied with what nobody sees, a name logs in where it was registered so, and the other way round."""
    name = fresh_name()
    address = f"{name}@example.org"
    body = {"username": around.format(name), "email": around.format(address), "password": PASSWORD}
    made = (await api.post("/register", json=body)).json()
    assert (made["username"], made["email"]) == (name, address)
    for field, text in (("username", name), ("email", address)):
        for typed in (text, around.format(text)):
            assert (await api.post("/login", json={field: typed, "password": PASSWORD})).status_code == 200
            form = {"grant_type": "password", "username": typed, "password": PASSWORD}
            assert (await api.post("/token", data=form)).status_code == 200
