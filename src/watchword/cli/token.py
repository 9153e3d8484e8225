"""Says why a token is accepted or refused: `watchword token explain`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import at_terminal
from watchword.cli.exits import CODES_HELP, FAULT, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import require_database, with_kernel
from watchword.cli.printing import Json, print_json, print_record

if TYPE_CHECKING:
    from watchword.identity.explained import Explained
    from watchword.identity.kernel import Kernel

group = typer.Typer(help="Look at tokens.", epilog=CODES_HELP, no_args_is_help=True)

_LEGACY = ("legacy_jwt_secret", "legacy_jwks", "legacy_subject", "legacy_audience", "legacy_until")
_LONGEST = 65_536  # bytes read; tokens are shorter


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE, "public_url", "audience", "jwt_secret", *_LEGACY)
def explain(
    *,
    given: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Read a token from standard input, and say why the service accepts or refuses it. Exit code 1 if it refuses it."""
    if given:
        hint = "give it on standard input; its user's sessions end by `watchword users end-sessions`"
        raise CommandError("a token in a command line can be read by everyone on this machine", hint, USAGE)
    settings = load_settings(flags).settings
    require_database(settings)
    token = _token()

    async def work(kernel: Kernel) -> Explained:
        from watchword.identity.explaining import explain_token

        return await explain_token(kernel, token)

    found = with_kernel(settings, work)
    if as_json:
        print_json(found._asdict())
    else:
        _print(found)
    if not found.accepted:
        raise typer.Exit(FAULT)


def _print(found: Explained) -> None:
    kinds = {
        "access": "access token",
        "refresh": "refresh token",
        "legacy": "token of the application that was here before",
        "none": "neither access nor refresh token",
    }
    verdict = "accepted" if found.accepted else f"refused ({found.code})"
    facts = [(name, value) for name, value in found.facts.items() if value]
    print_record(
        [("kind", kinds[found.kind]), ("verdict", verdict), *(("why", each) for each in found.reasons), *facts]
    )


def _token() -> str:
    if at_terminal():
        from getpass import getpass

        text = getpass("Token (it is not shown): ")
    else:
        text = "" if sys.stdin is None else sys.stdin.buffer.read(_LONGEST).decode("utf-8", "replace")
    if not text.strip():
        raise CommandError("standard input holds no token", "run `watchword token explain < FILE`", USAGE)
    return text
