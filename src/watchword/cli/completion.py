"""Completes commands and flags in shells: `watchword completion`."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Final

import typer

ASKED: Final = "_WATCHWORD_COMPLETE"
"""The script sets this variable to ask for completions."""


class Shell(StrEnum):
    """Names a shell."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print a script that completes commands and flags, such as `source <(watchword completion bash)`."""
    # Typer's own flags guess the shell, and write to its start-up files.
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="watchword", complete_var=ASKED, shell=shell.value))


def prepare() -> None:
    """Let the parser answer the script, if it calls."""
    if ASKED in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
