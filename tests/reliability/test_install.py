"""Each line by which a page installs Watchword, run in an empty environment with the index that `make test` uses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.packaging.environments import empty_environment, run
from tests.packaging.install_lines import CLONE, OURS, ROOT, of_watchword, requirements

IMPORTED_AS = {"django-ninja": "ninja", "grpcio": "grpc"}


@pytest.mark.lengthy
@pytest.mark.parametrize("line", of_watchword())
def test_the_line_installs_what_it_says(tmp_path: Path, line: str) -> None:
    """The guard is imported from the environment; the command runs with the extra; the other packages are there."""
    programs = empty_environment(tmp_path / "environment")
    folder = tmp_path if CLONE in line else ROOT
    command = f"pip install {line.replace(CLONE, str(ROOT))}"
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where = run(programs, "python", "-I", "-c", "import watchword.guard as g; print(g.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(ROOT / "src" if "-e" in line.split() else tmp_path)
    if "[server" in line:
        assert run(programs, "watchword", "version", cwd=tmp_path).strip()
    for package in set(requirements(line)) - set(OURS):
        look = f"import importlib.util as i; assert i.find_spec({IMPORTED_AS.get(package, package)!r})"
        run(programs, "python", "-I", "-c", look, cwd=tmp_path)
