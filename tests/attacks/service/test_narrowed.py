"""What was narrowed by `scope` does nothing with the account, at any route of the service (E-6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.client import PASSWORD, bearer, refused
from tests.features.admin.scene import person
from tests.features.api import Api, served
from tests.identity.scenes import meddle
from tests.identity.test_rights import ORDERS, define
from watchword.app import features
from watchword.web.route import AccessToken, Route

ALLOWED = {
    ("GET", "/profile"),
    ("GET", "/verify"),
    ("*", "/verify"),
}
"""Each other route that takes an access token refuses one that was narrowed. A new route is asked here too."""
OWN = {"grant_type": "password", "username": "root", "password": PASSWORD}
NARROWED = ["at the OAuth door", "at the browser's door", "at a refresh", "at a refresh by the cookie"]


async def _scene(api: Api) -> None:
    await define(
        api.kernel,
        ("*", "orders:read"),
        ("admin", "orders:write"),
        apis=(("orders", ORDERS, "orders:read orders:write"),),
    )
    await person(api, "root", "admin")


async def _tokens(api: Api, **fields: str) -> dict[str, Any]:
    answer = await api.post("/token", data=OWN | fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _token(api: Api, how: str) -> str:
    scope = {"scope": "orders:read"}
    if how == "at the OAuth door":
        return str((await _tokens(api, **scope))["access_token"])
    if how == "at the browser's door":
        answer = await api.post("/login", json={"username": "root", "password": PASSWORD} | scope)
    elif how == "at a refresh":
        whole = {"grant_type": "refresh_token", "refresh_token": (await _tokens(api))["refresh_token"]}
        answer = await api.post("/token", data=whole | scope)
    else:
        await api.log_in("root")
        answer = await api.post("/refresh?scope=orders:read")
    return str(answer.json()["access_token"])


def _guarded(api: Api) -> list[Route]:
    every = [route for each in features(api.kernel) for route in each.routes]
    return [route for route in every if isinstance(route.access, AccessToken)]


async def _send(api: Api, route: Route, token: str) -> Any:
    body = {} if route.example is None else {"json": msgspec.to_builtins(route.example)}
    path = route.path
    for name in ("id", "kid", "role", "name"):
        path = path.replace("{" + name + "}", "x")
    return await api.request(route.method, path, headers=bearer(token), **body)


@pytest.mark.parametrize("how", NARROWED)
async def test_no_route_does_anything_with_the_account(tmp_path: Path, how: str) -> None:
    """⚑ An administrator's token for `orders:read` once gave everyone every scope."""
    async with served(tmp_path) as api:
        await _scene(api)
        token, seen = await _token(api, how), set()
        for route in _guarded(api):
            if (route.method, route.path) in ALLOWED:
                seen.add((route.method, route.path))
                continue
            answer = await _send(api, route, token)
            refused(answer, 403, "token_narrowed")
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"], route.path
        assert seen == ALLOWED
        assert (await api.get("/profile", headers=bearer(token))).json()["username"] == "root"
        assert (await api.get("/verify?scope=orders:read", headers=bearer(token))).status_code == 200
        assert (await api.post("/logout", headers=bearer(token))).status_code == 204


async def test_a_whole_token_is_asked_for_nothing_more(tmp_path: Path) -> None:
    """Nor is one after a change of the tables: it has fewer scopes than its user, and was not narrowed."""
    async with served(tmp_path) as api:
        await _scene(api)
        tokens = [
            await api.log_in("root"),
            (await _tokens(api))["access_token"],
            (await _tokens(api, scope=""))["access_token"],
        ]
        await define(api.kernel, ("*", "orders:delete"))
        for token in tokens:
            for path in ("/sessions", "/admin/users", "/profile/activity"):
                assert (await api.get(path, headers=bearer(token))).status_code == 200, path


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_limited_session_administers_nothing_whatever_its_token_says(tmp_path: Path, method: str) -> None:
    """The database decides, as of the role: tokens from before an update do not tell."""
    async with served(tmp_path) as api:
        await _scene(api)
        token = await api.log_in("root")
        meddle(api.kernel, "UPDATE ww_sessions SET scope = 'orders:read'")
        sent: dict[str, Any] = {"json": {"scopes": ["everything"]}} if method == "PUT" else {}
        path = "/admin/scopes/editor" if method == "PUT" else "/admin/scopes"
        refused(await api.request(method, path, headers=bearer(token), **sent), 403, "token_narrowed")


@pytest.mark.parametrize("how", [*NARROWED, "before an update"])
async def test_no_key_is_made_rotated_or_revoked(tmp_path: Path, how: str) -> None:
    """⚑ A key for 400 days outlived the log-out of the token that had made it, and 50 left no room for the owner's."""
    async with served(tmp_path) as api:
        await _scene(api)
        whole = await api.log_in("root")
        key = (await api.as_bearer("POST", "/api-keys", whole, json={"name": "small", "scope": "orders:read"})).json()
        token = await _token(api, how) if how in NARROWED else await api.log_in("root")
        if how not in NARROWED:
            meddle(api.kernel, "UPDATE ww_sessions SET scope = 'orders:read'")
        path = f"/api-keys/{key['about']['id']}"
        for attempt in (("POST", "/api-keys", {"json": {"name": "x"}}), ("POST", f"{path}/rotate", {"json": {}}),
                        ("DELETE", path, {})):  # fmt: skip
            refused(await api.as_bearer(attempt[0], attempt[1], token, **attempt[2]), 403, "token_narrowed")


async def test_refused_attempts_use_up_nothing_of_the_owners(tmp_path: Path) -> None:
    """⚑ Sixty of them kept the owner from every change for an hour."""
    async with served(tmp_path, change_limit="3/1h") as api:
        await _scene(api)
        token, whole = await _token(api, "at the OAuth door"), await api.log_in("root")
        for _ in range(5):
            refused(await api.as_bearer("POST", "/api-keys", token, json={"name": "x"}), 403, "token_narrowed")
        assert (await api.as_bearer("POST", "/api-keys", whole, json={"name": "x"})).status_code == 201


async def test_a_key_is_for_no_other_api_than_its_session(tmp_path: Path) -> None:
    """A session for the service's own audience refreshes for no other API, and makes no key for one."""
    async with served(tmp_path) as api:
        await _scene(api)
        token = (await _tokens(api, resource=api.kernel.settings.audience))["access_token"]
        answer = await api.as_bearer("POST", "/api-keys", token, json={"name": "x", "resource": ORDERS})
        refused(answer, 400, "invalid_target")
        own = await api.as_bearer("POST", "/api-keys", token, json={"name": "x"})
        assert own.json()["about"]["resource"] == api.kernel.settings.audience
