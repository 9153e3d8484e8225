"""API keys over HTTP: who may make them, and what they open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.client import PASSWORD
from tests.features.api import Api, served
from tests.identity.test_rights import ORDERS, define
from tests.tutorials.reading import claims
from watchword import api_keys
from watchword.features.api_keys.routes import RECENT, SOME_KEY
from watchword.features.oauth.service import CLIENT_CREDENTIALS, EXCHANGE
from watchword.identity.audit import LOCAL
from watchword.identity.granting import Operation, unchecked
from watchword.identity.service_accounts.accounts import NewAccount
from watchword.ids import new_id


async def exchanged(api: Api, key: str, **more: str) -> httpx2.Response:
    form = {"grant_type": EXCHANGE, "subject_token_type": api_keys.TOKEN_TYPE, "subject_token": key}
    return await api.post("/token", data=form | more)


async def made(api: Api, token: str, **body: Any) -> dict[str, Any]:
    answer = await api.as_bearer("POST", "/api-keys", token, json={"name": "nightly report"} | body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_key_is_shown_once_listed_and_exchanged(api: Api) -> None:
    await define(api.kernel, ("*", "read"), ("*", "write"))
    token = await api.newcomer()
    key = await made(api, token, scope="read")
    assert key["about"] | {"id": "", "created_at": "", "expires_at": ""} == {
        "id": "", "name": "nightly report", "scope": "read", "resource": None, "created_at": "", "expires_at": "",
        "last_used_at": None, "replaced_by": None,
    }  # fmt: skip
    answer = await exchanged(api, key["key"])
    body = answer.json()
    assert answer.status_code == 200
    assert body["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert (body["scope"], body["expires_in"], "refresh_token" in body) == ("read", 900, False)
    listed = (await api.as_bearer("GET", "/api-keys", token)).text
    assert key["about"]["id"] in listed
    assert key["key"] not in listed


async def test_a_guard_shows_its_guard_key(tmp_path: Path) -> None:
    """⚑ Only one that is in use makes the address not count."""
    async with served(tmp_path, api_key_address_limit="1/1h") as api:
        key = (await made(api, await api.newcomer()))["key"]
        _, guard_key = await api.kernel.guard_keys.create("orders", client=LOCAL)
        assert (await exchanged(api, key)).status_code == 200
        assert (await exchanged(api, key)).status_code == 429
        form = {"grant_type": EXCHANGE, "subject_token_type": api_keys.TOKEN_TYPE, "subject_token": key}
        for _ in range(2):
            assert (await api.as_bearer("POST", "/token", guard_key, data=form)).status_code == 200
        wrong = [guard_key[:-2] + "AA", "wwg_", "x", await api.newcomer()]
        await api.kernel.guard_keys.revoke("orders", client=LOCAL)
        for each in (*wrong, guard_key):
            answer = await api.as_bearer("POST", "/token", each, data=form)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_the_token_of_a_key_opens_nothing_of_the_service(api: Api) -> None:
    """⚑ J14: neither the profile, nor keys, nor credentials; nor does a proxy let it through."""
    token = await api.newcomer()
    key = await made(api, token)
    by_key = (await exchanged(api, key["key"])).json()["access_token"]
    refused = [
        await api.as_bearer("POST", "/api-keys", by_key, json={"name": "another"}),
        await api.as_bearer("GET", "/api-keys", by_key),
        await api.as_bearer("POST", f"/api-keys/{key['about']['id']}/rotate", by_key, json={}),
        await api.as_bearer("DELETE", f"/api-keys/{key['about']['id']}", by_key),
        await api.as_bearer("GET", "/profile", by_key),
        await api.as_bearer("PATCH", "/profile", by_key, json={"username": "other"}),
        await api.as_bearer("POST", "/profile/password", by_key,
                            json={"current_password": PASSWORD, "new_password": "velvet-anchor-ripple"}),
        await api.as_bearer("DELETE", "/profile", by_key, json={"password": PASSWORD}),
        await api.as_bearer("DELETE", "/sessions", by_key),
        await api.as_bearer("GET", "/verify", by_key),
        await api.as_bearer("GET", "/profile", key["key"]),
        await api.as_bearer("GET", "/verify", key["key"]),
    ]  # fmt: skip
    assert [each.status_code for each in refused] == [401] * len(refused)
    assert {each.json()["detail"] for each in refused} == {"An API key is not accepted here. Log in."}


async def test_making_a_key_needs_a_recent_log_in(api: Api) -> None:
    token = await api.newcomer()
    key = await made(api, token)
    api.clock.advance(RECENT - 1)
    refreshed = (await api.post("/refresh")).json()["access_token"]
    api.clock.advance(2)
    for path, body in (("/api-keys", {"name": "late"}), (f"/api-keys/{key['about']['id']}/rotate", {})):
        answer = await api.as_bearer("POST", path, refreshed, json=body)
        assert (answer.status_code, answer.json()["code"]) == (401, "reauthentication_required")
    assert (await api.as_bearer("GET", "/api-keys", refreshed)).status_code == 200
    assert (await api.as_bearer("DELETE", f"/api-keys/{key['about']['id']}", refreshed)).status_code == 204
    assert (await exchanged(api, key["key"])).status_code == 400


async def test_a_rotation_answers_the_new_key(api: Api) -> None:
    token = await api.newcomer()
    key = await made(api, token)
    answer = await api.as_bearer("POST", f"/api-keys/{key['about']['id']}/rotate", token, json={"overlap": 900})
    fresh = answer.json()
    assert answer.status_code == 201
    assert (await exchanged(api, key["key"])).status_code == (await exchanged(api, fresh["key"])).status_code == 200
    items = (await api.as_bearer("GET", "/api-keys", token)).json()["items"]
    assert [each["replaced_by"] for each in items] == [fresh["about"]["id"], None]


async def test_a_rotation_needs_no_body(api: Api) -> None:
    """All of it may be left out; what is sent has to be right nevertheless."""
    token = await api.newcomer()
    path = f"/api-keys/{(await made(api, token))['about']['id']}/rotate"
    answers = [
        await api.as_bearer("POST", path, token, content=b"overlap=1"),
        await api.as_bearer("POST", path, token, json={"overlapp": 0}),
        await api.as_bearer("POST", path, token),
    ]
    assert [each.status_code for each in answers] == [415, 422, 201]


async def test_a_key_in_a_query_is_not_read(api: Api) -> None:
    """⚑ Addresses end in logs: RFC 6749 section 3.2 wants the form."""
    key = (await made(api, await api.newcomer()))["key"]
    query = {"grant_type": EXCHANGE, "subject_token_type": api_keys.TOKEN_TYPE, "subject_token": key}
    without = {name: value for name, value in query.items() if name != "subject_token"}
    for sent in ({"grant_type": EXCHANGE}, without, query):
        answer = await api.post("/token", params=query, data=sent)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert "rotate this key" in answer.json()["error_description"]
        assert key not in answer.text


@pytest.mark.parametrize(
    "key",
    ["", "wwk_", SOME_KEY, SOME_KEY[:-1], api_keys.make(new_id()).text, "x" * 5000],
    ids=["empty", "prefix", "example", "cut_short", "of_no_one", "long"],
)
async def test_what_is_no_key_is_refused_alike(api: Api, key: str) -> None:
    answer = await exchanged(api, key)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_key_for_one_api(api: Api) -> None:
    await define(api.kernel, ("*", "read"), apis=(("orders", ORDERS, "read"), ("bills", "https://bills.example", "")))
    token = await api.newcomer()
    key = await made(api, token, resource=ORDERS)
    assert key["about"]["resource"] == ORDERS
    assert (await exchanged(api, key["key"], resource=ORDERS)).status_code == 200
    answer = await exchanged(api, key["key"], resource="https://bills.example")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    answer = await exchanged(api, key["key"], audience="https://bills.example")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    answer = await exchanged(api, key["key"], scope="write")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


async def test_an_exchange_may_say_audience(api: Api) -> None:
    """⚑ RFC 8693's name for `resource`: a token that is to be for one API is never for another, nor for the service."""
    await define(api.kernel, ("*", "read"), apis=(("orders", ORDERS, "read"), ("bills", "https://bills.example", "")))
    key = (await made(api, await api.newcomer()))["key"]
    assert claims((await exchanged(api, key, audience=ORDERS)).json()["access_token"])["aud"] == ORDERS
    for wrong in ({"audience": "orders"}, {"audience": ORDERS, "resource": "https://bills.example"}):
        answer = await exchanged(api, key, **wrong)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


