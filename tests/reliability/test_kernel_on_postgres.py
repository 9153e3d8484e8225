"""The kernel's own tests, all of them, on PostgreSQL as well; `make test` tries there what the engine decides."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.identity.conftest import EVERYTHING

ROOT = Path(__file__).parents[2]


def test_the_kernel_keeps_its_promises() -> None:
    """The same tests, with the same outcome."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/identity", "-k", "postgres"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, EVERYTHING: "1"}, check=False, timeout=880)
    assert done.returncode == 0
