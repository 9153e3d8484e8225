"""What a page of another site can make its visitors' browsers do: nothing that counts against them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.client import PASSWORD
from tests.features.api import Api, served
from watchword.storage.ephemeral_memory import MemoryEphemeral

EVIL = {"Origin": "https://evil.example"}
ALLOWED = "https://app.example"
UNSAFE = [
    ("POST", "/token"), ("POST", "/login"), ("POST", "/register"), ("POST", "/refresh"), ("POST", "/logout"),
    ("POST", "/revoke"), ("POST", "/introspect"), ("PATCH", "/profile"), ("DELETE", "/profile"),
    ("POST", "/profile/password"), ("DELETE", "/sessions"), ("DELETE", "/sessions/x"), ("POST", "/profile/email"),
    ("POST", "/email/verification"), ("POST", "/email/verify"), ("POST", "/email/undo"), ("POST", "/login/code"),
    ("POST", "/login/code/confirm"), ("POST", "/password/forgot"), ("POST", "/password/reset"),
    ("POST", "/admin/users"), ("PATCH", "/admin/users/x"), ("DELETE", "/admin/users/x"),
    ("PATCH", "/admin/users/x/metadata"),
    ("PUT", "/admin/users/x/roles"), ("POST", "/admin/users/x/invitation"), ("DELETE", "/admin/users/x/sessions"),
    ("DELETE", "/admin/sessions/x"), ("POST", "/admin/first"), ("POST", "/admin/keys/rotate"),
    ("POST", "/admin/keys/revoke"), ("PUT", "/admin/scopes/x"), ("POST", "/admin/apis"),
    ("PATCH", "/admin/apis/x"), ("DELETE", "/admin/apis/x"),
    ("POST", "/admin/webhooks"), ("DELETE", "/admin/webhooks/x"),
    ("POST", "/admin/webhooks/x/enable"), ("POST", "/admin/webhooks/x/secret"), ("POST", "/admin/webhooks/x/test"),
    ("POST", "/admin/webhooks/x/retry"),
    ("POST", "/api-keys"), ("DELETE", "/api-keys/x"), ("POST", "/api-keys/x/rotate"),
]  # fmt: skip


def form(password: str = "wrong-orbit-canvas") -> dict[str, str]:
    return {"grant_type": "password", "username": "ada", "password": password}


@pytest.mark.parametrize(
    "headers", [EVIL, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]
)
async def test_C10_a_foreign_form_is_no_log_in(tmp_path: Path, headers: dict[str, str]) -> None:
    """⚑ 100 forms that a page sent used up the log-ins of its visitor's network."""
    async with served(tmp_path, login_limit="3/15m", login_address_limit="3/15m") as api:
        await api.register("ada")
        for password in ["wrong-orbit-canvas"] * 10 + [PASSWORD]:
            answer = await api.post("/token", data=form(password), headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (403, "access_denied")
        assert (await api.post("/token", data=form(PASSWORD))).status_code == 200


async def test_C10_our_pages_and_programs_go_on_getting_tokens(tmp_path: Path) -> None:
    """The Authorize buttons of the service's page and of an allowed one, and what is no browser."""
    async with served(tmp_path, allowed_origins=ALLOWED) as api:
        await api.register("ada")
        for headers in (
            {},
            {"Origin": "http://127.0.0.1:4000"},
            {"Origin": ALLOWED},
            {"Sec-Fetch-Site": "same-origin"},
        ):
            answer = await api.post("/token", data=form(PASSWORD), headers=headers)
            assert answer.status_code == 200, headers


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize(("method", "path"), UNSAFE)
async def test_C10_what_needs_no_preflight_counts_nowhere(tmp_path: Path, method: str, path: str, kind: str) -> None:
    """No counter moves and no record is written, whichever unsafe route a page sends its forms to."""
    async with served(tmp_path) as api:
        await api.register("ada")
        before = await _state(api)
        body = "grant_type=password&username=ada&password=wrong-orbit-canvas&token=x&client_id=watchword"
        await api.request(method, path, content=body, headers={"Content-Type": kind, **EVIL})
        assert await _state(api) == before


async def test_every_unsafe_route_is_in_the_list(api: Api) -> None:
    """A new one is tried too."""
    paths = (await api.get("/openapi.json")).json()["paths"]
    found = {
        (method.upper(), re.sub(r"\{\w+\}", "x", path))
        for path, methods in paths.items()
        for method in methods
        if method in ("post", "put", "patch", "delete")
    }
    assert found == set(UNSAFE)


async def _state(api: Api) -> object:
    store = api.kernel.ephemeral
    assert isinstance(store, MemoryEphemeral)
    row = await api.kernel.database.one("SELECT COUNT(*) AS n FROM ww_audit")
    assert row is not None
    return row["n"], {name: entry.amount for name, entry in store._entries.items()}