async def test_introspection_knows_the_tokens_of_keys(api: Api) -> None:
    token = await api.newcomer()
    key = await made(api, token)
    by_key = (await exchanged(api, key["key"])).json()["access_token"]
    _, guard_key = await api.kernel.guard_keys.create("orders", client=LOCAL)
    active = (await api.as_bearer("POST", "/introspect", guard_key, data={"token": by_key})).json()
    assert (active["active"], active["client_id"], active["sid"]) == (True, "api_key", key["about"]["id"])
    await api.as_bearer("DELETE", f"/api-keys/{key['about']['id']}", token)
    assert (await api.as_bearer("POST", "/introspect", guard_key, data={"token": by_key})).json() == {"active": False}


async def test_no_revocation_is_reported_that_is_not_done(api: Api) -> None:
    """⚑ RFC 7009 section 2.2.1: 200 once answered the token of a key, which stayed active."""
    key = await made(api, await api.newcomer())
    by_key = (await exchanged(api, key["key"])).json()["access_token"]
    _, guard_key = await api.kernel.guard_keys.create("orders", client=LOCAL)
    account, secret = await api.kernel.service_accounts.create(NewAccount("job", ("read",)), client=LOCAL)
    weaker = api_keys.attenuate(key["key"], scopes=[])
    for token in (by_key, key["key"], weaker, "wwk_" + "A" * 80):
        for answer in (
            await api.post("/revoke", data={"token": token, "client_id": "watchword"}),
            await api.as_bearer("POST", "/revoke", guard_key, data={"token": token}),
        ):
            assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_token_type")
        shown = {"token": token, "client_id": account.id, "client_secret": f"{secret}"}
        assert (await api.post("/revoke", data=shown)).status_code == 400
    assert (await exchanged(api, key["key"])).status_code == 200


