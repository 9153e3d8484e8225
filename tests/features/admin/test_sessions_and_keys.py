"""Sessions and signing keys, by administrators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import bearer, refused
from tests.features.admin.scene import actors, administered, person
from watchword.identity.administration import Administration
from watchword.web.route import match_path

HOUR = 3600
DAY = 24 * HOUR


async def test_anyones_sessions_are_listed_and_ended(tmp_path: Path) -> None:
    """One, those of a user, all; a token of an ended one is refused at once."""
    async with administered(tmp_path) as (api, root):
        ada, bob = await person(api, "ada"), await person(api, "bob")
        tokens = [await api.elsewhere(agent=f"a{n}").log_in("ada") for n in range(3)]
        await api.elsewhere(agent="b").log_in("bob")
        whole = (await root("GET", "/admin/sessions")).json()
        assert [one["username"] for one in whole["items"]] == ["root", "ada", "ada", "ada", "bob"]
        assert "hash" not in str(whole)
        first = (await root("GET", f"/admin/sessions?limit=2&user={ada.id}")).json()
        rest = await root("GET", f"/admin/sessions?limit=2&user={ada.id}&cursor={first['next_cursor']}")
        hers = [*first["items"], *rest.json()["items"]]
        assert rest.json()["next_cursor"] is None
        assert hers == (await root("GET", f"/admin/users/{ada.id}/sessions")).json()["items"]
        assert [one["agent"] for one in hers] == ["a0", "a1", "a2"]
        one = f"/admin/sessions/{hers[0]['id']}"
        assert (await root("DELETE", one)).status_code == 204
        refused(await root("DELETE", one), 404, "not_found")
        refused(await api.get("/profile", headers=bearer(tokens[0])), 401, "token_revoked")
        assert (await api.get("/profile", headers=bearer(tokens[1]))).status_code == 200
        for _ in range(2):
            assert (await root("DELETE", f"/admin/users/{ada.id}/sessions")).status_code == 204
        refused(await api.get("/profile", headers=bearer(tokens[1])), 401, "token_revoked")
        assert await actors(api, "session_ended") == await actors(api, "sessions_ended") == [(root.user.id, ada.id)]
        assert len((await root("GET", f"/admin/users/{bob.id}/sessions")).json()["items"]) == 1


@pytest.mark.parametrize(
    "named", ["%00", "a%00b", "%0A", "%C2%85", "'", "x" * 1000, "0189000G-0000-7000-8000-000000000000"]
)
async def test_no_database_is_asked_for_what_is_no_id(
    tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL takes no NUL in a text: it was a 500 there."""
    asked: list[str] = []

    async def asking(_: Administration, session_id: str) -> None:
        asked.append(session_id)

    monkeypatch.setattr(Administration, "end_session", asking)
    async with administered(tmp_path) as (_, root):
        refused(await root("DELETE", f"/admin/sessions/{named}"), 404, "not_found")
    assert asked == []


@pytest.mark.parametrize("named", ["\0", "a\0b", "\n", "\x85", "\u2028", "\ud800"])
def test_no_path_has_a_parameter_that_cannot_be_printed(named: str) -> None:
    """⚑ Whatever route is added: what the database cannot hold does not reach it."""
    pattern = ("", "admin", "apis", "{name}")
    assert match_path(pattern, ["", "admin", "apis", "orders é"]) == {"name": "orders é"}
    assert match_path(pattern, ["", "admin", "apis", named]) is None


async def test_keys_are_listed_and_rotated(tmp_path: Path) -> None:
    """As by command: one that no verifier can know yet only when it is said; this process signs with it at once."""
    async with administered(tmp_path) as (api, root):
        await api.kernel.keys.follow_schedule()
        keys = (await root("GET", "/admin/keys")).json()["items"]
        keys.sort(key=lambda one: one["status"])
        assert [one["status"] for one in keys] == ["active", "next"]
        assert not {"sealed_private", "private", "d", "public_jwk"} & set(keys[0])
        refused(await root("POST", "/admin/keys/rotate", {}), 409, "key_too_new")
        answer = await root("POST", "/admin/keys/rotate", {"early": True})
        assert answer.json() == {"signing": keys[1]["kid"], "retired": keys[0]["kid"]}
        assert api.kernel.keys.ring.signing.kid == keys[1]["kid"]
        assert (await root("GET", "/admin/users")).status_code == 200, "tokens of the retired key stay good"
        assert (await actors(api, "key_activated"))[-1] == (root.user.id, None)
        assert (await actors(api, "key_retired"))[-1] == (root.user.id, None)


async def test_a_key_of_a_day_rotates_without_a_word(tmp_path: Path) -> None:
    """The administrator logs in again for that."""
    async with administered(tmp_path) as (api, root):
        await api.kernel.keys.follow_schedule()
        api.clock.advance(DAY + HOUR)
        root.token = await root.desk.log_in("root")
        assert (await root("POST", "/admin/keys/rotate", {})).status_code == 200


async def test_revoked_keys_refuse_their_tokens(tmp_path: Path) -> None:
    """The administrator's own too, who refreshes as everyone does."""
    async with administered(tmp_path) as (api, root):
        await api.kernel.keys.follow_schedule()
        kid = api.kernel.keys.ring.signing.kid
        refused(await root("POST", "/admin/keys/revoke", {"kid": "unknown"}), 404, "not_found")
        for body in ({}, {"kid": kid, "all": True}, {"all": False}):
            refused(await root("POST", "/admin/keys/revoke", body), 422, "invalid_input")
        answer = await root("POST", "/admin/keys/revoke", {"kid": kid})
        assert answer.json()["revoked"] == [kid]
        assert answer.json()["signing"] == [api.kernel.keys.ring.signing.kid]
        refused(await root("GET", "/admin/keys"), 401, "token_revoked")
        root.token = (await root.desk.post("/refresh")).json()["access_token"]
        assert (await root("GET", "/admin/keys")).status_code == 200
        assert await actors(api, "key_revoked") == [(root.user.id, None)]


async def test_with_a_shared_secret_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    """Nor would revoking all keys refuse anything, so it is not said to have."""
    async with administered(tmp_path, jwt_secret="k3Yd0bq1Zx9vTn5cRw7bLp3xGd9hMz1a") as (_, root):
        refused(await root("POST", "/admin/keys/rotate", {"early": True}), 409, "conflict")
        refused(await root("POST", "/admin/keys/revoke", {"all": True}), 409, "conflict")
