"""Rights of administrators are taken by no one who does not have them (J13, E-11, H12, F8)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import COOKIE, PASSWORD, bearer, refused
from tests.features.admin.scene import Admin, admin, administered, person
from tests.features.api import Api, served
from watchword.app import features
from watchword.errors import WatchwordError
from watchword.identity.administration import Administration
from watchword.web.route import AccessToken, Route


def _routes(api: Api) -> list[Route]:
    return [route for each in features(api.kernel) if each.name == "admin" for route in each.routes]


def _guarded(api: Api) -> list[Route]:
    return [route for route in _routes(api) if isinstance(route.access, AccessToken)]


async def _send(api: Api, route: Route, target: str, **options: Any) -> Any:
    path = route.path.replace("{id}", target).replace("{kid}", "x")
    body = {} if route.example is None else {"json": _plain(route.example)}
    return await api.request(route.method, path, **body, **options)


def _plain(example: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(example)


async def test_j13_every_route_asks_for_the_role_and_a_recent_log_in(tmp_path: Path) -> None:
    """But for the one that makes the first administrator. A new route is asked here too."""
    async with served(tmp_path) as api:
        open_routes = [route.path for route in _routes(api) if not isinstance(route.access, AccessToken)]
        assert open_routes in ([], ["/admin/first"])
        for route in _guarded(api):
            assert isinstance(route.access, AccessToken)
            assert (route.access.roles, route.access.max_age) == (("admin",), 900), route.path
            assert "admin" in route.limits, route.path


async def test_j13_look_alikes_of_the_role_open_nothing(tmp_path: Path) -> None:
    """Nor do no token, another kind of credential, and a token in another place."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada", "Admin", "ADMIN", "admin.", "admins", "xadmin", "ad-min")
        token = await api.log_in("ada")
        cookie = api.cookies[COOKIE]
        for route in _guarded(api):
            refused(await _send(api, route, ada.id, headers=bearer(token)), 403, "role_missing")
            refused(await _send(api, route, ada.id), 401, "token_missing")
            refused(await _send(api, route, ada.id, headers={"Cookie": f"{COOKIE}={cookie}"}), 401, "token_missing")
            refused(await _send(api, route, ada.id, params={"access_token": root.token}), 401, "token_missing")
            refused(await _send(api, route, ada.id, headers=bearer(cookie)), 401, "token_malformed")
        assert (await root("GET", f"/admin/users/{ada.id}")).json()["roles"] == sorted(ada.roles)


@pytest.mark.parametrize(
    "role", ["admin ", " admin", "admin\n", "admin\u200b", "аdmin", "ａｄｍｉｎ", "admin reader", ""]
)
async def test_no_role_can_be_made_that_reads_like_it(tmp_path: Path, role: str) -> None:
    """Of Cyrillic or wide letters, with spaces, or empty."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada")
        refused(await root("PUT", f"/admin/users/{ada.id}/roles", {"roles": [role]}), 422, "invalid_input")


async def test_no_one_gives_themselves_the_role(tmp_path: Path) -> None:
    """Not by registering, and not by the profile; by JSON, form and query."""
    async with served(tmp_path) as api:
        for extra in ({"roles": ["admin"]}, {"role": "admin"}, {"is_admin": True}):
            body = {"username": "eve", "password": PASSWORD, **extra}
            refused(await api.post("/register", json=body), 422, "invalid_input")
        refused(await api.post("/register", data={"username": "eve", "roles": "admin"}), 415, "unsupported_media_type")
        await api.post("/register?roles=admin", json={"username": "eve", "password": PASSWORD})
        token = await api.log_in("eve")
        refused(await api.as_bearer("PATCH", "/profile", token, json={"roles": ["admin"]}), 422, "invalid_input")
        await api.as_bearer("PATCH", "/profile?roles=admin", token, json={"username": "eve2"})
        assert (await api.as_bearer("GET", "/profile", token)).json()["roles"] == []
        refused(await api.as_bearer("GET", "/admin/users", await api.log_in("eve2")), 403, "role_missing")


async def test_an_administrator_of_a_moment_ago_is_refused(tmp_path: Path) -> None:
    """Although this process has not heard of it: each request asks the database (E-8)."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada")
        run = api.kernel.database.run
        for change, undo in (
            ("roles = ''", "roles = 'admin'"),
            ("disabled_at = 1", "disabled_at = NULL"),
            ("token_version = token_version + 1", "token_version = token_version - 1"),
        ):
            assert (await root("GET", "/admin/users")).status_code == 200
            await run(f"UPDATE ww_users SET {change} WHERE id = :id", id=root.user.id)
            for route in _guarded(api):
                answer = await _send(api, route, ada.id, headers=bearer(root.token))
                assert answer.status_code in (401, 403), (route.path, answer.text)
            await run(f"UPDATE ww_users SET {undo} WHERE id = :id", id=root.user.id)
        await run("UPDATE ww_sessions SET ended_at = 1 WHERE user_id = :id", id=root.user.id)
        refused(await root("GET", "/admin/users"), 401, "token_revoked")
        assert (await api.kernel.users.find(ada.id)) == ada, "nothing has changed"


