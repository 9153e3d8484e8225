"""What is in the wheel and the source archive, built without a network."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both files, built by the back end that pip calls."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True)
    return folder


@pytest.fixture
def unpacked(dist: Path, tmp_path: Path) -> Path:
    """The wheel as it lies in an environment."""
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_the_wheel_holds_the_package_and_nothing_else(unpacked: Path) -> None:
    """Every file of `src/watchword` as it is: types, migrations, assets, common passwords."""
    there = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    package = {name for name in there if ".dist-info/" not in name}
    source = ROOT / "src"
    files = (path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert package == {path.relative_to(source).as_posix() for path in files}
    assert {"watchword/py.typed", "watchword/identity/common_passwords.txt.gz"} <= package
    assert {"watchword/web/assets/docs.css", "watchword/storage/migrations/0001_foundation.sql"} <= package
    for name in package:
        assert (unpacked / name).read_bytes() == (source / name).read_bytes(), name


def test_the_wheel_says_what_it_is(unpacked: Path) -> None:
    """Its licence, its command, pytest's fixture, and that the guard needs two packages."""
    (info,) = unpacked.glob("*.dist-info")
    assert {path.name for path in (info / "licenses").iterdir()} == {"LICENSE", "NOTICE"}
    entries = (info / "entry_points.txt").read_text("utf-8")
    assert "watchword = watchword.cli:main" in entries
    assert "watchword.testing = watchword.testing" in entries
    required = [
        line for line in (info / "METADATA").read_text("utf-8").splitlines() if line.startswith("Requires-Dist:")
    ]
    always = {line.split()[1].partition(">")[0] for line in required if "extra ==" not in line}
    assert always == {"cryptography", "msgspec"}


def test_the_guard_runs_from_the_wheel(unpacked: Path) -> None:
    """The guard is imported from there, not from this repository."""
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r}); import watchword.guard as g; print(g.__file__)"
    shown = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert Path(shown.strip()).is_relative_to(unpacked)


def test_the_source_archive_builds_and_tests_the_package(dist: Path) -> None:
    """Sources, tests and pages are in it; nothing that a developer's folder gathers is: no `.env`, no database."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "constraints.txt",
        "Makefile",
        "LICENSE",
        "NOTICE",
        "README.md",
        "docs/README.md",
    } <= there
    assert {"src/watchword/py.typed", "tests/conftest.py", "bench/__main__.py", "examples/posts_fastapi.py"} <= there
    assert {"clients/js/watchword.js", "clients/js/watchword.d.ts", "clients/js/package.json"} <= there
    gathered = {".venv", ".venv-peers", "node_modules", "__pycache__", "watchword-data", "results", ".env", ".git"}
    assert not [name for name in there if gathered & set(name.split("/"))]
