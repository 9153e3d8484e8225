"""Scopes and APIs, by administrators."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.client import bearer, refused
from tests.features.admin.scene import actors, administered, person
from watchword.tokens.claims import AccessClaims

ORDERS = {"name": "orders", "audience": "https://orders.example", "scopes": ["orders:read"]}


async def test_scopes_are_given_and_taken(tmp_path: Path) -> None:
    async with administered(tmp_path) as (api, root):
        await person(api, "ada", "editor")
        for role, scopes in (("editor", ["write", "read"]), ("*", ["read"])):
            answer = await root("PUT", f"/admin/scopes/{role}", {"scopes": scopes})
            assert answer.json() == {"role": role, "scopes": sorted(scopes)}
        listed = (await root("GET", "/admin/scopes")).json()
        assert listed == {
            "items": [{"role": "*", "scopes": ["read"]}, {"role": "editor", "scopes": ["read", "write"]}],
            "set_by_setting": False,
        }
        token = await api.elsewhere(agent="a").log_in("ada")
        claims: AccessClaims = api.kernel.verifier.verify(token)
        assert claims.scopes == {"read", "write"}
        await root("PUT", "/admin/scopes/editor", {"scopes": []})
        refused(await api.get("/profile", headers=bearer(token)), 401, "token_revoked")
        for role, scopes in (("two%20words", ["read"]), ("editor", ["é"]), ("editor", ["s" * 64] * 2 + ["t" * 65])):
            refused(await root("PUT", f"/admin/scopes/{role}", {"scopes": scopes}), 422, "invalid_input")
        assert await actors(api, "scopes_changed") == [(root.user.id, None)] * 3


async def test_apis_are_registered_changed_and_deleted(tmp_path: Path) -> None:
    async with administered(tmp_path) as (api, root):
        made = await root("POST", "/admin/apis", ORDERS)
        assert (made.status_code, {**made.json(), "id": ""}) == (201, {"id": "", **ORDERS})
        refused(await root("POST", "/admin/apis", ORDERS), 409, "name_taken")
        for slip in ({"audience": "a b"}, {"name": "a b"}, {"scopes": ["a b"]}):
            refused(await root("POST", "/admin/apis", {**ORDERS, **slip}), 422, "invalid_input")
        refused(await root("PATCH", "/admin/apis/orders", {}), 422, "invalid_input")
        changed = await root("PATCH", "/admin/apis/orders", {"scopes": ["b", "a"]})
        assert changed.json()["scopes"] == ["a", "b"]
        assert (await root("GET", "/admin/apis")).json() == {"items": [changed.json()]}
        assert (await root("DELETE", "/admin/apis/orders")).status_code == 204
        refused(await root("DELETE", "/admin/apis/orders"), 404, "not_found")
        refused(await root("PATCH", "/admin/apis/orders", {"scopes": []}), 404, "not_found")
        for event in ("api_created", "api_changed", "api_deleted"):
            assert await actors(api, event) == [(root.user.id, None)]


async def test_where_the_setting_says_so_scopes_are_not_changed(tmp_path: Path) -> None:
    async with administered(tmp_path, scopes="*=read") as (_, root):
        assert (await root("GET", "/admin/scopes")).json()["set_by_setting"] is True
        refused(await root("PUT", "/admin/scopes/editor", {"scopes": ["read"]}), 409, "conflict")
