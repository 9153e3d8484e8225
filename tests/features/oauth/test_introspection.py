"""RFC 7662: what a token is worth now, for who holds a guard key; of a token that is worth nothing, nothing else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.client import COOKIE, PASSWORD, bearer
from tests.features.api import URL, Api, served
from tests.identity.scenes import HOME, give_roles, operator
from tests.tutorials.reading import claims
from watchword.testing import Issuer

INACTIVE = b'{"active":false}'


async def guard_key(api: Api) -> str:
    return (await api.kernel.guard_keys.create("orders", client=HOME))[1]


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{name}:{secret}'.encode()).decode()}"}


async def introspect(api: Api, token: str, key: str, **more: str) -> httpx2.Response:
    answer = await api.elsewhere().post("/introspect", data={"token": token, **more}, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer


class Person:
    """Somebody logged in by the OAuth door."""

    def __init__(self, user: dict[str, Any], tokens: dict[str, Any]) -> None:
        self.id, self.name = user["id"], user["username"]
        self.access, self.refresh = tokens["access_token"], tokens["refresh_token"]


async def person(api: Api) -> Person:
    user = await api.register()
    form = {"grant_type": "password", "username": user["username"], "password": PASSWORD}
    return Person(user, (await api.post("/token", data=form)).json())


async def test_an_access_token(api: Api) -> None:
    """Everything that section 2.2 names and that is in the token, and the name of its user."""
    key, somebody = await guard_key(api), await person(api)
    said = (await introspect(api, somebody.access, key)).json()
    held = claims(somebody.access)
    assert said["active"] is True
    assert {name: said[name] for name in ("sub", "exp", "iat", "jti", "iss", "client_id", "sid")} == {
        name: held[name] for name in ("sub", "exp", "iat", "jti", "iss", "client_id", "sid")
    }
    assert (said["aud"], said["scope"], said["token_type"], said["roles"]) == ([URL], "", "Bearer", [])
    assert (said["sub"], said["username"], said["iss"]) == (somebody.id, somebody.name, URL)


async def test_a_refresh_token(api: Api) -> None:
    """The newest of a live session; said in whose name and until when."""
    key, somebody = await guard_key(api), await person(api)
    for hint in (
        {},
        {"token_type_hint": "refresh_token"},
        {"token_type_hint": "access_token"},
        {"token_type_hint": "x"},
    ):
        said = (await introspect(api, somebody.refresh, key, **hint)).json()
        assert (said["active"], said["sub"], said["token_type"]) == (True, somebody.id, "refresh_token")
        assert said["exp"] == api.clock.now() + 7 * 86_400
        assert "aud" not in said


@pytest.mark.parametrize("way", ["bearer", "basic", "form"])
async def test_the_key_may_be_shown_in_three_ways(api: Api, way: str) -> None:
    """RFC 7662 section 2.1 and RFC 6749 section 2.3.1."""
    key, somebody = await guard_key(api), await person(api)
    form, headers = {"token": somebody.access}, {}
    if way == "form":
        form |= {"client_id": "orders", "client_secret": key}
    else:
        headers = bearer(key) if way == "bearer" else basic("orders", key)
    answer = await api.elsewhere().post("/introspect", data=form, headers=headers)
    assert (answer.status_code, answer.json()["active"]) == (200, True)


# C9: every negative, and nothing but `{"active":false}` ---------------------------------------------

End = Callable[[Api, Person], Awaitable[object]]


async def _log_out(api: Api, somebody: Person) -> object:
    return await api.as_bearer("POST", "/logout", somebody.access)


async def _revoke(api: Api, somebody: Person) -> object:
    return await api.post("/revoke", data={"token": somebody.refresh, "client_id": "watchword"})


async def _disable(api: Api, somebody: Person) -> object:
    return await operator(api.kernel).disable(somebody.id)


async def _close(api: Api, somebody: Person) -> object:
    return await api.as_bearer("DELETE", "/profile", somebody.access, json={"password": PASSWORD})


async def _new_password(api: Api, somebody: Person) -> object:
    body = {"current_password": PASSWORD, "new_password": "velvet-anchor-ripple"}
    return await api.as_bearer("POST", "/profile/password", somebody.access, json=body)


async def _reuse(api: Api, somebody: Person) -> object:
    form = {"grant_type": "refresh_token", "refresh_token": somebody.refresh}
    await api.post("/token", data=form)
    api.clock.advance(31)
    assert (await api.post("/token", data=form)).status_code == 400
    return None


async def _idle(api: Api, somebody: Person) -> object:
    api.clock.advance(7 * 86_400)
    return None


@pytest.mark.parametrize("end", [_log_out, _revoke, _disable, _close, _new_password, _reuse, _idle])
async def test_C9_whatever_ended_it_both_tokens_are_inactive(api: Api, end: End) -> None:
    """At once, whatever was known of them a moment ago: nothing is cached."""
    key, somebody = await guard_key(api), await person(api)
    for token in (somebody.access, somebody.refresh):
        assert (await introspect(api, token, key)).json()["active"]
    await end(api, somebody)
    for token in (somebody.access, somebody.refresh):
        assert (await introspect(api, token, key)).content == INACTIVE


async def test_C9_another_process_ended_it(api: Api, tmp_path: Path) -> None:
    """This one's list of revocations has not heard yet; the database has."""
    key, somebody = await guard_key(api), await person(api)
    async with served(tmp_path) as other:
        await _log_out(other, somebody)
        claims_here = api.kernel.verifier.verify(somebody.access)
        assert claims_here.sub == somebody.id, "not heard of here"
        assert (await introspect(api, somebody.access, key)).content == INACTIVE
        another = await person(api)
        await operator(other.kernel).disable(another.id)
        assert (await introspect(api, another.access, key)).content == INACTIVE
        assert (await introspect(api, another.refresh, key)).content == INACTIVE


