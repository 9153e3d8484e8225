"""A user's own name and public metadata."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.client import PASSWORD, bearer, fields, refused
from tests.features.admin.scene import administered
from tests.features.api import Api, served
from tests.features.mailing import deliver, mailing


async def test_a_name_is_given_changed_and_removed(api: Api) -> None:
    """Without a password; null removes it, and leaving it out keeps it."""
    user = await api.register("ada", name="  Ada Lovelace ")
    assert (user["name"], user["public_metadata"]) == ("Ada Lovelace", {})
    token = await api.log_in("ada")
    for sent, name in (({"name": "Ada King"}, "Ada King"), ({"username": "ada2"}, "Ada King"), ({"name": None}, None)):
        answer = await api.as_bearer("PATCH", "/profile", token, json=sent)
        assert (answer.status_code, answer.json()["name"]) == (200, name)
        assert (await api.as_bearer("GET", "/profile", token)).json()["name"] == name  # no token was refused
    assert fields(await api.as_bearer("PATCH", "/profile", token, json={"name": 7})) == {"name": "wrong_type"}
    assert fields(await api.post("/register", json={"username": "b", "password": PASSWORD, "name": None})) == {
        "name": "null"
    }


async def test_the_same_name_again_writes_nothing(api: Api) -> None:
    """So that no limit has to bound it."""
    await api.register("ada", name="Ada")
    token = await api.log_in("ada")
    before = await api.kernel.database.scan("SELECT * FROM ww_users")
    api.clock.advance(60)
    assert (await api.as_bearer("PATCH", "/profile", token, json={"name": "Ada"})).status_code == 200
    after = await api.kernel.database.scan("SELECT * FROM ww_users")
    assert [tuple(row) for row in before] == [tuple(row) for row in after]


async def test_a_mapped_name_refuses_the_token_from_before(tmp_path: Path) -> None:
    """The session stays, and the next refresh says the new name."""
    async with served(tmp_path, claims="name=name") as api:
        await api.register("ada", name="Ada")
        token = await api.log_in("ada")
        assert (await api.as_bearer("PATCH", "/profile", token, json={"name": "Ada King"})).status_code == 200
        refused(await api.as_bearer("GET", "/profile", token), 401, "token_revoked")
        fresh = (await api.post("/refresh")).json()["access_token"]
        assert api.kernel.verifier.verify(fresh).extra == {"name": "Ada King"}


async def test_a_name_waits_with_the_link_where_addresses_are_confirmed(tmp_path: Path) -> None:
    """It is there when the account begins."""
    async with mailing(tmp_path, email_verification="required") as (api, box):
        body = {"username": "ada", "email": "ada@example.org", "password": PASSWORD, "name": "Ada"}
        asked = await api.post("/register", json=body)
        assert asked.status_code == 202
        await deliver(api)
        sent = {"handle": asked.json()["handle"], "code": box.code("ada@example.org")}
        assert (await api.post("/email/verify", json=sent)).status_code == 204
        assert (await api.as_bearer("GET", "/profile", await api.log_in("ada"))).json()["name"] == "Ada"


async def test_administrators_write_what_users_read(tmp_path: Path) -> None:
    """Each object that is sent replaces the whole one, and the other stays."""
    async with administered(tmp_path) as (api, root):
        ada = await api.register("ada")
        token, path = await api.log_in("ada"), f"/admin/users/{ada['id']}"
        both = {"public_metadata": {"tenant": "acme", "n": 1.5}, "private_metadata": {"customer": 4711}}
        assert (await root("PATCH", f"{path}/metadata", both)).json() == both
        changed = await root("PATCH", f"{path}/metadata", {"public_metadata": {"tenant": "b"}})
        assert changed.json() == {"public_metadata": {"tenant": "b"}, "private_metadata": {"customer": 4711}}
        assert (await root("GET", f"{path}/metadata")).json() == changed.json()
        assert (await root("PATCH", path, {"name": "Ada"})).json()["public_metadata"] == {"tenant": "b"}
        profile = (await api.get("/profile", headers=bearer(token))).json()
        assert (profile["name"], profile["public_metadata"]) == ("Ada", {"tenant": "b"})
        assert "disabled" in fields(await root("PATCH", path, {"name": "Ada", "disabled": True}))
        refused(await root("GET", "/admin/users/nobody/metadata"), 404, "not_found")
        refused(await root("PATCH", "/admin/users/nobody/metadata", {"public_metadata": {}}), 404, "not_found")


async def test_administrators_may_send_back_what_a_command_wrote(tmp_path: Path) -> None:
    """An object of many names was refused over HTTP, as a body that is no JSON; commands and imports take it."""
    async with administered(tmp_path) as (api, root):
        user = await api.register("ada")
        flags = {f"flag-{n}": True for n in range(200)}
        path = f"/admin/users/{user['id']}/metadata"
        for field in ("public_metadata", "private_metadata"):
            answer = await root("PATCH", path, {field: flags})
            assert (answer.status_code, answer.json()[field]) == (200, flags)
        assert fields(await root("PATCH", path, {"public_metadata": flags | {"": 1}})) == {"public_metadata": "key"}
