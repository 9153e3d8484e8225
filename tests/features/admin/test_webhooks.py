"""Webhooks, by administrators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import refused
from tests.features.admin.scene import actors, administered
from tests.webhooks.receiving import receiving
from watchword.identity.audit import LOCAL
from watchword.identity.granting import Operation, unchecked

URL = "https://hooks.invalid/x"


async def test_an_endpoint_from_adding_to_removing(tmp_path: Path) -> None:
    """The secret is shown once; each change names the administrator."""
    async with administered(tmp_path) as (api, root):
        assert (await root("GET", "/admin/webhooks")).json() == {"items": []}
        made = await root("POST", "/admin/webhooks", {"url": URL, "events": ["user.*", "session.reused"]})
        assert made.status_code == 201
        secret, one = made.json()["secret"], made.json()["webhook"]
        assert secret.startswith("whsec_")
        assert (one["url"], one["events"], one["private"]) == (URL, ["user.*", "session.reused"], False)
        listed = await root("GET", "/admin/webhooks")
        assert listed.json() == {"items": [one]}
        assert "whsec_" not in listed.text
        path = f"/admin/webhooks/{one['id']}"
        again = await root("POST", path + "/secret", {"at_once": True})
        assert again.json()["secret"].startswith("whsec_")
        assert again.json()["secret"] != secret
        assert (await root("POST", path + "/enable")).json() == one
        assert (await root("DELETE", path)).status_code == 204
        refused(await root("DELETE", path), 404, "not_found")
        for event in ("created", "secret_rotated", "enabled", "removed"):
            assert await actors(api, f"webhook_{event}") == [(root.user.id, None)]


async def test_what_was_given_up_is_listed_and_sent_again(tmp_path: Path) -> None:
    """An event that tries the endpoint goes the way of all."""
    async with administered(tmp_path) as (api, root):
        with receiving() as receiver:
            made, _ = await api.kernel.webhooks.add(
                receiver.url, ("user.*",), private=True, by=Operation(LOCAL, None, unchecked)
            )
            path = f"/admin/webhooks/{made.id}"
            tried = await root("POST", path + "/test")
            assert tried.status_code == 202
            await api.kernel.database.run("UPDATE ww_deliveries SET failed_at = 1, fault = 'it answered 500'")
            (failed,) = (await root("GET", path + "/failed")).json()["items"]
            assert (failed["id"], failed["type"], failed["user_id"]) == (tried.json()["event_id"], "webhook.test", None)
            assert (await root("POST", path + "/retry", {"id": "evt_other"})).json() == {"sent_again": 0}
            assert (await root("POST", path + "/retry")).json() == {"sent_again": 1}, "without a body: all"
            await api.kernel.teller.turn([made.id], lambda error: pytest.fail(repr(error)))
            await api.kernel.teller.finish()
            assert [got.id for got in receiver.taken if got.type == "webhook.test"] == [failed["id"]]


REFUSED = (
    "http://127.0.0.1:9/", "https://127.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/", "https://[::1]/",
    "http://hooks.invalid/", "file:///etc/passwd", "https://u:p@hooks.invalid/",
)  # fmt: skip


async def test_J16_no_administrator_reaches_into_the_network(tmp_path: Path) -> None:
    """Private networks are for an operator's command: no field of the request opens them."""
    async with administered(tmp_path) as (api, root):
        for url in REFUSED:
            for more in ({}, {"private": True}, {"private_at": 1}):
                body = {"url": url, "events": ["*"], **more}
                refused(await root("POST", "/admin/webhooks", body), 422, "invalid_input")
        assert await api.kernel.webhooks.all() == []


async def test_what_is_amiss_is_said(tmp_path: Path) -> None:
    """Unknown events, a URL that there is, an unknown endpoint."""
    async with administered(tmp_path) as (_, root):
        for wanted in ([], ["user.born"], ["user.*"] * 3 + ["nothing"]):
            refused(await root("POST", "/admin/webhooks", {"url": URL, "events": wanted}), 422, "invalid_input")
        assert (await root("POST", "/admin/webhooks", {"url": URL, "events": ["*"]})).status_code == 201
        refused(await root("POST", "/admin/webhooks", {"url": URL, "events": ["*"]}), 409, "name_taken")
        none = "/admin/webhooks/none"
        refused(await root("GET", none + "/failed"), 404, "not_found")
        for path, body in (("/retry", {}), ("/secret", {}), ("/enable", None), ("/test", None)):
            refused(await root("POST", none + path, body), 404, "not_found")
