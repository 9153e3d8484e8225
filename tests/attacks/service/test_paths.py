"""What stands in a path in place of an id (J4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import refused
from tests.features.admin.scene import administered
from watchword.app import features


@pytest.mark.parametrize("odd", ["%00", "a%00", "%00a"])
async def test_j4_a_nul_in_a_path_names_nothing(tmp_path: Path, odd: str) -> None:
    """⚑ On PostgreSQL an administrator got 500 for it, since no text there may have one."""
    async with administered(tmp_path) as (api, root):
        routes = [route for each in features(api.kernel) for route in each.routes if "{" in route.path]
        assert len(routes) > 10
        for route in routes:
            path = "/".join(odd if part[:1] == "{" else part for part in route.path.split("/"))
            refused(await api.as_bearer(route.method, path, root.token), 404, "not_found")
