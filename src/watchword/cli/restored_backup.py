"""What has to follow when a backup was restored: `watchword db restored`, and as a part of `watchword restore`."""

from __future__ import annotations

from pathlib import Path

from watchword.cli.asking import confirm
from watchword.cli.people import print_json, require_database, with_kernel
from watchword.identity import restoring
from watchword.identity.kernel import Kernel
from watchword.identity.restoring import Restored
from watchword.settings import Settings

_FORGOTTEN = """
The backup does not know what happened since it was made:
  - changed passwords: the old ones are good again (disable users with a stolen password: `watchword users disable`)
  - disabled users and roles taken away: look at `watchword users list`
  - revoked guard keys: look at `watchword guards list`
  - users who registered: they are gone, and may register again"""


def note(settings: Settings, *, yes: bool, as_json: bool) -> None:
    """Refuse everything issued before, and say what was done and what cannot be known."""
    require_database(settings)
    confirm("This ends every session: all users log in again. Go on?", yes=yes)
    done = refuse_what_was_issued(settings)
    if as_json:
        print_json(plain(done))
    else:
        print_done(done)


def refuse_what_was_issued(settings: Settings, path: Path | None = None) -> Restored:
    """Refuse everything issued before, in this database or in the one that the settings name."""

    async def work(kernel: Kernel) -> Restored:
        return await restoring.note_restored(
            kernel.revocations, kernel.keys.store, kernel.clock, shared_secret=settings.jwt_secret is not None
        )

    return with_kernel(settings, work, path=path)


def plain(done: Restored) -> dict[str, object]:
    """What was done, for programs."""
    return {
        "feed_id": done.feed_id,
        "sessions_ended": done.sessions,
        "users_raised": done.users,
        "keys_revoked": done.keys.kids,
        "signing": done.keys.signing,
        "users_refused": done.entries,
    }


def print_done(done: Restored) -> None:
    """What was done, for people."""
    print(f"Sessions ended: {done.sessions}. Users whose earlier tokens are refused: {done.users}.")
    print(f"Signing keys revoked: {len(done.keys.kids)}; new ones: {len(done.keys.signing)}.")
    print(f"The list of revocations is a new one ({done.feed_id}); guards read it from the beginning.")
    print(_FORGOTTEN)
