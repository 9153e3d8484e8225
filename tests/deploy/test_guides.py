"""The guides that an operator reads name what there is: events, checks, files and tests."""

from __future__ import annotations

import re

import pytest

from tests.deploy.files import DEPLOY, ROOT, compose, settings_named
from watchword.features.health import service
from watchword.settings.table import SETTINGS

GUIDES = ("deploy", "operate", "upgrade")
SOURCES = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))


def page(name: str) -> str:
    """A guide's text."""
    return (ROOT / "docs" / "guides" / f"{name}.md").read_text("utf-8")


def first_column(text: str, heading: str) -> set[str]:
    """The code in the first column of the table under a heading."""
    table = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_events_are_those_of_the_log() -> None:
    """Each is written by the code under this name."""
    named = first_column(page("operate"), "Logs")
    assert len(named) >= 10
    assert {name for name in named if f'"{name}"' not in SOURCES} == set()


def test_checks_are_those_of_readiness() -> None:
    """All of them, and no other."""
    source = (ROOT / "src" / service.__name__.replace(".", "/")).with_suffix(".py").read_text("utf-8")
    checks = set(re.findall(r'^ {12}"(\w+)": ', source, re.MULTILINE))
    assert len(checks) == 6
    assert first_column(page("operate"), "Is it well?") == checks


@pytest.mark.parametrize("name", GUIDES)
def test_settings_and_files_exist(name: str) -> None:
    """Every setting, and every file of deploy/ and tests/."""
    text = page(name)
    known = {row.variable for row in SETTINGS} | {f"{row.variable}_FILE" for row in SETTINGS if row.secret}
    assert settings_named(text) <= known
    for path in re.findall(r"\b((?:deploy|tests)/[\w./-]*\w)", text):
        assert (ROOT / path).exists() or path.startswith(("deploy/secrets", "deploy/.env")), path


def test_what_upgrade_says_of_errors() -> None:
    """The lines of its table are ours."""
    table = page("upgrade").partition("## What is said")[2]
    for line in ("The database has schema", "is another program's", "does not fit what is in the database",
                 "belongs to its schema", "made under another master secret"):  # fmt: skip
        assert line in table
        assert line in SOURCES


def test_deploy_names_each_file_once() -> None:
    """A reader of deploy/ finds each way in the guides."""
    text = page("deploy") + page("internet")
    for entry in DEPLOY.iterdir():
        assert entry.name in text or entry.name in {"secrets", "grafana", "prometheus", "README.md"}, entry.name


def test_two_services_are_replaced_one_after_the_other() -> None:
    """Each line of the guide names one of them; without a name Docker would replace both at once."""
    lines = re.findall(r"^docker compose --file deploy/compose\.full\.yaml up (.*)$", page("upgrade"), re.MULTILINE)
    services = compose("compose.full.yaml")["services"]
    ours = [name for name, service in services.items() if service["image"] == "watchword"]
    assert lines == [f"--build --no-deps --wait {name}" for name in ours]


COMPOSE = re.compile(r"docker compose --file deploy/([\w.]+) (exec|run|stop|cp)((?: --?[\w-]+)*) ([\w.-]+)")


@pytest.mark.parametrize("name", GUIDES)
def test_services_that_guides_name_exist(name: str) -> None:
    """In the compose file that the line names; nothing reads stdin through a terminal."""
    text = page(name)
    found = COMPOSE.findall(text)
    assert len(found) == len(re.findall(r"docker compose --file \S+ (?:exec|run|stop|cp)\b", text))
    for file, _, _, part in found:
        assert part in compose(file)["services"], part
    for line in re.findall(r"^.*docker compose .* [<>] .*$", text.replace("\\\n", ""), re.MULTILINE):
        assert " -T " in line, line
