"""One command of each kind in a new interpreter, which loads nothing but what the command itself asks for.

Other tests fork a process that has loaded everything: a command that forgets to load a module would pass there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run, anew
from tests.e2e.server import COMMAND
from watchword import __version__
from watchword.cli import program

# Each is run in the same directory, in this order; exit codes are 0.
COMMANDS = (
    "migrate",
    "settings",
    "users create ada --password-stdin",
    "users list",
    "users export users.jsonl",
    "scopes list",
    "apis list",
    "clients list",
    "api-keys list",
    "sessions list --user ada",
    "audit search",
    "guards list",
    "keys list",
    "mail preview test",
    "webhooks list",
    "secret",
    "backup copy.db",
    "restore copy.db --yes",
    "completion bash",
)


@pytest.fixture
def typed(tmp_path: Path) -> Run:
    return anew([COMMAND], tmp_path)


def test_one_command_of_each_kind(typed: Run) -> None:
    """Each finds what it needs."""
    for command in COMMANDS:
        ended = typed(*command.split(), stdin="plum-orbit-canvas\n")
        assert ended.code == 0, (command, ended)
        assert "Traceback" not in ended.err, command


def test_no_kind_is_left_out() -> None:
    """`serve`, `doctor`, `health`, `explain`, `token` and `db` are started anew by other tests, or need a service."""
    kinds = {name.name or name.callback.__name__ for name in program.app.registered_commands}  # type: ignore[union-attr]
    kinds |= {str(group.name) for group in program.app.registered_groups}
    assert kinds - {command.split()[0] for command in COMMANDS} == {
        "db", "doctor", "explain", "health", "serve", "token", "version",
    }  # fmt: skip


def test_as_a_module(tmp_path: Path) -> None:
    """It is the same program."""
    ended = anew([sys.executable, "-m", "watchword.cli"], tmp_path)("version")
    assert (ended.code, ended.out, ended.err) == (0, f"{__version__}\n", "")
