"""Accounts, by administrators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import PASSWORD, refused
from tests.features.admin.scene import actors, admin, administered, person
from tests.features.api import served
from tests.features.mailing import deliver, mailing

NEW = {"username": "grace", "email": "grace@example.org", "password": PASSWORD, "roles": ["reader"]}


async def test_a_user_is_made_and_logs_in(tmp_path: Path) -> None:
    """With what was asked; no hash is shown; the administrator is the actor."""
    async with administered(tmp_path) as (api, root):
        made = await root("POST", "/admin/users", NEW)
        assert made.status_code == 201, made.text
        shown = made.json()
        assert (shown["username"], shown["email"], shown["roles"]) == ("grace", "grace@example.org", ["reader"])
        assert (shown["email_verified_at"], shown["disabled_at"]) == (None, None)
        assert "argon2" not in made.text
        assert (await root("GET", f"/admin/users/{shown['id']}")).json() == shown
        assert await api.log_in("grace")
        assert (await actors(api, "user_created"))[-1] == (root.user.id, shown["id"])
        refused(await root("POST", "/admin/users", {**NEW, "email": "g@example.org"}), 409, "username_taken")


async def test_an_invitation_is_mailed_and_sets_the_password(tmp_path: Path) -> None:
    """The account has none before; the address is confirmed by it."""
    async with mailing(tmp_path) as (api, box):
        root = await admin(api)
        body = {"email": "grace@example.org", "invite": True}
        made = await root("POST", "/admin/users", body)
        assert made.status_code == 201, made.text
        await deliver(api)
        (text,) = box.texts("grace@example.org")
        token = next(line.rpartition("/")[2] for line in text.splitlines() if "/links/" in line)
        api.clock.advance(2 * 86_400)
        reset = await api.post("/password/reset", json={"token": token, "new_password": "velvet-anchor-ripple"})
        assert reset.status_code == 204, reset.text
        answer = await api.post("/login", json={"email": "grace@example.org", "password": "velvet-anchor-ripple"})
        assert answer.json()["user"]["email_verified"] is True
        assert (await actors(api, "user_invited")) == [(root.user.id, made.json()["id"])]


async def test_a_user_can_be_invited_again(tmp_path: Path) -> None:
    """One without an address cannot."""
    async with mailing(tmp_path) as (api, box):
        root = await admin(api)
        ada = await person(api, "ada")
        assert (await root("POST", f"/admin/users/{ada.id}/invitation")).status_code == 204
        await deliver(api)
        assert len(box.texts("ada@example.org")) == 1
        made = await root("POST", "/admin/users", {"username": "nameless", "password": PASSWORD})
        refused(await root("POST", f"/admin/users/{made.json()['id']}/invitation"), 422, "invalid_input")


async def test_an_address_is_not_changed_in_silence(tmp_path: Path) -> None:
    """⚑ Not an administrator's own by a token alone; another user's former address is told, and has no link."""
    async with mailing(tmp_path) as (api, box):
        root = await admin(api)
        own = await root("PATCH", f"/admin/users/{root.user.id}", {"email": "thief@example.net"})
        refused(own, 409, "own_account")
        ada = await person(api, "ada")
        await api.kernel.database.run("UPDATE ww_users SET email_verified_at = 1 WHERE id = :id", id=ada.id)
        assert (await root("PATCH", f"/admin/users/{ada.id}", {"email": "new@example.net"})).status_code == 200
        await deliver(api)
        assert box.subjects("ada@example.org") == ["Your e-mail address was changed"]
        assert "/links/" not in box.texts("ada@example.org")[0]


async def test_an_account_that_was_taken_over_goes_back_to_its_owner(tmp_path: Path) -> None:
    """⚑ By the steps of the guide, in their order: the thief's address gets no link, and the owner's does."""
    async with mailing(tmp_path) as (api, box):
        root = await admin(api)
        ada = await person(api, "ada")
        stolen = "UPDATE ww_users SET email = :to, email_key = :to, email_verified_at = 1 WHERE id = :id"
        await api.kernel.database.run(stolen, to="thief@example.net", id=ada.id)
        for body in ({"disabled": True}, {"email": "ada@example.org"}, {"disabled": False}):
            assert (await root("PATCH", f"/admin/users/{ada.id}", body)).status_code == 200
        assert (await root("POST", f"/admin/users/{ada.id}/invitation")).status_code == 204
        await deliver(api)
        assert not any("/links/" in text for text in box.texts("thief@example.net"))
        assert box.link("ada@example.org").startswith("wwl_")


async def test_without_mail_no_one_is_invited(tmp_path: Path) -> None:
    """Nothing is made either."""
    given = {"public_url": "https://auth.example.com", "trusted_proxies": "1", "email_login": "off", "docs": "on"}
    async with served(tmp_path, **given) as api:
        root = await admin(api)
        body = {"email": "grace@example.org", "invite": True}
        refused(await root("POST", "/admin/users", body), 403, "mail_off")
        assert len((await root("GET", "/admin/users")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "grace"}, "password"),
        ({"username": "grace", "password": PASSWORD, "invite": True}, "password"),
        ({"username": "grace", "invite": True}, "email"),
        ({"username": "grace", "invite": "true"}, "invite"),
        ({"password": PASSWORD}, "username"),
        ({"username": "grace", "password": "short"}, "password"),
        ({**NEW, "roles": "admin"}, "roles"),
        ({**NEW, "roles": ["a b"]}, "roles"),
        ({**NEW, "roles": [f"r{n}" for n in range(33)]}, "roles"),
        *(
            ({**NEW, name: "2026-11-28T09:30:00Z"}, name)
            for name in ("id", "email_verified_at", "email_verified", "token_version", "created_at", "password_hash",
                         "external_id", "disabled", "is_admin", "role")
        ),
    ],
)  # fmt: skip
async def test_h12_what_is_not_asked_for_is_refused(tmp_path: Path, body: dict[str, object], field: str) -> None:
    """And nothing is made."""
    async with administered(tmp_path) as (_, root):
        answer = await root("POST", "/admin/users", body)
        refused(answer, 422, "invalid_input")
        assert field in [one["field"] for one in answer.json()["errors"]]
        assert len((await root("GET", "/admin/users")).json()["items"]) == 1


async def test_names_change(tmp_path: Path) -> None:
    """A new address is not confirmed, and refuses tokens from before; limits of owners do not count here."""
    limits = {"change_limit": "1/1h", "conflict_limit": "1/1h"}
    async with administered(tmp_path, **limits) as (api, root):
        ada = await person(api, "ada")
        await api.kernel.database.run("UPDATE ww_users SET email_verified_at = 1 WHERE id = :id", id=ada.id)
        token = await api.log_in("ada")
        for name in ("ada1", "ada2"):
            changed = await root("PATCH", f"/admin/users/{ada.id}", {"username": name, "email": f"{name}@example.net"})
            assert changed.status_code == 200, changed.text
            assert (changed.json()["username"], changed.json()["email_verified_at"]) == (name, None)
            refused(await root("PATCH", f"/admin/users/{ada.id}", {"username": "root"}), 409, "username_taken")
        refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")
        assert set(await actors(api, "user_changed")) == {(root.user.id, ada.id)}


async def test_disabling_ends_every_session_and_enabling_lets_log_in(tmp_path: Path) -> None:
    """At once; it stands alone in its request."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada")
        token = await api.log_in("ada")
        path = f"/admin/users/{ada.id}"
        refused(await root("PATCH", path, {"disabled": True, "username": "x"}), 422, "invalid_input")
        assert (await root("PATCH", path, {"disabled": True})).json()["disabled_at"] is not None
        refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")
        refused(await api.post("/login", json={"username": "ada", "password": PASSWORD}), 401, "invalid_credentials")
        assert (await root("PATCH", path, {"disabled": False})).json()["disabled_at"] is None
        assert await api.log_in("ada")
        assert await actors(api, "user_disabled") == await actors(api, "user_enabled") == [(root.user.id, ada.id)]


