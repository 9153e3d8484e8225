"""No page installs a package by a name that is not ours; `tests/reliability/test_install.py` runs each line."""

from __future__ import annotations

from tests.packaging.install_lines import CLONE, OURS, ROOT, every_line, of_watchword, requirements


def test_no_line_installs_watchword_by_name() -> None:
    """The name `watchword` on PyPI is not ours yet: anyone may put a package there."""
    for line in every_line():
        for requirement in requirements(line):
            assert requirement in OURS or "watchword" not in requirement.lower(), line


def test_the_clone_is_always_written_the_same_way() -> None:
    """A path in an install line is one of the forms that are tried."""
    for line in every_line():
        for requirement in requirements(line):
            assert requirement in OURS or not requirement.startswith((".", "/")), line


def test_every_form_is_in_the_pages() -> None:
    """Guard and service, in the clone and from another folder: each form is told, so each is tried."""
    told = {requirement for line in of_watchword() for requirement in requirements(line)}
    assert set(OURS) <= told
    assert f"{CLONE} fastapi uvicorn" in of_watchword()


def test_the_environment_of_make_has_pip() -> None:
    """Pages and messages add an extra by `.venv/bin/python -m pip`; uv leaves pip out unless it is told."""
    told = [path for path in (ROOT / "docs").rglob("*.md") if ".venv/bin/python -m pip" in path.read_text("utf-8")]
    assert told
    made = [line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if "uv venv" in line]
    assert made
    assert all("--seed" in line for line in made)
