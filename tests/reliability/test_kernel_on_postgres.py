"""The tests of kernel and database, all of them, on PostgreSQL; `make test` tries what the engine decides on one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import EVERYTHING

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("tests", "of"),
    [
        ("tests/identity", "postgres"),
        ("tests/storage/test_conformance.py", "postgres-16"),
        ("tests/storage/test_conformance.py", "pgbouncer"),
    ],
)
def test_the_same_promises_are_kept(tests: str, of: str) -> None:
    """The same tests, with the same outcome; none is skipped."""
    command = [sys.executable, "-m", "pytest", "-q", tests, "-k", of]
    environ = {**os.environ, EVERYTHING: "1", "CI": "true"}  # where a skipped test fails
    done = subprocess.run(command, cwd=ROOT, env=environ, check=False, timeout=880)
    assert done.returncode == 0
