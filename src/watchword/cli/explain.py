"""Says what happened to a request: `watchword explain`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.audit import plain
from watchword.cli.exits import MISSING, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import with_kernel
from watchword.cli.printing import Json, print_json

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.trail.reading import Record

_MOST = 1000
_LOG = (
    "the service's log has lines with this request_id: log_in_failed has the reason of a refused log-in, "
    "refresh_refused the code of a refused refresh, and an error of the service its traceback"
)
_NO_RECORD = (
    "records are of decisions about accounts and keys. A request that was refused for its form, its origin or its"
    " access token, and one that only read, has none; see the log, and for a token `watchword token explain`"
)


@takes_settings(*STORAGE)
def explain(
    *,
    request: Annotated[
        str, typer.Argument(help="The id: in X-Request-Id of the answer, and in the log.", metavar="REQUEST_ID")
    ],
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Say in words what a request did, by its audit records."""

    async def work(kernel: Kernel) -> list[Record]:
        from watchword.identity.trail import reading

        return await reading.page(kernel.database, reading.Wanted(request_id=request.strip()), limit=_MOST)

    found = with_kernel(load_settings(flags).settings, work) if request.strip() else []
    if not found:
        raise CommandError(f"no audit record belongs to a request {request!a}", _NO_RECORD, MISSING)
    if as_json:
        print_json({"request_id": request.strip(), "items": [{**plain(record), **_words(record)} for record in found]})
        return
    for number, record in enumerate(found):
        if number:
            print()
        print("\n".join(_told(record)))
    sys.stderr.write(f"hint: {_LOG}\n")


def _words(record: Record) -> dict[str, str]:
    """Return what the table of events says of it."""
    from watchword.identity.audit import EVENTS

    for event in EVENTS:
        if event.name == record.event:
            return {"means": event.means, "outcome_means": event.outcomes.get(record.outcome, "")}
    return {"means": "", "outcome_means": ""}  # of another version


def _told(record: Record) -> list[str]:
    from watchword.clock import rfc3339

    words = _words(record)
    lines = [f"{rfc3339(record.at)}  {record.event}: {words['means']}"]
    if record.outcome != "ok" or words["outcome_means"]:
        lines.append(f"  It ended with {record.outcome}: {words['outcome_means']}")
    lines.append(f"  It is about {_user(record)}{f', session {record.session_id}' if record.session_id else ''}.")
    lines.append(f"  {_by(record)}")
    lines += [f"  {name}: {value}" for name, value in record.detail.items()]
    return lines


def _user(record: Record) -> str:
    if record.user_id is None:
        return "no known user"
    return f"{record.user} (id {record.user_id})" if record.user else f"a user who was deleted (id {record.user_id})"


def _by(record: Record) -> str:
    if record.address == "local":
        return "A command, or the service itself, did it."
    if not record.address:
        return "Where it came from was erased when the user was deleted."
    by = "the user" if record.actor_id == record.user_id else f"the user with the id {record.actor_id}"
    did = "" if record.actor_id is None else f", by {by}"
    return f"It came from {record.address}{did}, with {record.agent or 'a program that does not name itself'}."
