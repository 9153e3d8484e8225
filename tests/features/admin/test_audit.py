"""The audit trail, for administrators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import refused
from tests.features.admin.scene import Admin, administered, person
from watchword.clock import rfc3339


async def listed(root: Admin, query: str) -> list[tuple[str, str, str | None]]:
    """Event, outcome and actor of each record, newest first, two at a time."""
    found, cursor = list[tuple[str, str, str | None]](), ""
    while True:
        answer = await root("GET", f"/admin/audit?limit=2{query}{cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= 2
        found += [(one["event"], one["outcome"], one["actor_id"]) for one in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_what_happened_is_found(tmp_path: Path) -> None:
    """By user, event, outcome and time; a page does not shift when more is recorded meanwhile."""
    async with administered(tmp_path) as (api, root):
        ada = await person(api, "ada")
        await api.post("/login", json={"username": "ada", "password": "wrong-wrong"})
        api.clock.advance(60)
        later = rfc3339(api.clock.now())
        await root("PATCH", f"/admin/users/{ada.id}", {"disabled": True})
        about = f"&user={ada.id}"
        assert await listed(root, about) == [
            ("user_disabled", "ok", root.user.id),
            ("log_in", "refused", None),
            ("user_created", "ok", ada.id),
        ]
        assert await listed(root, f"{about}&event=log_in") == [("log_in", "refused", None)]
        assert await listed(root, "&outcome=refused") == [("log_in", "refused", None)]
        assert await listed(root, f"&since={later}") == [("user_disabled", "ok", root.user.id)]
        assert ("user_disabled", "ok", root.user.id) not in await listed(root, f"&until={later}")
        assert ("user_disabled", "ok", root.user.id) in await listed(root, f"&user={root.user.id}")
        assert len(await listed(root, "")) > 4
        request = (await root("GET", f"/admin/audit?event=user_disabled{about}")).json()["items"][0]["request_id"]
        assert await listed(root, f"&request_id={request}") == [("user_disabled", "ok", root.user.id)]


@pytest.mark.parametrize("query", ["since=yesterday", "until=1e99", "since=99999-01-01", "cursor=x", "order=id"])
async def test_what_cannot_be_read_is_refused(tmp_path: Path, query: str) -> None:
    """And nothing is guessed."""
    async with administered(tmp_path) as (_, root):
        refused(await root("GET", f"/admin/audit?{query}"), 422, "invalid_input")


async def test_a_cursor_of_another_list_is_none(tmp_path: Path) -> None:
    """Though it is ours."""
    async with administered(tmp_path) as (api, root):
        for number in range(3):
            await person(api, f"user{number}")
        for number in range(2):
            await api.elsewhere(agent=f"a{number}").log_in("user0")
        cursors = {}
        for path in ("/admin/users", "/admin/sessions", "/admin/audit"):
            cursors[path] = (await root("GET", f"{path}?limit=1")).json()["next_cursor"]
            assert cursors[path] is not None
        for path in cursors:
            for of, cursor in cursors.items():
                answer = await root("GET", f"{path}?limit=1&cursor={cursor}")
                assert answer.status_code == (200 if of == path else 422), (path, of)
