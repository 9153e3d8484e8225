"""Asks before something that cannot be undone."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from watchword.cli.exits import USAGE, CommandError

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def at_terminal() -> bool:
    """Return whether there is a person to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Return if the operator agrees, or gave `--yes`.

    :raises CommandError: there is no terminal.
    :raises typer.Abort: any other answer.
    """
    if yes:
        return
    if not at_terminal():
        raise CommandError("this has to be confirmed, and there is no terminal to ask on", "add --yes to go on", USAGE)
    typer.confirm(question, abort=True, err=True)