async def test_the_role_is_asked_for_again_in_the_change_itself(tmp_path: Path) -> None:
    """It may be taken between the look and the unit: each method of `Administration` checks first."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada")
        await api.log_in("ada")
        (session,) = await api.kernel.sessions.page(ada.id)

        async def no_more(_: object) -> None:
            raise WatchwordError("not any more")

        may = Administration(api.kernel, client=_client(), actor=root.user.id, check=no_more)
        before = await _everything(api)
        for change in (
            may.create(username="x", email=None, password=PASSWORD),
            may.create(username=None, email="x@example.org", password=None),
            may.disable(ada.id),
            may.enable(ada.id),
            may.set_password(ada, "velvet-anchor-ripple"),
            may.invite(ada),
            may.rename(ada, username="x", email=None),
            may.change_roles(ada.id, lambda _: frozenset({"admin"})),
            may.delete(ada),
            may.end_sessions(ada),
            may.end_session(session.id),
        ):
            with pytest.raises(WatchwordError, match="not any more"):
                await change
        assert await _everything(api) == before


def _client() -> Any:
    from tests.identity.scenes import HOME

    return HOME


async def _everything(api: Api) -> list[list[object]]:
    tables = ("ww_users", "ww_sessions", "ww_audit", "ww_outbox", "ww_one_time", "ww_revocations")
    return [[list(row) for row in await api.kernel.database.scan(f"SELECT * FROM {table}")] for table in tables]


async def test_a_log_in_of_an_hour_ago_is_not_enough(tmp_path: Path) -> None:
    """Nor is a refresh; the challenge says how recent it must be (RFC 9470)."""
    async with administered(tmp_path, access_lifetime="1h") as (api, root):
        api.clock.advance(15 * 60)
        assert (await root("GET", "/admin/users")).status_code == 200
        api.clock.advance(1)
        answer = await root("GET", "/admin/users")
        refused(answer, 401, "reauthentication_required")
        challenge = answer.headers["www-authenticate"]
        assert 'error="insufficient_user_authentication"' in challenge
        assert 'max_age="900"' in challenge
        refreshed = (await root.desk.post("/refresh")).json()["access_token"]
        refused(await api.as_bearer("GET", "/admin/users", refreshed), 401, "reauthentication_required")
        again = await api.log_in("root")
        assert (await api.as_bearer("GET", "/admin/users", again)).status_code == 200


async def test_no_administrator_takes_away_their_own_rights(tmp_path: Path) -> None:
    """Neither the last one nor another: so there always is one."""
    async with administered(tmp_path) as (api, root):
        await person(api, "second", "admin")
        own = f"/admin/users/{root.user.id}"
        refused(await root("PATCH", own, {"disabled": True}), 409, "own_account")
        refused(await root("DELETE", own), 409, "own_account")
        for roles in ([], ["reader"], ["Admin"]):
            refused(await root("PUT", f"{own}/roles", {"roles": roles}), 409, "own_account")
        refused(await root("DELETE", "/profile", {"password": PASSWORD}), 409, "own_account")
        assert (await root("PUT", f"{own}/roles", {"roles": ["admin", "reader"]})).status_code == 200


async def test_administrators_who_demote_each_other_leave_one(tmp_path: Path) -> None:
    """However the requests meet."""
    async with served(tmp_path) as api:
        for number in range(8):
            pair = [await admin(api, f"a{number}"), await admin(api, f"b{number}")]
            answers = await asyncio.gather(*(_demote(one, other) for one, other in (pair, pair[::-1])))
            assert sorted(answers) != [200, 200]
            left = [await api.kernel.users.find(one.user.id) for one in pair]
            assert ["admin" in one.roles for one in left if one is not None].count(True) == 1


async def _demote(one: Admin, other: Admin) -> int:
    return (await one("PUT", f"/admin/users/{other.user.id}/roles", {"roles": []})).status_code


async def test_j6_forged_cursors_are_refused(tmp_path: Path) -> None:
    """Changed, made up, of other filters, of another list, with SQL in it."""
    async with administered(tmp_path) as (api, root):
        for number in range(3):
            await person(api, f"user{number}", "reader")
        real = (await root("GET", "/admin/users?limit=1&role=reader")).json()["next_cursor"]
        assert (await root("GET", f"/admin/users?limit=1&role=reader&cursor={real}")).status_code == 200
        flipped = ("A" if real[-2] != "A" else "B").join((real[:-2], real[-1]))
        for forged in (flipped, real[:-4], real + "AAAA", real * 40, "x", "' OR 1=1 --", "%00", root.user.id, "AAAA"):
            answer = await root("GET", "/admin/users", params={"limit": "1", "role": "reader", "cursor": forged})
            assert answer.status_code in (400, 422), forged
        for query in ("", "role=admin&", "search=user&role=reader&"):
            refused(await root("GET", f"/admin/users?{query}cursor={real}"), 422, "invalid_input")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=-1", "limit=1e2", "limit=٣", "disabled=yes", "verified=1", "is_admin=true",
              "search=" + "a" * 256, "order=password_hash"],
)  # fmt: skip
async def test_lists_are_bounded_and_know_their_parameters(tmp_path: Path, query: str) -> None:
    """What is not known is refused, not ignored."""
    async with administered(tmp_path) as (_, root):
        refused(await root("GET", f"/admin/users?{query}"), 422, "invalid_input")


async def test_ids_of_other_kinds_find_nothing(tmp_path: Path) -> None:
    """A session's id, a username, a key's id, a long one, one with a NUL."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada")
        (session,) = await api.kernel.sessions.page(root.user.id)
        kid = api.kernel.keys.ring.signing.kid
        for wrong in (session.id, "ada", kid, "x" * 300, "%00", "..%2Fusers", f"{ada.id}%00", ada.id.upper()):
            for route in _guarded(api):
                if route.path.startswith("/admin/users/{id}"):
                    answer = await _send(api, route, wrong, headers=bearer(root.token))
                    assert answer.status_code == 404, (route.path, wrong, answer.text)
        assert await api.kernel.users.find(ada.id) == ada


