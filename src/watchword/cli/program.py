"""Puts the commands together and runs them. Each imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from watchword import __version__
from watchword.cli import backup, completion, db, guards, keys, restore, secret, serve, settings, users
from watchword.cli.exits import CODES_HELP, INTERRUPTED, OK, USAGE, complain, explain

app = typer.Typer(
    name="watchword",
    epilog=CODES_HELP,
    no_args_is_help=True,
    add_completion=False,  # there is `watchword completion`
    pretty_exceptions_enable=False,  # its tracebacks print local variables, also secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version() -> None:
    """Print the version."""
    print(__version__)


def _version_and_end(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", "-V", help="Print the version.", is_eager=True, callback=_version_and_end),
    ] = False,
) -> None:
    """Watchword: authentication for Python APIs."""


for command in (
    serve.serve,
    settings.settings,
    db.migrate,
    backup.backup,
    restore.restore,
    completion.completion,
    version,
):
    app.command(epilog=CODES_HELP)(command)
for name, noun in (("users", users), ("guards", guards), ("keys", keys), ("secret", secret), ("db", db)):
    app.add_typer(noun.group, name=name)


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    completion.prepare()
    for argument in arguments:
        if not _is_text(argument):
            complain(f"{argument!a} is not UTF-8", "write names and values in UTF-8, and give such a file another name")
            return USAGE
    try:
        code = app(arguments, prog_name="watchword", standalone_mode=False)
    except typer.Abort:
        complain("stopped before anything was done")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - `explain` raises what it does not know
        # Typer does not export its parser's errors.
        if hasattr(error, "format_message"):
            return _misused(error)
        return explain(error)
    return code if isinstance(code, int) else OK


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # raw bytes from the shell
        return False
    return True


def _misused(error: Any) -> int:
    message = error.format_message().strip().rstrip(".")
    if not message:  # no command: the help was printed
        return USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "watchword"
    complain(f"{message[0].lower()}{message[1:]}" if message[0].isupper() else message, f"see `{path} --help`")
    return USAGE
