"""The commands that keep the service going: `keys`, `secret` and `db`, with their flags."""

from __future__ import annotations

from typing import Annotated

import typer

from watchword.cli.exits import CODES_HELP, USAGE
from watchword.cli.loading import STORAGE, load_settings, takes_settings

keys = typer.Typer(help="The keys that sign access tokens.", epilog=CODES_HELP, no_args_is_help=True)
secret = typer.Typer(epilog=CODES_HELP, invoke_without_command=True)
db = typer.Typer(help="The database.", epilog=CODES_HELP, no_args_is_help=True)

_KEYS = "watchword keys list shows them"
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@keys.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_keys(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """List every signing key, oldest first: what it does, since when, and until when it is published."""
    from watchword.cli import signing_keys

    signing_keys.show_list(load_settings(flags).settings, as_json=as_json)


@keys.command("rotate", epilog=CODES_HELP)
@takes_settings(*STORAGE, "jwt_secret", "algorithm")
def rotate_keys(*, yes: Yes = False, as_json: Json = False, flags: dict[str, object]) -> None:
    """Let the next key sign now. Tokens signed so far stay good. Asks first if others may not know the next key yet."""
    from watchword.cli import signing_keys

    signing_keys.rotate(load_settings(flags).settings, yes=yes, as_json=as_json)


@keys.command("revoke", epilog=CODES_HELP)
@takes_settings(*STORAGE, "jwt_secret")
def revoke_key(
    *,
    kid: Annotated[str | None, typer.Argument(help="Which key, as `watchword keys list` shows it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every key that is published.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """In an emergency: refuse what a key has signed, at once and for ever. No user is logged out."""
    from watchword.cli import signing_keys
    from watchword.cli.exits import CommandError

    if kid is not None and every:
        raise CommandError(f"both the key {kid!a} and --all are given: say which key, or --all", _KEYS, USAGE)
    if kid is None and not every:
        raise CommandError("say which key, or --all", _KEYS, USAGE)
    signing_keys.revoke(load_settings(flags).settings, kid, yes=yes, as_json=as_json)


@secret.callback()
def fresh_secret(context: typer.Context) -> None:
    """Print a fresh secret, for WATCHWORD_SECRET, WATCHWORD_JWT_SECRET or their _FILE."""
    if context.invoked_subcommand is not None:
        return
    from watchword.cli.show import fresh_secret as fresh

    typer.echo(fresh())


@secret.command("rotate", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def rotate_secret(
    *,
    go_back: Annotated[
        bool, typer.Option("--go-back", help="Also if another secret of the list has taken over from the first before.")
    ] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Seal everything with the first secret of the list, and say which of the others are still needed."""
    from watchword.cli import master_secret

    master_secret.rotate(load_settings(flags).settings, go_back=go_back, as_json=as_json)


@db.command(epilog=CODES_HELP)
@takes_settings(*STORAGE, "jwt_secret")
def restored(*, yes: Yes = False, as_json: Json = False, flags: dict[str, object]) -> None:
    """After restoring a backup: refuse every token and end every session from before. All users log in again."""
    from watchword.cli import restored_backup

    restored_backup.note(load_settings(flags).settings, yes=yes, as_json=as_json)
