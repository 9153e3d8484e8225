"""What a user sees of their own audit records."""

from __future__ import annotations

import json

import pytest

from tests.e2e.client import PASSWORD, refused
from tests.features.api import Api
from tests.identity.scenes import HOME, join
from watchword.features.activity.service import PAGE
from watchword.identity import audit
from watchword.identity.administration import Administration, unchecked
from watchword.storage.database import Tx


async def seen(api: Api, token: str, cursor: str = "") -> dict[str, object]:
    answer = await api.as_bearer("GET", f"/profile/activity{f'?cursor={cursor}' if cursor else ''}", token)
    assert answer.status_code == 200
    found: dict[str, object] = answer.json()
    return found


async def test_a_user_sees_what_happened(api: Api) -> None:
    """Newest first, failed log-ins too, from where; no secret, no request id, no detail, nothing of others."""
    token = await api.newcomer()
    api.cookies.clear()
    await api.newcomer()
    assert (await api.post("/login", json={"username": "nobody", "password": PASSWORD})).status_code == 401
    name = (await api.as_bearer("GET", "/profile", token)).json()["username"]
    assert (await api.post("/login", json={"username": name, "password": "wrong"})).status_code == 401
    found = await seen(api, token)
    items = found["items"]
    assert isinstance(items, list)
    assert [(one["event"], one["outcome"]) for one in items] == [
        ("log_in", "refused"), ("log_in", "ok"), ("user_created", "ok"),
    ]  # fmt: skip
    assert {one["address"] for one in items} == {"127.0.0.1"}
    assert set(items[0]) == {"id", "at", "event", "outcome", "address", "agent", "session_id"}
    assert found["next_cursor"] is None
    assert token not in json.dumps(found)


async def test_pages_meet_without_a_gap(api: Api) -> None:
    """Records written meanwhile come before the first page, and change no later one."""
    token = await api.newcomer()
    user = (await api.as_bearer("GET", "/profile", token)).json()["id"]

    async def unit(tx: Tx) -> None:
        for _ in range(2 * PAGE):
            await audit.record(tx, "confirm", at=1, client=HOME, outcome="refused", user=user)

    await api.kernel.database.transact(unit)
    first = await seen(api, token)
    await api.kernel.database.transact(unit)
    second = await seen(api, token, str(first["next_cursor"]))
    third = await seen(api, token, str(second["next_cursor"]))
    pages = [page["items"] for page in (first, second, third)]
    assert [len(page) for page in pages] == [PAGE, PAGE, 2]  # type: ignore[arg-type]
    ids = [one["id"] for page in pages for one in page]  # type: ignore[attr-defined]
    assert (ids, third["next_cursor"]) == (sorted(set(ids), reverse=True), None)


async def test_another_users_device_is_not_shown(api: Api) -> None:
    """What an administrator did to the account is told, and not from where."""
    admin = await join(api.kernel, "admin")
    token = await api.newcomer()
    user = (await api.as_bearer("GET", "/profile", token)).json()["id"]
    found = await api.kernel.users.find(user)
    assert found is not None
    await Administration(api.kernel, client=HOME, actor=admin.id, check=unchecked).rename(
        found, username="renamed", email=None
    )

    async def unit(tx: Tx) -> None:
        await audit.record(tx, "roles_changed", at=1, client=HOME, actor=admin.id, user=user)

    await api.kernel.database.transact(unit)
    items = (await seen(api, token))["items"]
    assert isinstance(items, list)
    assert (items[0]["event"], items[0]["address"], items[0]["agent"]) == ("roles_changed", "", "")
    assert admin.id not in json.dumps(items)


@pytest.mark.parametrize("cursor", ["x", "~", "' OR 1=1", "0" * 36 + "0", "-" * 35, "Z" * 36])
async def test_J6_a_forged_cursor_is_refused(api: Api, cursor: str) -> None:
    """It has the form of an id, or it does not reach the database."""
    token = await api.newcomer()
    refused(await api.as_bearer("GET", f"/profile/activity?cursor={cursor}", token), 422, "invalid_input")


async def test_J13_a_cursor_of_another_user_shows_only_ones_own(api: Api) -> None:
    """It is a place, and no right."""
    mine = await api.newcomer()
    api.cookies.clear()
    theirs = await api.newcomer()
    items = (await seen(api, theirs))["items"]
    assert isinstance(items, list)
    shown = (await seen(api, mine, items[0]["id"]))["items"]
    assert isinstance(shown, list)
    own = (await seen(api, mine))["items"]
    assert isinstance(own, list)
    assert [one["id"] for one in shown] == [one["id"] for one in own]


async def test_without_a_token(api: Api) -> None:
    """401."""
    refused(await api.get("/profile/activity"), 401, "token_missing")
