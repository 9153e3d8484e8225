"""Hash passwords at the least cost. It loads nothing of tests, since real servers start with it."""

from __future__ import annotations

import argon2

from watchword.identity import hashing

DEAR = hashing.ARGON2ID
_CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=32, salt_len=16)


def cheapen() -> None:
    """Hash cheaply from now on."""
    hashing.ARGON2ID = _CHEAP
