"""Fixtures: services of every algorithm, and what the Node libraries made of their tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fixtures import serve
from tests.interop import npm
from tests.interop.issued import Issued, start_all

__all__ = ["issued", "node", "read_by_node", "serve"]


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Issued]]:
    """A service and a token for each algorithm."""
    made = start_all(tmp_path_factory.mktemp("issued"))
    yield made
    for one in made.values():
        assert one.server.stop() == 0, one.server.log()


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder of the Node scripts, with their packages."""
    folder = Path(__file__).with_name("node")
    npm.install(folder)
    return folder


@pytest.fixture(scope="session")
def read_by_node(node: Path, issued: dict[str, Issued]) -> Any:
    """Library, algorithm, name of a reading: the user whom the library found, or None where it refused."""
    return npm.run(node / "reading.mjs", [one.case() for one in issued.values()])
