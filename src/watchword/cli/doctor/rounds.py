"""Makes the rounds: runs each row of the table, and never lets one end the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult

from watchword.cli.doctor import inside as within
from watchword.cli.doctor.account import Account, Credentials
from watchword.cli.doctor.findings import Finding, Outcome, Seen, Unseen, failed, skipped, warned
from watchword.cli.doctor.table import INSIDE, OUTSIDE
from watchword.cli.doctor.visit import Visit
from watchword.cli.doctor.wire import NoAnswer, Wire
from watchword.errors import WatchwordError
from watchword.settings import Loaded
from watchword.tokens.keys import SigningKey

Told = Callable[[Finding], None]

CLEANED = "account"
# Without these the rest would tell of something else, and give it the password of `--account`.
_FIRST = (Visit.meets, Visit.belongs)


async def examine(loaded: Loaded, backups: Path | None, told: Told) -> SigningKey | None:
    """Run the checks from inside. Return the key that signs, if the master secret is at hand."""
    async with within.opened(loaded, backups) as inside:
        for check in INSIDE:
            try:
                seen = await check.look(inside)
            except Unseen as error:
                seen = skipped(str(error))
            except (OSError, WatchwordError) as error:
                seen = warned(f"it could not be looked at: {' '.join(str(error).split())}")
            told(Finding.of(check, seen))
        return inside.signing


def attack(
    place: SplitResult, given: Credentials | None, signing: SigningKey | None, told: Told, *, issuer: str = ""
) -> None:
    """Run the checks from outside, and clean up whatever happens.

    :param signing: the key of the settings at hand, if there are any.
    :param issuer: what those settings call themselves.
    """
    wire = Wire(place)
    account = Account(wire, given)
    visit = Visit(wire, account)
    visit.home, visit.signing = issuer, signing
    try:
        for check in OUTSIDE:
            seen = _looked(check.look, visit)
            told(Finding.of(check, seen))
            if check.look in _FIRST and seen.outcome is Outcome.FAIL:
                return
    finally:
        _clean(account, told)


def _looked(look: Callable[[Visit], Seen], visit: Visit) -> Seen:
    try:
        return look(visit)
    except NoAnswer as error:
        return failed(str(error)) if look == Visit.meets else warned(str(error))
    except Unseen as error:
        return skipped(str(error))


def _clean(account: Account, told: Told) -> None:
    if account.credentials is None:
        return
    left = account.clean()
    done = "the doctor's account is deleted" if account.own else "the doctor's sessions are ended"
    outcome = Outcome.WARN if left else Outcome.PASS
    why = "What is left behind could be used, or looks like an attack to the next reader."
    fix = "watchword users delete NAME" if account.own else "log in to it, and DELETE /sessions"
    told(Finding(CLEANED, outcome, left or done, why, fix))
