"""Fixtures: the service in this process, on each engine where the database decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.features.api import Api, served
from tests.identity.conftest import SECRET
from tests.postgres import Databases


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with served(tmp_path) as one:
        yield one


@pytest.fixture(params=["sqlite", "postgres"])
def located(request: pytest.FixtureRequest, postgres: Callable[[int], Databases]) -> Iterator[dict[str, str]]:
    """The settings that say where this test's database is."""
    if request.param == "sqlite":
        yield {}
        return
    with postgres(18).lent() as url:
        yield {"database_url": url, "secret": SECRET}
