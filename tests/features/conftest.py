"""Fixtures: the service in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.features.api import Api, served
from watchword.identity.keys import store


@pytest.fixture(autouse=True)
def heard_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a new key sign without the seconds in which others learn of it: no one else is there."""
    monkeypatch.setattr(store, "HEARD_SECONDS", 0)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with served(tmp_path) as one:
        yield one
