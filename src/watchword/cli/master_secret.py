"""`watchword secret rotate`: a new master secret takes over from those before it."""

from __future__ import annotations

from watchword.cli.exits import SETTINGS, CommandError
from watchword.cli.people import print_json, with_kernel
from watchword.clock import rfc3339
from watchword.identity.kernel import Kernel
from watchword.identity.keys import resealing
from watchword.identity.keys.resealing import Resealed
from watchword.settings import Settings


def rotate(settings: Settings, *, go_back: bool, as_json: bool) -> None:
    """Seal everything with the first listed secret; say which of the others are still needed.

    :param go_back: also if another listed one has taken over from it before.
    """
    if len(settings.secret or ()) < 2:  # noqa: PLR2004 - the new one and the old one
        raise CommandError(
            "WATCHWORD_SECRET does not list two secrets, so there is nothing to rotate",
            "put a new one (watchword secret) before the old one, separated by a comma: WATCHWORD_SECRET=NEW,OLD",
            SETTINGS,
        )

    async def work(kernel: Kernel) -> tuple[Resealed, tuple[str, ...]]:
        done = await resealing.rotate(kernel.master, kernel.database, kernel.clock, go_back=go_back)
        return done, kernel.master.ids

    done, (current, *earlier) = with_kernel(settings, work)
    until = None if done.until is None else rfc3339(done.until)
    if as_json:
        still = earlier if done.sessions else []
        print_json(
            {
                "current": current,
                "resealed": done.values,
                "still_needed": still,
                "no_longer_needed": [] if done.sessions else earlier,
                "sessions": done.sessions,
                "until": until,
            }
        )
        return
    print(f"Everything is sealed with secret 1 (id {current}); {done.values} values were sealed again.")
    for place, secret_id in enumerate(earlier, start=2):
        if done.sessions:
            print(f"Secret {place} (id {secret_id}) is still needed by sessions not refreshed since: {done.sessions}.")
        else:
            print(f"Secret {place} (id {secret_id}) is no longer needed: take it off the list.")
    if done.sessions:
        print(f"Run this again to see how many are left; after {until} there are none.")
