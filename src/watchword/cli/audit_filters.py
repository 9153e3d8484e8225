"""The flags by which audit records are chosen."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from watchword.cli.exits import USAGE, CommandError
from watchword.cli.users import find_user, is_id

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.trail.reading import Wanted

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIME = "2026-11-28, 2026-11-28T09:30:00Z, or a time ago: 30m, 12h, 7d"

_OPTIONS: Final = {
    "user": typer.Option(
        "--user", help="About or by this user: username, e-mail address, or id, also a deleted one's."
    ),
    "event": typer.Option("--event", help="What happened, such as log_in: docs/reference/audit.md."),
    "outcome": typer.Option("--outcome", help="How it ended, such as refused."),
    "address": typer.Option("--address", help="From this address."),
    "request": typer.Option("--request", help="In the request with this id.", metavar="ID"),
    "since": typer.Option("--since", help=f"Not before: {_TIME}.", metavar="TIME"),
    "until": typer.Option("--until", help="Before; as --since.", metavar="TIME"),
}


class Filters(NamedTuple):
    """What was given."""

    user: str = ""
    event: str = ""
    outcome: str = ""
    address: str = ""
    request: str = ""
    since: str = ""
    until: str = ""

    async def wanted(self, kernel: Kernel) -> Wanted:
        """Return which records are wanted. Raises `CommandError`."""
        from watchword.identity.trail.reading import Wanted

        _require_event(self.event, self.outcome)
        now = kernel.clock.now()
        wanted = Wanted(await id_of(kernel, self.user), self.event, self.outcome, self.address, self.request)
        if self.since:
            wanted = wanted._replace(since=read_time("--since", self.since, now))
        if self.until:
            wanted = wanted._replace(until=read_time("--until", self.until, now))
        return wanted


def takes_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these flags. It receives them as `filters`."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "filters"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=Annotated[str, option])
        for name, option in _OPTIONS.items()
    ]

    def call(**given: Any) -> None:
        filters = Filters(**{name: given.pop(name) for name in _OPTIONS})
        command(**given, filters=filters)

    call.__name__ = command.__name__
    call.__doc__ = command.__doc__
    call.__signature__ = signature.replace(parameters=[*added, *own])  # type: ignore[attr-defined]
    return call


async def id_of(kernel: Kernel, who: str) -> str:
    """Return the user's id. One that has the form of an id may be a deleted user's."""
    if not who or is_id(who):
        return who.lower()
    return (await find_user(kernel, who)).id


def _require_event(event: str, outcome: str) -> None:
    from watchword.identity.audit import EVENTS

    known = {each.name: each for each in EVENTS}
    if event and event not in known:
        raise CommandError(f"there is no event {event!a}", f"there are: {', '.join(sorted(known))}", USAGE)
    outcomes = {name for each in EVENTS if event in ("", each.name) for name in each.outcomes}
    if outcome and outcome not in outcomes:
        raise CommandError(f"there is no outcome {outcome!a}", f"there are: {', '.join(sorted(outcomes))}", USAGE)


def read_time(flag: str, text: str, now: int) -> int:
    """Read a time in seconds since 1970 UTC; one without an offset is UTC."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - int(ago[1]) * _SECONDS[ago[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{flag} {text!a} is not a time", f"write it like {_TIME}", USAGE) from None
    return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp())
