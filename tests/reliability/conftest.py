"""Long tests: run by `make reliability`, or when this folder is named; `make test` leaves them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.fixtures import serve

__all__ = ["serve"]
HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out unless the command line names it or something in it."""
    named = (Path(argument.partition("::")[0]).resolve() for argument in config.args)
    return None if any(path.is_relative_to(HERE) for path in named) else True
