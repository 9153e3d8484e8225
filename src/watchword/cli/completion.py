"""`watchword completion`: what a shell needs to complete commands and flags."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Final

import typer

ASKED: Final = "_WATCHWORD_COMPLETE"
"""By this variable the script asks what may stand here, instead of running a command."""


class Shell(StrEnum):
    """A shell that a script is known for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print a script that completes commands and flags, such as `source <(watchword completion bash)`."""
    # Typer's own flags ask the process table which shell this is, and write to its start-up files.
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="watchword", complete_var=ASKED, shell=shell.value))


def prepare() -> None:
    """Teach the parser to answer the script, if that is what has called."""
    if ASKED in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