async def test_a_log_out_that_ends_nothing_says_so(api: Api) -> None:
    """⚑ 204 once answered the tokens of keys and of service accounts, which stayed active."""
    await define(api.kernel, ("*", "read"))
    by_key = (await exchanged(api, (await made(api, await api.newcomer()))["key"])).json()["access_token"]
    account, secret = await api.kernel.service_accounts.create(NewAccount("job", ("read",)), client=LOCAL)
    form = {"grant_type": CLIENT_CREDENTIALS, "client_id": account.id, "client_secret": f"{secret}"}
    by_account = (await api.post("/token", data=form)).json()["access_token"]
    for token in (by_key, by_account):
        api.cookies.clear()
        answer = await api.as_bearer("POST", "/logout", token)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
        await api.newcomer()
        assert (await api.as_bearer("POST", "/logout", token)).status_code == 204  # the cookie's session has ended
        assert (await api.post("/refresh")).status_code == 401


async def test_a_key_whose_api_was_deleted_is_not_shown_as_one_for_any(api: Api) -> None:
    """⚑ Nor is it rotated, into a key that opens nothing. It can be deleted."""
    await define(api.kernel, ("*", "read"), apis=(("orders", ORDERS, "read"),))
    token = await api.newcomer()
    key = (await made(api, token, resource=ORDERS))["about"]
    api_id = next(iter(api.kernel.rights.table.apis))
    await api.kernel.granting.delete_api("orders", Operation(LOCAL, None, unchecked))
    (shown,) = (await api.as_bearer("GET", "/api-keys", token)).json()["items"]
    assert (key["resource"], shown["resource"]) == (ORDERS, api_id)
    path = f"/api-keys/{key['id']}"
    answer = await api.as_bearer("POST", f"{path}/rotate", token)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_target")
    assert "no more" in answer.json()["detail"]
    (shown,) = (await api.as_bearer("GET", "/api-keys", token)).json()["items"]
    assert shown["replaced_by"] is None
    assert (await api.as_bearer("DELETE", path, token)).status_code == 204