async def test_C9_a_changed_role_ends_the_access_token_only(api: Api) -> None:
    """The session goes on, and its next access token carries the role."""
    key, somebody = await guard_key(api), await person(api)
    await give_roles(api.kernel, somebody.id, ("admin",))
    assert (await introspect(api, somebody.access, key)).content == INACTIVE
    assert (await introspect(api, somebody.refresh, key)).json()["active"]
    form = {"grant_type": "refresh_token", "refresh_token": somebody.refresh}
    renewed = (await api.post("/token", data=form)).json()
    assert (await introspect(api, renewed["access_token"], key)).json()["roles"] == ["admin"]


async def test_C9_J15_an_expired_access_token_on_the_very_second(api: Api) -> None:
    key, somebody = await guard_key(api), await person(api)
    api.clock.advance(899)
    assert (await introspect(api, somebody.access, key)).json()["active"]
    api.clock.advance(1)
    assert (await introspect(api, somebody.access, key)).content == INACTIVE
    assert (await introspect(api, somebody.refresh, key)).json()["active"]


async def test_C9_only_the_newest_refresh_token_is_active(api: Api) -> None:
    """The one before it would still be answered for thirty seconds, but is worth nothing to who holds it."""
    key, somebody = await guard_key(api), await person(api)
    form = {"grant_type": "refresh_token", "refresh_token": somebody.refresh}
    newest = (await api.post("/token", data=form)).json()["refresh_token"]
    assert (await introspect(api, somebody.refresh, key)).content == INACTIVE
    assert (await introspect(api, newest, key)).json()["active"]


async def test_C9_mutilated_and_foreign_tokens(api: Api, tmp_path: Path) -> None:
    """Truncated and extended ones (Zitadel CVE-2026-27840), of another issuer, another service, another kind."""
    key, somebody = await guard_key(api), await person(api)
    wrong = ["nonsense", "wwr_", "wwg_", key, "a.b.c", "eyJ", ".", "..", "' OR 1=1 --", "é", "wwr_" + "A" * 50]
    for token in (somebody.access, somebody.refresh):
        wrong += [token[:-1], token[:-2], token[1:], token + "A", token + "=", token + ".", " " + token, token + "\n"]
        wrong += [token[: len(token) // 2], token + token, token.swapcase(), token + "A" * 4_000]
    wrong += [Issuer(URL, audience=URL).token()]
    async with served(tmp_path / "other") as other:
        stranger = await person(other)
        wrong += [stranger.access, stranger.refresh]
    for token in wrong:
        assert (await introspect(api, token, key)).content == INACTIVE, token
    assert (await introspect(api, somebody.access, key)).json()["active"]


async def test_a_token_that_no_field_can_hold(api: Api) -> None:
    """Empty, missing, repeated, longer than any token: a request that is at fault."""
    headers = {**bearer(await guard_key(api)), "Content-Type": "application/x-www-form-urlencoded"}
    for body in ("", "token=", "token=a&token=b", "token=" + "a" * 9_000, "token=%00"):
        answer = await api.post("/introspect", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), body[:20]


# Who may ask ----------------------------------------------------------------------------------------


async def test_C9_the_caller_has_to_be_a_guard(api: Api) -> None:
    """401 invalid_client with a challenge, on loopback too: no credentials, a user's tokens, the public client."""
    key, somebody = await guard_key(api), await person(api)
    shown: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({}, {"client_id": "watchword"}),
        ({}, {"client_id": "orders"}),
        ({}, {"client_id": "orders", "client_secret": "wrong"}),
        (bearer(somebody.access), {}),
        (bearer(somebody.refresh), {}),
        (bearer(key[:-1]), {}),
        (basic("", ""), {}),
        (basic("watchword", ""), {}),
        (basic("orders", "wrong"), {}),
        ({"Authorization": "Basic !"}, {}),
        ({"Authorization": "Digest x"}, {}),
        ({"Authorization": ""}, {}),
    ]
    for headers, form in shown:
        answer = await api.post("/introspect", data={"token": somebody.access, **form}, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), (headers, form)
        scheme = "Basic" if headers.get("Authorization", "").startswith("Basic") else "Bearer"
        assert answer.headers["www-authenticate"].startswith(scheme)
        assert "active" not in answer.text
        assert "client_id=watchword" not in answer.text, "an app cannot ask at all"
    await api.kernel.guard_keys.revoke("orders", client=HOME)
    answer = await api.post("/introspect", data={"token": somebody.access}, headers=bearer(key))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_two_credentials_are_one_too_many(api: Api) -> None:
    """RFC 6749 section 2.3: 400."""
    key = await guard_key(api)
    form = {"token": "a", "client_id": "orders", "client_secret": key}
    for headers in ([("Authorization", f"Bearer {key}")], [("Authorization", f"Bearer {key}")] * 2):
        answer = await api.post("/introspect", data=form, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_the_cookie_is_nobody(api: Api) -> None:
    await api.newcomer()
    assert api.cookies[COOKIE]
    assert (await api.post("/introspect", data={"token": "a"})).status_code == 401


async def test_C7_a_database_that_fails_is_503_and_never_inactive(api: Api) -> None:
    """Both kinds of tokens: what cannot be found out is not said to be so."""
    key, somebody = await guard_key(api), await person(api)
    await api.kernel.database.close()
    for token in (somebody.access, somebody.refresh, "nonsense"):
        answer = await api.post("/introspect", data={"token": token}, headers=bearer(key))
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert "active" not in answer.text
