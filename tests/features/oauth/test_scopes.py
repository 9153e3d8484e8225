"""`scope` and `resource` at each door: what comes back, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.client import PASSWORD, bearer, refused
from tests.features.api import Api
from tests.identity.scenes import HOME, give_roles
from watchword.identity.granting import Operation, unchecked

ORDERS, BILLING = "https://orders.example", "https://billing.example"


@pytest.fixture
async def shop(api: Api) -> Api:
    """Roles with scopes, two APIs, and ada, who is an editor."""
    by, granting = Operation(HOME, None, unchecked), api.kernel.granting
    for role, scopes in (("*", "orders:read billing:read"), ("editor", "orders:write"), ("admin", "orders:delete")):
        await granting.set_scopes(role, lambda _, given=scopes: frozenset(given.split()), by)  # type: ignore[misc]
    await granting.create_api("orders", ORDERS, frozenset({"orders:read", "orders:write", "orders:delete"}), by)
    await granting.create_api("billing", BILLING, frozenset({"billing:read"}), by)
    await api.register("ada")
    user = (await api.kernel.database.one("SELECT id FROM ww_users"))["id"]  # type: ignore[index]
    await give_roles(api.kernel, user, ("editor",))
    return api


async def token(api: Api, **fields: str) -> Any:
    given = {"grant_type": "password", "username": "ada", "password": PASSWORD} | fields
    return await api.post("/token", data=given)


async def test_the_oauth_door(shop: Api) -> None:
    whole = (await token(shop)).json()
    assert whole["scope"] == "billing:read orders:read orders:write"
    some = (await token(shop, scope="orders:write orders:delete")).json()
    assert some["scope"] == "orders:write", "the user has no role that gives the other"
    at_orders = (await token(shop, resource=ORDERS)).json()
    assert at_orders["scope"] == "orders:read orders:write"
    again = await token(shop, grant_type="refresh_token", refresh_token=at_orders["refresh_token"], scope="orders:read")
    assert again.json()["scope"] == "orders:read"


@pytest.mark.parametrize(
    ("fields", "error", "named"),
    [({"scope": "orders:read nothing"}, "invalid_scope", "nothing"),
     ({"scope": "orders:delete"}, "invalid_scope", "orders:delete"),
     ({"scope": "billing:read", "resource": ORDERS}, "invalid_scope", "billing:read"),
     ({"scope": "a  b"}, "invalid_scope", "single spaces"),
     ({"scope": 'a"b'}, "invalid_scope", "letters"),
     ({"scope": "x" * 2000}, "invalid_scope", "letters"),
     ({"resource": "https://orders.example/"}, "invalid_target", "resource"),
     ({"resource": "orders"}, "invalid_target", "resource")],
)  # fmt: skip
async def test_what_the_oauth_door_refuses(shop: Api, fields: dict[str, str], error: str, named: str) -> None:
    """RFC 6749 section 5.2, RFC 8707 section 2; the description says which."""
    answer = await token(shop, **fields)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert named in answer.json()["error_description"]
    assert answer.json()["error_description"].isascii()


async def test_a_refresh_never_grows(shop: Api) -> None:
    """⚑ Checklist E-6. What is refused does not use the refresh token up."""
    some = (await token(shop, scope="orders:read")).json()["refresh_token"]
    for scope in ("orders:write", "orders:read billing:read"):
        answer = await token(shop, grant_type="refresh_token", refresh_token=some, scope=scope)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    bound = (await token(shop, resource=ORDERS)).json()["refresh_token"]
    answer = await token(shop, grant_type="refresh_token", refresh_token=bound, resource=BILLING)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    for one, scope in ((some, "orders:read"), (bound, "orders:read orders:write")):
        assert (await token(shop, grant_type="refresh_token", refresh_token=one)).json()["scope"] == scope


async def test_the_browser_door(shop: Api) -> None:
    body = {"username": "ada", "password": PASSWORD}
    answer = await shop.post("/login", json=body | {"scope": "orders:read orders:write"})
    assert answer.json()["scope"] == "orders:read orders:write"
    assert (await shop.post("/refresh?scope=orders:read")).json()["scope"] == "orders:read"
    at_orders = (await shop.post(f"/refresh?resource={ORDERS}")).json()
    assert at_orders["scope"] == "orders:read orders:write"
    refused(await shop.get("/profile", headers=bearer(at_orders["access_token"])), 401, "token_invalid")
    refused(await shop.post("/refresh?scope=billing:read"), 400, "invalid_scope")
    for query in ("scopes=orders:read", "scope=orders:read&scope=billing:read", "scope=%zz"):
        refused(await shop.post(f"/refresh?{query}"), 400, "invalid_request")
    assert (await shop.post("/refresh")).json()["scope"] == "orders:read orders:write"
    refused(await shop.post("/login", json=body | {"scope": "nothing"}), 400, "invalid_scope")
    refused(await shop.post("/login", json=body | {"scope": "orders:delete"}), 400, "invalid_scope")
    refused(await shop.post("/login", json=body | {"resource": "urn:none"}), 400, "invalid_target")
    refused(await shop.post("/login", json=body | {"scope": ["orders:read"]}), 422, "invalid_input")


async def test_a_token_that_a_proxy_asks_about(shop: Api) -> None:
    found = (await token(shop, scope="orders:read")).json()["access_token"]
    answer = await shop.get("/verify?scope=orders:read", headers=bearer(found))
    assert answer.headers["x-auth-scopes"] == "orders:read"
    lacking = await shop.get("/verify?scope=orders:read+orders:write", headers=bearer(found))
    refused(lacking, 403, "scope_missing")
    assert lacking.json()["detail"] == "The token lacks these scopes: orders:write"
    for_orders = (await token(shop, resource=ORDERS)).json()["access_token"]
    refused(await shop.get("/verify", headers=bearer(for_orders)), 401, "token_invalid")


async def test_introspection_and_revocation_know_tokens_of_apis(shop: Api) -> None:
    _, key = await shop.kernel.guard_keys.create("orders", client=HOME)
    found = (await token(shop, resource=ORDERS)).json()

    async def introspect(of: str) -> Any:
        return (await shop.post("/introspect", data={"token": of}, headers=bearer(key))).json()

    access = await introspect(found["access_token"])
    assert (access["active"], access["aud"], access["scope"]) == (True, [ORDERS], "orders:read orders:write")
    assert (await introspect(found["refresh_token"]))["scope"] == "orders:read orders:write"
    assert (await shop.post("/revoke", data={"token": found["access_token"], "client_id": "watchword"})).is_success
    assert await introspect(found["access_token"]) == {"active": False}


async def test_the_metadata_names_scopes(shop: Api) -> None:
    """Also those that were given after the start."""
    first = await shop.get("/.well-known/oauth-authorization-server")
    assert first.json()["scopes_supported"] == ["billing:read", "orders:delete", "orders:read", "orders:write"]
    by = Operation(HOME, None, unchecked)
    await shop.kernel.granting.set_scopes("admin", lambda held: held | {"all"}, by)
    again = await shop.get("/.well-known/oauth-authorization-server", headers={"If-None-Match": first.headers["etag"]})
    assert again.json()["scopes_supported"][0] == "all"
