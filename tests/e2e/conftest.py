"""Fixtures: the service as a process of its own. The one that these tests share is started as people start it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.fixtures import client, serve, shared
from tests.e2e.server import Installed, Server

__all__ = ["client", "serve"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with shared(tmp_path_factory.mktemp("server"), Installed) as running:
        yield running
