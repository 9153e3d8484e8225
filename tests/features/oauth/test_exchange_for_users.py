"""RFC 8693 over HTTP: what an API sends to call another for a user, and what comes of it elsewhere."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import structlog

from tests.e2e.client import bearer
from tests.features.api import Api
from tests.features.oauth.test_client_credentials import Program, program_of
from tests.features.oauth.test_introspection import INACTIVE, guard_key
from tests.features.oauth.test_token_exchange import EXCHANGE, KIND
from tests.identity.scenes import HOME
from tests.identity.test_rights import ORDERS, define
from tests.identity.test_service_accounts import BILLING
from tests.tutorials.reading import claims
from watchword.identity.revocation import Revocations
from watchword.identity.service_accounts.accounts import ServiceAccounts

JWT = "urn:ietf:params:oauth:token-type:jwt"


class Scene:
    """A user's token for `orders`, and the client of that API."""

    def __init__(self, api: Api, orders: Program, token: str) -> None:
        self.api, self.orders, self.token = api, orders, token

    async def exchange(self, **changed: Any) -> httpx2.Response:
        form = {"grant_type": EXCHANGE, "subject_token": self.token, "subject_token_type": KIND, "resource": BILLING}
        sent = {name: value for name, value in (form | changed).items() if value is not ...}
        return await self.api.elsewhere().post("/token", data=sent, headers=self.orders.basic)


@pytest.fixture
async def scene(api: Api) -> Scene:
    await define(api.kernel, ("*", "read"), apis=(("orders", ORDERS, "read"), ("billing", BILLING, "read")))
    orders = await program_of(api, "orders", serves="orders", exchanges=("billing",))
    await api.newcomer()
    token = (await api.post(f"/refresh?resource={ORDERS}")).json()["access_token"]
    return Scene(api, orders, token)


async def test_the_answer(scene: Scene) -> None:
    for kind in (KIND, JWT):
        answer = await scene.exchange(subject_token_type=kind, requested_token_type=KIND)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body.keys() == {"access_token", "token_type", "expires_in", "scope", "issued_token_type"}
        assert (body["issued_token_type"], body["expires_in"], body["scope"]) == (KIND, 300, "read")
        assert claims(body["access_token"])["act"] == {"sub": scene.orders.account.id, "ver": 1}


async def test_the_other_api_may_be_named_as_audience(scene: Scene) -> None:
    """Section 2.1 has both names for it; two at once must mean the same."""
    for changed in ({"resource": ..., "audience": BILLING}, {"audience": BILLING}):
        answer = await scene.exchange(**changed)
        assert claims(answer.json()["access_token"])["aud"] == BILLING


@pytest.mark.parametrize(("changed", "error"), [
    ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
    ({"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
    ({"subject_token_type": ...}, "invalid_request"),
    ({"subject_token": ...}, "invalid_request"),
    ({"subject_token": "x"}, "invalid_request"),
    ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
    ({"actor_token": "x"}, "invalid_request"),
    ({"resource": ...}, "invalid_target"),
    ({"resource": ORDERS}, "invalid_target"),
    ({"resource": ..., "audience": ORDERS}, "invalid_target"),
    ({"audience": "https://store.example"}, "invalid_target"),
    ({"resource": "http://127.0.0.1:4000"}, "invalid_target"),
    ({"scope": "write"}, "invalid_scope"),
])  # fmt: skip
async def test_requests_that_get_no_token(scene: Scene, changed: dict[str, Any], error: str) -> None:
    answer = await scene.exchange(**changed)
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text


async def test_a_client_without_the_right_or_that_is_disabled(scene: Scene) -> None:
    scene.orders, former = await program_of(scene.api, "idle", serves="orders"), scene.orders
    assert (await scene.exchange()).json()["error"] == "unauthorized_client"
    scene.orders = former
    await scene.api.kernel.service_accounts.disable("orders", client=HOME)
    answer = await scene.exchange()
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_without_a_client_there_is_no_exchange_of_our_tokens(scene: Scene) -> None:
    scene.orders.basic = {}
    assert (await scene.exchange()).json()["error"] == "invalid_request"


async def test_the_token_opens_no_route_for_people_and_ends_no_session(scene: Scene) -> None:
    """⚑ Whoever was called for a user cannot log the user out."""
    api, token = scene.api, (await scene.exchange()).json()["access_token"]
    away = api.elsewhere()
    for method, path in (("GET", "/profile"), ("GET", "/sessions"), ("GET", "/verify?scope=read"), ("POST", "/logout")):
        assert (await away.as_bearer(method, path, token)).status_code == 401, path
    key, own = bearer(await guard_key(api)), scene.orders.basic
    for headers, form in (({}, {"client_id": "watchword"}), (key, {}), (own, {})):
        answer = await away.post("/revoke", data={"token": token} | form, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_token_type")
    other = await program_of(api, "other")
    answer = await away.post("/revoke", data={"token": token}, headers=other.basic)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert (await scene.exchange()).status_code == 200


async def test_introspection_hears_of_a_client_that_was_disabled_elsewhere(scene: Scene) -> None:
    api, token = scene.api, (await scene.exchange()).json()["access_token"]
    key = bearer(await guard_key(api))
    assert (await api.post("/introspect", data={"token": token}, headers=key)).json()["active"]
    await elsewhere_disabled(api, "orders")
    assert (await api.post("/introspect", data={"token": token}, headers=key)).content == INACTIVE
    assert (await api.post("/introspect", data={"token": scene.token}, headers=key)).json()["active"]


async def elsewhere_disabled(api: Api, name: str) -> None:
    """Disable a client as another process does: this one has not read it yet."""
    database = api.kernel.database
    other = Revocations(database, api.clock)
    accounts = ServiceAccounts(database, api.kernel.rights, other, api.clock)
    await accounts.disable(name, client=HOME)


async def test_introspection_tells_who_acts_until_the_user_logs_out(scene: Scene) -> None:
    api, token = scene.api, (await scene.exchange()).json()["access_token"]
    key = bearer(await guard_key(api))
    found = (await api.post("/introspect", data={"token": token}, headers=key)).json()
    assert (found["active"], found["act"]) == (True, {"sub": scene.orders.account.id, "ver": 1})
    by_itself = (await api.post("/introspect", data={"token": token}, headers=scene.orders.basic)).json()
    assert by_itself == {name: value for name, value in found.items() if name != "username"}  # it may be an address
    assert found["username"]
    assert (await api.post("/logout")).status_code == 204
    assert (await api.post("/introspect", data={"token": token}, headers=key)).content == INACTIVE
    assert (await scene.exchange()).json()["error"] == "invalid_request"


async def test_the_log_says_what_the_answer_does_not(scene: Scene) -> None:
    """Which client, why, and in which request: the commonest slip is a token for the service's own audience."""
    own = (await scene.api.post("/refresh")).json()["access_token"]
    with structlog.testing.capture_logs() as lines:
        for token in (own, "rubbish", await scene.orders.token()):
            answer = await scene.exchange(subject_token=token)
            assert answer.json()["error_description"] == "This subject token is not accepted."
        await scene.api.post("/logout")
        await scene.exchange()
    refused = [line for line in lines if line["event"] == "exchange_refused"]
    assert [line["reason"] for line in refused] == [
        f"it is for http://127.0.0.1:4000, and the client serves {ORDERS}",
        "token_malformed",
        "it is a client's or an API key's, and no user's",
        "token_revoked",
    ]
    assert {line["client_id"] for line in refused} == {scene.orders.account.id}
    assert all(line["address"] and line["request_id"] for line in refused)
    assert not any(token in str(lines) for token in (own, scene.token))
