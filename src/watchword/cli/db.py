"""Migrates a database, or treats a restored one: `watchword migrate`, `watchword db`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.exits import CODES_HELP
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import is_new, require_database, tell_that_it_is_new, with_kernel
from watchword.cli.printing import Json, print_json
from watchword.settings import Settings

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.restoring import Restored

group = typer.Typer(help="The database.", epilog=CODES_HELP, no_args_is_help=True)

_FORGOTTEN = """
The backup does not know what happened since it was made. These are good again as they were then, also those that were
revoked, disabled or replaced since. If you know of one, end it:
  - API keys: {good.api_keys} (`watchword api-keys list`, `watchword api-keys revoke ID`)
  - service accounts and their secrets: {good.accounts} (`watchword clients list`, `watchword clients disable NAME`,
    or where a secret was replaced `watchword clients rotate-secret NAME --overlap 0s`)
  - guard keys: {good.guard_keys} (`watchword guards list`, `watchword guards revoke NAME`)
  - webhooks (`watchword webhooks list`, `watchword webhooks remove ID`)
  - passwords that were changed: the old ones (`watchword users disable USER`, if one was stolen)
  - disabled users, and roles that were taken away (`watchword users list`)
What was made since is gone: users may register again; API keys, secrets and guard keys are to be made anew."""


@takes_settings(*STORAGE)
def migrate(*, flags: dict[str, object]) -> None:
    """Bring the database to this version's schema; does nothing when it is there already."""
    settings = load_settings(flags).settings
    made = is_new(settings)

    async def nothing(_: Kernel) -> None:
        """Do nothing: to open it is enough."""

    with_kernel(settings, nothing, makes=True)
    if made:
        tell_that_it_is_new(settings)
    print("The database has this version's schema.")


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE, "jwt_secret")
def restored(*, yes: Yes = False, as_json: Json = False, flags: dict[str, object]) -> None:
    """After restoring a backup: refuse every token and end every session from before. All users log in again."""
    settings = load_settings(flags).settings
    require_database(settings)
    confirm("This ends every session: all users log in again. Go on?", yes=yes)
    done = refuse_what_was_issued(settings)
    if as_json:
        print_json(plain(done))
    else:
        print_done(done)


def refuse_what_was_issued(settings: Settings, path: Path | None = None) -> Restored:
    """Refuse everything issued before, in the database at `path` or that of the settings."""

    async def work(kernel: Kernel) -> Restored:
        from watchword.identity import restoring

        return await restoring.note_restored(
            kernel.revocations, kernel.keys.store, kernel.clock, shared_secret=settings.jwt_secret is not None
        )

    return with_kernel(settings, work, path=path)


def plain(done: Restored) -> dict[str, object]:
    """Return what was done, for programs."""
    return {
        "feed_id": done.feed_id,
        "sessions_ended": done.sessions,
        "users_raised": done.users,
        "keys_revoked": done.keys.kids,
        "signing": done.keys.signing,
        "users_refused": done.entries,
        "still_good": done.good._asdict(),
    }


def print_done(done: Restored) -> None:
    """Print what was done."""
    print(f"Sessions ended: {done.sessions}. Users whose earlier tokens are refused: {done.users}.")
    print(f"Signing keys revoked: {len(done.keys.kids)}; new ones: {len(done.keys.signing)}.")
    print(f"The list of revocations is a new one ({done.feed_id}); guards read it from the beginning.")
    print(_FORGOTTEN.format(good=done.good))