async def test_no_other_method_is_meant(tmp_path: Path) -> None:
    """A header or a parameter that names another one is not read."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada")
        path = f"/admin/users/{ada.id}"
        for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
            assert (await api.get(path, headers={**bearer(root.token), header: "DELETE"})).status_code == 200
        assert (await root("GET", f"{path}/")).status_code == 404
        assert (await root("GET", path, params={"_method": "DELETE"})).status_code == 200
        refused(await root("POST", path), 405, "method_not_allowed")
        assert await api.kernel.users.find(ada.id) == ada


async def test_c6_requests_of_an_administrator_are_limited(tmp_path: Path) -> None:
    """A stolen token copies no long list."""
    async with administered(tmp_path, admin_limit="3/1h") as (_, root):
        answers = [(await root("GET", "/admin/users")).status_code for _ in range(5)]
        assert answers == [200, 200, 200, 429, 429]


async def test_f8_a_foreign_page_has_nothing_to_send(tmp_path: Path) -> None:
    """Cookies do nothing here; with a token the origin does not matter, and it is not told to others."""
    async with administered(tmp_path) as (api, root):
        foreign = {"Origin": "https://evil.example"}
        refused(await api.post("/admin/users", json={}, headers=foreign), 401, "token_missing")
        answer = await api.get("/admin/users", headers={**bearer(root.token), **foreign})
        assert "access-control-allow-origin" not in answer.headers, "its page cannot read this"
        preflight = await api.request(
            "OPTIONS", "/admin/users", headers={**foreign, "Access-Control-Request-Method": "POST"}
        )
        assert "access-control-allow-origin" not in preflight.headers
