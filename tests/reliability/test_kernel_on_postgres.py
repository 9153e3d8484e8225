"""The tests of the kernel, all of them, on PostgreSQL; `make test` tries there what the engine decides."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import EVERYTHING

ROOT = Path(__file__).parents[2]


@pytest.mark.lengthy
@pytest.mark.timeout(3600)
def test_the_same_promises_are_kept() -> None:
    """The same tests, with the same outcome; none is skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/identity", "-k", "postgres"]
    environ = {**os.environ, EVERYTHING: "1", "CI": "true"}  # where a skipped test fails
    done = subprocess.run(command, cwd=ROOT, env=environ, check=False, timeout=3500)
    assert done.returncode == 0
