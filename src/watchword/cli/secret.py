"""Makes secrets, and rotates the master secret: `watchword secret`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from watchword import base64url
from watchword.cli.exits import CODES_HELP, SETTINGS, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import with_kernel
from watchword.cli.printing import Json, print_json
from watchword.settings.values import SECRET_BYTES

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.keys.resealing import Resealed

group = typer.Typer(epilog=CODES_HELP, invoke_without_command=True)


@group.callback()
def fresh(context: typer.Context) -> None:
    """Print a fresh secret, for WATCHWORD_SECRET, WATCHWORD_JWT_SECRET or their _FILE."""
    if context.invoked_subcommand is None:
        print(base64url.encode_text(os.urandom(SECRET_BYTES)))


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def rotate(
    *,
    go_back: Annotated[
        bool, typer.Option("--go-back", help="Also if another secret of the list has taken over from the first before.")
    ] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Seal everything with the first secret of the list, and say which of the others are still needed."""
    settings = load_settings(flags).settings
    if len(settings.secret or ()) < 2:  # noqa: PLR2004 - the new one and the old one
        raise CommandError(
            "WATCHWORD_SECRET does not list two secrets, so there is nothing to rotate",
            "put a new one (`watchword secret`) before the old one, separated by a comma: WATCHWORD_SECRET=NEW,OLD",
            SETTINGS,
        )

    async def work(kernel: Kernel) -> tuple[Resealed, tuple[str, ...]]:
        from watchword.identity.keys import resealing

        done = await resealing.rotate(kernel.master, kernel.database, kernel.clock, go_back=go_back)
        return done, kernel.master.ids

    done, (current, *earlier) = with_kernel(settings, work)
    (_print_json if as_json else _print)(done, current, earlier)


def _print_json(done: Resealed, current: str, earlier: list[str]) -> None:
    print_json(
        {
            "current": current,
            "resealed": done.values,
            "still_needed": earlier if done.sessions else [],
            "no_longer_needed": [] if done.sessions else earlier,
            "sessions": done.sessions,
            "until": _time(done.until),
        }
    )


def _print(done: Resealed, current: str, earlier: list[str]) -> None:
    print(f"Everything is sealed with secret 1 (id {current}); {done.values} values were sealed again.")
    for place, secret_id in enumerate(earlier, start=2):
        if done.sessions:
            print(f"Secret {place} (id {secret_id}) is still needed by sessions not refreshed since: {done.sessions}.")
        else:
            print(f"Secret {place} (id {secret_id}) is no longer needed: take it off the list.")
    if done.sessions:
        print(f"Run this again to see how many are left; after {_time(done.until)} there are none.")


def _time(at: int | None) -> str | None:
    from watchword.clock import rfc3339

    return None if at is None else rfc3339(at)
