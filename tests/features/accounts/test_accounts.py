"""Accounts over HTTP: what each route answers, and each way in which it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import COOKIE, PASSWORD, bearer, fields, fresh_name, refused
from tests.features.api import Api, served
from tests.identity.scenes import operator
from watchword.identity.audit import LOCAL

USER = {
    *("id", "username", "email", "email_verified", "roles", "created_at", "updated_at", "last_login_at"),
    *("name", "public_metadata"),
}


async def test_register_answers_the_user(api: Api) -> None:
    """201 with everything there is to know, and nothing that was secret."""
    user = await api.register("ada", email="Ada@Example.com")
    assert set(user) == USER
    assert (user["username"], user["email"], user["roles"]) == ("ada", "Ada@example.com", [])
    assert user["email_verified"] is False
    assert user["last_login_at"] is None
    assert user["created_at"] == "2027-01-15T08:00:00Z"


@pytest.mark.parametrize("given", [{"username": "ada"}, {"email": "ada@example.com"}])
async def test_register_with_a_name_or_an_address(api: Api, given: dict[str, str]) -> None:
    """Either is enough to register and to log in."""
    made = await api.post("/register", json={**given, "password": PASSWORD})
    assert made.status_code == 201
    assert (await api.post("/login", json={**given, "password": PASSWORD})).status_code == 200


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"password": "required"}),
        ({"password": PASSWORD}, {"username": "required"}),
        ({"username": "ada"}, {"password": "required"}),
        ({"username": "", "password": PASSWORD}, {"username": "length"}),
        ({"username": "a" * 65, "password": PASSWORD}, {"username": "length"}),
        ({"username": "ada lovelace", "password": PASSWORD}, {"username": "characters"}),
        ({"username": "ada@home", "password": PASSWORD}, {"username": "characters"}),
        ({"username": "adа", "password": PASSWORD}, {"username": "mixed_scripts"}),
        ({"username": "me", "password": PASSWORD}, {"username": "reserved"}),
        ({"email": "ada", "password": PASSWORD}, {"email": "email"}),
        ({"email": "ada@", "password": PASSWORD}, {"email": "email"}),
        ({"email": "a@x,b@y", "password": PASSWORD}, {"email": "email"}),
        ({"email": "ada@@example.com", "password": PASSWORD}, {"email": "email"}),
        ({"email": "a" * 250 + "@example.com", "password": PASSWORD}, {"email": "email"}),
        ({"username": "ada", "password": "short"}, {"password": "too_short"}),
        ({"username": "ada", "password": "a1b2" * 300}, {"password": "too_long"}),
        ({"username": "ada", "password": "password1"}, {"password": "too_common"}),
        ({"username": "ada", "password": "the-ada-of-old"}, {"password": "contains_identifier"}),
        ({"username": "ad a", "email": "ad a", "password": "x"},
         {"username": "characters", "email": "email", "password": "too_short"}),
    ],
)  # fmt: skip
async def test_register_says_what_is_wrong(api: Api, body: dict[str, str], faults: dict[str, str]) -> None:
    """422 with one entry per field, all at once, each with a stable code."""
    answer = await api.post("/register", json=body)
    assert faults.items() <= fields(answer).items(), answer.text


async def test_register_refuses_duplicates(api: Api) -> None:
    """409 and which of the two is taken, however it is written."""
    await api.register("ada", email="ada@example.com")
    for name in ("ada", "ADA", "ａｄａ"):
        answer = await api.post("/register", json={"username": name, "password": PASSWORD})
        refused(answer, 409, "username_taken")
    for address in ("ada@example.com", "ADA@EXAMPLE.COM"):
        answer = await api.post("/register", json={"email": address, "password": PASSWORD})
        refused(answer, 409, "email_taken")


async def test_register_can_be_closed(tmp_path: Path) -> None:
    """`WATCHWORD_REGISTRATION=closed`: 403, whatever is sent."""
    async with served(tmp_path, registration="closed") as api:
        answer = await api.post("/register", json={"username": "ada", "password": PASSWORD})
        refused(answer, 403, "registration_closed")


async def test_register_is_limited_per_address(tmp_path: Path) -> None:
    """429 after so many; another address is not concerned, and after the window it goes on."""
    async with served(tmp_path, register_limit="2/1h") as api:
        for _ in range(2):
            await api.register()
        answer = await api.post("/register", json={"username": fresh_name(), "password": PASSWORD})
        refused(answer, 429, "too_many_attempts")
        assert answer.headers["retry-after"] == "3600"
        assert answer.headers["ratelimit-policy"] == '"register";q=2;w=3600'
        async with api.elsewhere() as other:
            await other.register()
        api.clock.advance(3600)
        await api.register()


async def test_profile_is_ones_own(api: Api) -> None:
    """200 with the user; 401 without a token."""
    user = await api.register()
    token = await api.log_in(user["username"])
    answer = await api.as_bearer("GET", "/profile", token)
    assert {**answer.json(), "last_login_at": None} == user
    assert answer.json()["last_login_at"] == "2027-01-15T08:00:00Z"
    refused(await api.get("/profile"), 401, "token_missing")


async def test_change_the_username(api: Api) -> None:
    """No password needed; the old name is free again, the new one logs in. The session goes on."""
    user = await api.register()
    token = await api.log_in(user["username"])
    renamed = fresh_name()
    answer = await api.as_bearer("PATCH", "/profile", token, json={"username": renamed})
    assert answer.json()["username"] == renamed
    assert await api.log_in(renamed)
    await api.register(user["username"])


async def test_change_the_address(api: Api) -> None:
    """The address is a way back into the account: it needs the password, and the old token is refused afterwards."""
    token = await api.newcomer()
    change = {"email": "new@example.com"}
    assert fields(await api.as_bearer("PATCH", "/profile", token, json=change)) == {"password": "required"}
    wrong = await api.as_bearer("PATCH", "/profile", token, json={**change, "password": "wrong-orbit-canvas"})
    refused(wrong, 401, "invalid_credentials")
    answer = await api.as_bearer("PATCH", "/profile", token, json={**change, "password": PASSWORD})
    assert answer.json()["email"] == "new@example.com"
    refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")
    fresh = (await api.post("/refresh")).json()["access_token"]
    assert (await api.as_bearer("GET", "/profile", fresh)).json()["email"] == "new@example.com"


@pytest.mark.parametrize("more", [{}, {"username": "somebody-new"}])
async def test_change_does_not_seem_to_set_a_password(api: Api, more: dict[str, str]) -> None:
    """A password beside no new address would be ignored, and 200 would say otherwise: 422 names the right route."""
    token = await api.newcomer()
    answer = await api.as_bearer("PATCH", "/profile", token, json={**more, "password": "another-orbit-canvas"})
    assert fields(answer) == {"password": "not_used"}
    assert "/profile/password" in answer.text


async def test_change_refuses_what_is_taken_or_wrong(api: Api) -> None:
    """409 and 422 as at registration, and nothing is changed."""
    await api.register("ada", email="ada@example.com")
    token = await api.newcomer()
    refused(await api.as_bearer("PATCH", "/profile", token, json={"username": "ADA"}), 409, "username_taken")
    taken = {"email": "ada@example.com", "password": PASSWORD}
    refused(await api.as_bearer("PATCH", "/profile", token, json=taken), 409, "email_taken")
    assert fields(await api.as_bearer("PATCH", "/profile", token, json={"username": "a b"})) == {
        "username": "characters"
    }


async def test_H12_change_knows_no_other_field(api: Api) -> None:
    """Roles and the like are no field of one's own account."""
    token = await api.newcomer()
    for name in ("roles", "is_admin", "id", "email_verified", "disabled_at"):
        answer = await api.as_bearer("PATCH", "/profile", token, json={name: True})
        assert fields(answer) == {name: "unknown_field"}


