"""Puts the commands together and runs them. Each imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from watchword import __version__
from watchword.cli import (
    api_keys,
    apis,
    audit,
    backup,
    changing_users,
    clients,
    completion,
    db,
    explain,
    guards,
    health,
    keys,
    mail,
    restore,
    scopes,
    secret,
    serve,
    sessions,
    settings,
    token,
    user_data,
    users,
    webhooks,
)
from watchword.cli.doctor import command as doctor
from watchword.cli.exits import CODES_HELP, INTERRUPTED, OK, USAGE, complain, told

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
    health.health,
    doctor.doctor,
    settings.settings,
    explain.explain,
    db.migrate,
    backup.backup,
    restore.restore,
    completion.completion,
    version,
):
    app.command(epilog=CODES_HELP)(command)
changing_users.add_to(users.group)
user_data.add_to(users.group)
for name, noun in (
    ("users", users),
    ("scopes", scopes),
    ("api-keys", api_keys),
    ("apis", apis),
    ("clients", clients),
    ("sessions", sessions),
    ("audit", audit),
    ("token", token),
    ("guards", guards),
    ("keys", keys),
    ("mail", mail),
    ("webhooks", webhooks),
    ("secret", secret),
    ("db", db),
):
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
    except Exception as error:  # noqa: BLE001 - `told` raises what it does not know
        # Typer does not export its parser's errors.
        if hasattr(error, "format_message"):
            return _misused(error)
        return told(error)
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