async def test_a_deleted_user_is_gone(tmp_path: Path) -> None:
    """With the sessions; the name is free again."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada")
        token = await api.log_in("ada")
        assert (await root("DELETE", f"/admin/users/{ada.id}")).status_code == 204
        refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/invitation")):
            refused(await root(method, f"/admin/users/{ada.id}{path}"), 404, "not_found")
        assert await actors(api, "user_deleted") == [(root.user.id, ada.id)]
        assert (await root("POST", "/admin/users", {"username": "ada", "password": PASSWORD})).status_code == 201


async def test_roles_are_set(tmp_path: Path) -> None:
    """Exactly these; tokens from before are refused."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada", "reader")
        token = await api.log_in("ada")
        answer = await root("PUT", f"/admin/users/{ada.id}/roles", {"roles": ["writer", "editor", "writer"]})
        assert answer.json()["roles"] == ["editor", "writer"]
        refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")
        assert await actors(api, "roles_changed") == [(root.user.id, ada.id)]
        refused(await root("PUT", f"/admin/users/{ada.id}/roles", {"roles": ["a b"]}), 422, "invalid_input")


async def test_users_are_found_page_by_page(tmp_path: Path) -> None:
    """By each filter and several; each once."""
    async with administered(tmp_path) as (api, root):
        for number in range(7):
            await person(api, f"user_{number}", *(["reader"] if number % 2 else ["reader2"]))
        await api.kernel.database.run("UPDATE ww_users SET disabled_at = 1 WHERE username = 'user_3'")
        await api.kernel.database.run("UPDATE ww_users SET email_verified_at = 1 WHERE username = 'user_4'")

        async def found(query: str) -> list[str]:
            names, cursor = list[str](), ""
            while True:
                page = await root("GET", f"/admin/users?limit=2&{query}{cursor}")
                assert page.status_code == 200, page.text
                assert len(page.json()["items"]) <= 2
                names += [one["username"] for one in page.json()["items"]]
                if page.json()["next_cursor"] is None:
                    return names
                cursor = f"&cursor={page.json()['next_cursor']}"

        assert await found("") == ["root", *(f"user_{n}" for n in range(7))]
        assert await found("search=USER_3") == ["user_3"]
        assert await found("search=%25") == await found("search=user!") == []
        assert await found("role=reader") == ["user_1", "user_3", "user_5"]
        assert await found("role=read") == await found("role=reader+reader2") == []
        assert await found("disabled=true") == ["user_3"]
        assert await found("disabled=false&role=reader") == ["user_1", "user_5"]
        assert await found("verified=true") == ["user_4"]
        assert await found("verified=false&search=user_4") == []


async def test_administration_is_off_until_it_is_switched_on(tmp_path: Path) -> None:
    """There is no such route, and the role opens nothing."""
    async with served(tmp_path, admin="off") as api:
        root = await admin(api)
        refused(await root("GET", "/admin/users"), 404, "not_found")
        assert not [path for path in (await api.get("/openapi.json")).json()["paths"] if path.startswith("/admin")]
