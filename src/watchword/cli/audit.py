"""Reads and verifies audit records: `watchword audit`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.audit_filters import Filters, takes_filters
from watchword.cli.exits import CODES_HELP, FAULT, USAGE, CommandError, complain
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import with_kernel
from watchword.cli.printing import Json, print_json, print_page, print_record, print_table
from watchword.cli.users import Limit, limit_of, place_of

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.trail.reading import Record, Wanted
    from watchword.identity.trail.verifying import Known, Report

group = typer.Typer(help="Read and verify audit records.", epilog=CODES_HELP, no_args_is_help=True)

_HEADS = ("at", "event", "outcome", "user", "address", "request", "id")
_AT_ONCE = 1000
_REMEMBERED = 2000
_POLL_SECONDS = 1.0
_HASH = 64


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
@takes_filters
def tail(
    *,
    limit: Annotated[str, typer.Option("--limit", "-n", help="This many, 1 to 1000.", metavar="NUMBER")] = "20",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is recorded from now on.")] = False,
    as_json: Json = False,
    filters: Filters,
    flags: dict[str, object],
) -> None:
    """Show the newest records, oldest of them first; with --follow until you stop it."""
    most = limit_of(limit)

    async def work(kernel: Kernel) -> None:
        from watchword.identity.trail import reading

        wanted = await filters.wanted(kernel)
        found = await reading.page(kernel.database, wanted, limit=most, newest_first=True)
        found.reverse()
        _show(found, as_json=as_json, lines=follow)
        if follow:
            await _follow(kernel, wanted, found, as_json=as_json)

    with suppress(KeyboardInterrupt):  # the way to stop following
        with_kernel(load_settings(flags).settings, work)


async def _follow(kernel: Kernel, wanted: Wanted, found: list[Record], *, as_json: bool) -> None:
    """Show what comes. A record may be committed after one with a later id, so the last ones are asked for again."""
    import asyncio

    from watchword.identity.trail import reading

    last = await reading.page(kernel.database, wanted, limit=_REMEMBERED // 2, newest_first=True)
    seen = dict.fromkeys(record.id for record in (*reversed(last), *found))
    while True:
        sys.stdout.flush()
        await asyncio.sleep(_POLL_SECONDS)
        newest = await reading.page(kernel.database, wanted, limit=_REMEMBERED // 2, newest_first=True)
        fresh = [record for record in reversed(newest) if record.id not in seen]
        _show(fresh, as_json=as_json, lines=True)
        seen |= dict.fromkeys(record.id for record in fresh)
        for old in list(seen)[:-_REMEMBERED]:
            del seen[old]


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
@takes_filters
def search(
    *,
    limit: Limit = "50",
    after: Annotated[str, typer.Option("--after", help="Continue after the record with this id.")] = "",
    as_json: Json = False,
    filters: Filters,
    flags: dict[str, object],
) -> None:
    """Find records, oldest first."""
    most = limit_of(limit)
    place = place_of(after, "record")

    async def work(kernel: Kernel) -> list[Record]:
        from watchword.identity.trail import reading

        wanted = await filters.wanted(kernel)
        return await reading.page(kernel.database, wanted, limit=most + 1, place=place)

    found = with_kernel(load_settings(flags).settings, work)
    print_page(found, most, plain, partial(_show, as_json=False, lines=False), as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
@takes_filters
def export(*, filters: Filters, flags: dict[str, object]) -> None:
    """Write records to standard output as JSON, one in each line, oldest first."""

    async def work(kernel: Kernel) -> None:
        from watchword.identity.trail import reading

        wanted, place = await filters.wanted(kernel), ""
        while records := await reading.page(kernel.database, wanted, limit=_AT_ONCE, place=place):
            _show(records, as_json=True, lines=True)
            place = records[-1].id

    with_kernel(load_settings(flags).settings, work)


def _show(records: Iterable[Record], *, as_json: bool, lines: bool) -> None:
    """Print records: JSON lines, tab-separated lines, or a table."""
    if as_json:
        import msgspec

        for record in records:
            print(msgspec.json.encode(plain(record)).decode())
    elif lines:
        for record in records:
            print("\t".join(_row(record)))
    else:
        print_table(_HEADS, [_row(record) for record in records])


def plain(record: Record) -> dict[str, object]:
    """Return a record for programs."""
    import msgspec

    from watchword.clock import rfc3339

    found: dict[str, object] = msgspec.to_builtins(record)
    return found | {"at": rfc3339(record.at)}


def _row(record: Record) -> tuple[str, ...]:
    from watchword.clock import rfc3339

    user = record.user or record.user_id or ""
    return rfc3339(record.at), record.event, record.outcome, user, record.address, record.request_id, record.id


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def verify(
    *,
    known: Annotated[
        str,
        typer.Option(
            "--known", help="What an earlier `audit verify` printed, kept elsewhere.", metavar="POSITION:HASH"
        ),
    ] = "",
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Look for records that were changed, removed, moved or put in. Exit code 1 when there are any."""
    kept = _known(known)

    async def work(kernel: Kernel) -> Report:
        from watchword.identity.trail.verifying import Verification

        return await Verification(kernel.database, kernel.master, kept).run()

    report = with_kernel(load_settings(flags).settings, work)
    if as_json:
        print_json({**report._asdict(), "faults": [fault._asdict() for fault in report.faults]})
    else:
        _print_report(report)
    if report.faults:
        complain(
            f"faults in the chain of audit records: {len(report.faults)}",
            "docs/guides/audit.md says what each kind means",
        )
        raise typer.Exit(FAULT)


def _print_report(report: Report) -> None:
    pairs = [
        ("positions", f"{report.first} to {report.last}" if report.records else "none"),
        ("records", str(report.records)),
        ("erased", f"{report.erased} (address and program of deleted users)"),
        ("not chained yet", str(report.waiting)),
        ("checkpoints", str(report.checkpoints)),
        ("known", f"{report.last}:{report.hash}"),
    ]
    print_record(pairs)
    if report.faults:
        print()
        heads = ("fault", "position", "record", "what")
        print_table(heads, [(each.kind, str(each.position), each.record or "", each.means) for each in report.faults])


def _known(text: str) -> Known | None:
    from watchword.identity.trail.verifying import Known

    if not text:
        return None
    position, _, kept = text.partition(":")
    if not (position.isascii() and position.isdigit() and len(position) < len(str(2**62))):
        kept = ""
    if len(kept) != _HASH or not set(kept) <= set("0123456789abcdef"):
        raise CommandError(f"--known {text!a} is not a position and a hash", "copy the line `known` as it is", USAGE)
    return Known(int(position), kept)
