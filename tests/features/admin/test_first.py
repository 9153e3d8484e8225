"""The first administrator (D15)."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from tests.e2e.client import PASSWORD, refused
from tests.features.admin.scene import person
from tests.features.api import Api, served
from watchword.identity.first_administrator import FirstAdministrator


async def offered(api: Api) -> str:
    """What the service would print."""
    token = await FirstAdministrator(api.kernel).offer()
    assert token is not None
    return token


def body(token: str, name: str = "ada", **more: str) -> dict[str, str]:
    return {"token": token, "username": name, "password": PASSWORD, **more}


async def test_the_first_administrator_is_made_by_what_the_service_printed(tmp_path: Path) -> None:
    """Once; then nothing is offered any more; the database holds no token."""
    async with served(tmp_path) as api:
        token = await offered(api)
        rows = [list(row) for row in await api.kernel.database.scan("SELECT * FROM ww_one_time")]
        assert token not in str(rows)
        made = await api.post("/admin/first", json=body(token))
        assert made.status_code == 201, made.text
        assert made.json()["roles"] == ["admin"]
        assert (await api.as_bearer("GET", "/admin/users", await api.log_in("ada"))).status_code == 200
        refused(await api.post("/admin/first", json=body(token, "bob")), 400, "one_time_invalid")
        assert await FirstAdministrator(api.kernel).offer() is None


async def test_64_tries_at_once_make_one(tmp_path: Path) -> None:
    """With one token or with several, of several starts."""
    for number, count in enumerate((1, 4)):
        async with served(tmp_path / str(number)) as api:
            tokens = [await offered(api) for _ in range(count)]
            tries = [api.post("/admin/first", json=body(tokens[n % count], f"user{n}")) for n in range(64)]
            codes = Counter(answer.status_code for answer in await asyncio.gather(*tries))
            assert codes[201] == 1, codes
            assert set(codes) <= {201, 400, 409, 503}
            users = await api.kernel.database.scan("SELECT roles FROM ww_users")
            assert [row["roles"] for row in users] == ["admin"]


async def test_it_is_of_no_use_beside_an_administrator(tmp_path: Path) -> None:
    """One who was made meanwhile. ⚑ Disabling them made the link work again, and each start printed another."""
    async with served(tmp_path) as api:
        token = await offered(api)
        root = await person(api, "root", "admin")
        refused(await api.post("/admin/first", json=body(token)), 409, "conflict")
        await api.kernel.database.run("UPDATE ww_users SET disabled_at = 1 WHERE id = :id", id=root.id)
        refused(await api.post("/admin/first", json=body(token)), 409, "conflict")
        assert await FirstAdministrator(api.kernel).offer() is None


async def test_other_links_do_not_come_back_to_life(tmp_path: Path) -> None:
    """⚑ Whatever becomes of the administrator whom another one made; a new link works."""
    async with served(tmp_path) as api:
        first, other = await offered(api), await offered(api)
        made = await api.post("/admin/first", json=body(first))
        assert made.status_code == 201
        await api.kernel.database.run("DELETE FROM ww_users WHERE id = :id", id=made.json()["id"])
        for token in (first, other):
            refused(await api.post("/admin/first", json=body(token, "eve")), 400, "one_time_invalid")
        assert (await api.post("/admin/first", json=body(await offered(api), "bob"))).status_code == 201


async def test_it_ends_after_half_an_hour(tmp_path: Path) -> None:
    """To the second; and a link of another kind is none."""
    async with served(tmp_path) as api:
        token = await offered(api)
        refused(
            await api.post("/password/reset", json={"token": token, "new_password": PASSWORD}), 400, "one_time_invalid"
        )
        api.clock.advance(1800)
        refused(await api.post("/admin/first", json=body(token)), 400, "one_time_invalid")
        for forged in ("", "wwl_" + "A" * 43, token[:-1], token + "x", "x" * 4000):
            refused(await api.post("/admin/first", json=body(forged)), 400, "one_time_invalid")


async def test_what_is_refused_does_not_use_it_up(tmp_path: Path) -> None:
    """A taken name, a weak password, a role of one's own choice."""
    async with served(tmp_path) as api:
        token = await offered(api)
        await api.register("taken")
        refused(await api.post("/admin/first", json=body(token, "taken")), 409, "username_taken")
        refused(await api.post("/admin/first", json=body(token, password="short")), 422, "invalid_input")
        refused(await api.post("/admin/first", json=body(token, roles="x")), 422, "invalid_input")
        assert (await api.post("/admin/first", json=body(token))).status_code == 201


async def test_the_link_opens_a_page_that_changes_nothing_until_its_button_is_pressed(tmp_path: Path) -> None:
    """However often it is opened; the button makes the account once, and tells what is wrong with a name."""
    async with served(tmp_path) as api:
        token = await offered(api)
        before = await api.kernel.database.scan("SELECT * FROM ww_users")
        for _ in range(3):
            page = await api.get(f"/links/{token}")
            assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert 'name="username"' in page.text
        assert await api.kernel.database.scan("SELECT * FROM ww_users") == before
        wrong = await api.post(f"/links/{token}", data={"username": "a b", "new_password": PASSWORD})
        assert (wrong.status_code, 'role="alert"' in wrong.text, 'value="a b"' in wrong.text) == (422, True, True)
        form = {"username": "ada", "new_password": PASSWORD}
        made = await api.post(f"/links/{token}", data=form)
        assert (made.status_code, "The account is made." in made.text) == (200, True)
        assert "set-cookie" not in made.headers
        assert (await api.as_bearer("GET", "/admin/users", await api.log_in("ada"))).status_code == 200
        assert (await api.post(f"/links/{token}", data=form | {"username": "bob"})).status_code == 404
        assert (await api.get(f"/links/{token}")).status_code == 404


async def test_64_presses_of_the_button_make_one(tmp_path: Path) -> None:
    """Mixed with requests that do without a browser."""
    async with served(tmp_path) as api:
        token = await offered(api)
        pages = [
            api.post(f"/links/{token}", data={"username": f"user{number}", "new_password": PASSWORD})
            for number in range(32)
        ]
        requests = [api.post("/admin/first", json=body(token, f"other{number}")) for number in range(32)]
        codes = Counter(answer.status_code for answer in await asyncio.gather(*pages, *requests))
        assert codes[200] + codes[201] == 1, codes
        assert set(codes) <= {200, 201, 400, 404, 409, 503}, codes
        users = await api.kernel.database.scan("SELECT roles FROM ww_users")
        assert [row["roles"] for row in users] == ["admin"]


async def test_there_is_no_page_where_administration_is_off(tmp_path: Path) -> None:
    """A link from before is worth nothing then."""
    async with served(tmp_path) as api:
        token = await offered(api)
    async with served(tmp_path, admin=False) as api:
        form = {"username": "ada", "new_password": PASSWORD}
        assert (await api.get(f"/links/{token}")).status_code == 404
        assert (await api.post(f"/links/{token}", data=form)).status_code == 404
        assert await api.kernel.database.scan("SELECT * FROM ww_users") == []
