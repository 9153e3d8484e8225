"""Completion, as bash asks for it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Run, environment

_ASK = """
eval "$(watchword completion bash)"
registered=$(complete -p watchword)
[[ $registered =~ -F\\ ([^ ]+) ]]
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
"${{BASH_REMATCH[1]}}" watchword "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing: apt-get install bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("watchword us", {"users"}),
        (
            "watchword users ''",
            {
                *("create", "list", "show", "disable", "enable", "delete", "end-sessions", "rename", "roles"),
                *("sessions", "set-password", "import", "export", "metadata", "set-metadata"),
            },
        ),
        ("watchword users create --new", {"--new-database"}),
    ],
)
def test_bash_completes_commands_and_flags(tmp_path: Path, words: str, offered: set[str]) -> None:
    """With the script that the command itself prints."""
    program = tmp_path / "watchword"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o700)
    found = environment()
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", _ASK.format(words=words)],
        env=found | {"PATH": f"{tmp_path}:{found['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (set(done.stdout.split()), done.stderr) == (offered, "")


@pytest.mark.parametrize(("shell", "said"), [("zsh", "#compdef watchword"), ("fish", "complete --command watchword")])
def test_other_shells_get_a_script_of_theirs(run: Run, shell: str, said: str) -> None:
    """Whatever shell this is called from."""
    shown = run("completion", shell)
    assert (shown.code, shown.out.startswith(said)) == (0, True)


def test_a_shell_that_is_not_known_is_refused(run: Run) -> None:
    """With the names of those that are."""
    ended = run("completion", "tcsh")
    assert (ended.code, ended.out) == (2, "")
    assert "'bash', 'zsh', 'fish'" in ended.err
