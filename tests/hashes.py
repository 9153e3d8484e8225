"""Passwords are hashed at the least cost in the tests' own process: half of what a test of the service took was that.

Processes that tests start hash as the product does, and so do tests that ask for `dear_hashes`.
"""

from __future__ import annotations

from collections.abc import Iterator

import argon2
import pytest

from watchword.identity import hashing

_DEAR = hashing.ARGON2ID
_CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=32, salt_len=16)


def cheapen() -> None:
    """Hash cheaply from now on."""
    hashing.ARGON2ID = _CHEAP


@pytest.fixture
def dear_hashes() -> Iterator[None]:
    """Hash as the product does, for tests of how it hashes."""
    hashing.ARGON2ID = _DEAR
    yield
    cheapen()
