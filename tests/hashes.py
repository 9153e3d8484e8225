"""Passwords are hashed at the least cost in the tests' own process: half of what a test of the service took was that.

So are they in processes that are forked (`tests/nursery.py`). New interpreters, and tests that ask for `dear_hashes`,
hash as the product does.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cheap_hashes import DEAR, cheapen
from watchword.identity import hashing


@pytest.fixture
def dear_hashes() -> Iterator[None]:
    """Hash as the product does, for tests of how it hashes."""
    hashing.ARGON2ID = DEAR
    yield
    cheapen()
