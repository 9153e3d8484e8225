"""F6: a GET request changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.e2e.client import bearer
from tests.features.api import Api


async def test_F6_no_get_request_changes_anything(api: Api) -> None:
    """Each documented GET, by a user who is logged in and by a stranger: no row changes and no cookie is set."""
    token = await api.newcomer()
    paths = [path for path, methods in (await api.get("/openapi.json")).json()["paths"].items() if "get" in methods]
    assert {"/profile", "/sessions", "/readyz"} <= set(paths)
    before = _dump(api)
    for path in paths:
        for headers in (bearer(token), {}):
            answer = await api.get(path, headers=headers, params={"wait": "0"} if path == "/revocations" else None)
            assert "set-cookie" not in answer.headers, path
    assert _dump(api) == before


def _dump(api: Api) -> list[str]:
    with closing(sqlite3.connect(f"file:{api.kernel.settings.database_path}?mode=ro", uri=True)) as reader:
        return list(reader.iterdump())