async def test_close_the_account(api: Api) -> None:
    """Needs the password; then nothing of it answers any more, and the cookie is cleared."""
    user = await api.register()
    token = await api.log_in(user["username"])
    assert fields(await api.as_bearer("DELETE", "/profile", token, json={})) == {"password": "required"}
    wrong = await api.as_bearer("DELETE", "/profile", token, json={"password": "wrong-orbit-canvas"})
    refused(wrong, 401, "invalid_credentials")
    cookie = api.cookies[COOKIE]
    answer = await api.as_bearer("DELETE", "/profile", token, json={"password": PASSWORD})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["set-cookie"].startswith(f"{COOKIE}=; Max-Age=0")
    refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")
    refused(await api.refresh_with(cookie), 401, "session_ended")
    login = await api.post("/login", json={"username": user["username"], "password": PASSWORD})
    refused(login, 401, "invalid_credentials")


async def test_B4_a_name_that_comes_back_is_somebody_else(api: Api) -> None:
    """The id of a closed account is never given again, and its tokens do not open the new one."""
    user = await api.register()
    token = await api.log_in(user["username"])
    await api.as_bearer("DELETE", "/profile", token, json={"password": PASSWORD})
    again = await api.register(user["username"])
    assert again["id"] != user["id"]
    refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")


async def test_a_disabled_account(api: Api) -> None:
    """Its tokens are refused, its sessions ended; enabled again, it logs in anew."""
    user = await api.register()
    token = await api.log_in(user["username"])
    await operator(api.kernel, client=LOCAL).disable(user["id"])
    for method, body in (("GET", None), ("PATCH", {"username": "other"}), ("DELETE", {"password": PASSWORD})):
        answer = await api.request(method, "/profile", json=body, headers=bearer(token))
        refused(answer, 401, "token_revoked")
    refused(await api.post("/refresh"), 401, "session_ended")
    await operator(api.kernel, client=LOCAL).enable(user["id"])
    refused(await api.post("/refresh"), 401, "session_ended")
    assert await api.log_in(user["username"])
