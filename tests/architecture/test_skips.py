"""A skipped test is seen: with its reason here, as a failure under CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1), ("1", 1), ("false", 0)])
def test_a_skip_is_a_failure_under_ci_only(tmp_path: Path, ci: str, code: int) -> None:
    """The rule lives in tests/conftest.py, so it is tried with that file."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text("utf-8"))
    (tmp_path / "test_it.py").write_text("import pytest\ndef test_it():\n    pytest.skip('no nginx here')\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | {"CI": ci},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert "no nginx here" in done.stdout
