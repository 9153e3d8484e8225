"""`watchword users import`: takes in the users of a file, or of another application's database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from watchword.cli.exits import FAULT, MISSING, OK, USAGE, CommandError, warn
from watchword.cli.loading import load_settings
from watchword.cli.opening import is_new, miss_database, with_kernel
from watchword.cli.printing import Json, print_json
from watchword.settings.values import Unfit

if TYPE_CHECKING:
    from watchword.cli.moving.lines import Entry
    from watchword.cli.moving.refusals import Refusals
    from watchword.identity.arrivals import Arrival
    from watchword.identity.kernel import Kernel
    from watchword.identity.moving_in import MovingIn

KINDS = ("file", "django", "fastapi-users", "mongoose", "better-auth")
_FILES = ("file", "mongoose")
_NAMED = 10  # administrators shown
_TURN = 20  # users read between two turns of the loop, which stores the batch before


class Source(NamedTuple):
    """Where users come from.

    :param total: what `Entry.at` ends at.
    """

    entries: AsyncIterator[Entry]
    total: int


class Tally(NamedTuple):
    """How many users of a run became what.

    :param administrators: the new ones who may administer this service.
    """

    imported: int
    known: int
    refused: int
    administrators: tuple[str, ...] = ()


def import_users(
    source: Annotated[
        str,
        typer.Argument(
            help="A file, or with --from the URL of a database; - reads the URL from standard input.", metavar="SOURCE"
        ),
    ],
    *,
    kind: Annotated[str, typer.Option("--from", help=f"What SOURCE is of: {', '.join(KINDS)}.")] = "file",
    table: Annotated[str, typer.Option("--table", help="The table of users, where it has another name.")] = "",
    keep_ids: Annotated[
        bool, typer.Option("--keep-ids", help="Use the ids of the other system, also as `sub` of tokens.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and store nothing.")] = False,
    refused: Annotated[Path, typer.Option("--refused", help="Where the list of refused users is written.")] = Path(
        "refused-users.jsonl"
    ),
    as_json: Json = False,
    flags: dict[str, object],
) -> int:
    """Take in users of another system, with their password hashes. Run it again to go on after an interruption."""
    from watchword.cli.moving.refusals import Refusals

    settings = load_settings(flags).settings
    _check(source, kind, table)
    if is_new(settings):
        miss_database(settings, "; `watchword migrate` makes one")
    place = _from_stdin() if source == "-" else source

    async def work(kernel: Kernel) -> Tally:
        from watchword.identity.moving_in import MovingIn

        run = MovingIn(kernel.database, kernel.clock, source=kind, dry=dry_run)
        await run.begin()
        async with _opened(place, kind, table) as found:
            return await _pump(found, run, kernel, refusals, keep_ids=keep_ids)

    with Refusals(refused) as refusals:
        tally = with_kernel(settings, work)
    _tell(tally, refusals, dry_run=dry_run, as_json=as_json)
    return FAULT if tally.refused else OK


def _check(source: str, kind: str, table: str) -> None:
    if kind not in KINDS:
        raise CommandError(f"--from {kind!a} is none that is known", f"write one of: {', '.join(KINDS)}", USAGE)
    if table and (kind in _FILES or not table.isidentifier() or not table.isascii()):
        raise CommandError("--table takes the name of a table, of a database", "leave it out for a file", USAGE)
    if kind in _FILES and not Path(source).is_file():
        raise CommandError(f"there is no file {source!a}", "give the path of a file", MISSING)


def _from_stdin() -> str:
    text = "" if sys.stdin is None else sys.stdin.readline(4096).strip()
    if not text:
        raise CommandError(
            "standard input holds no URL", "run `printf '%s' \"$OLD_DATABASE_URL\" | watchword …`", USAGE
        )
    return text


@asynccontextmanager
async def _opened(place: str, kind: str, table: str) -> AsyncIterator[Source]:
    """Open a source. Raises `CommandError`, `OSError`, `StorageUnavailable`."""
    from watchword.cli.moving import lines, presets
    from watchword.storage.opening import read_foreign

    if kind in _FILES:
        path = Path(place)
        is_csv = kind == "file" and path.suffix.lower() == ".csv"
        read = presets.read_mongoose if kind == "mongoose" else lines.read_record
        found = lines.csv_lines(path) if is_csv else lines.json_lines(path, read)
        yield Source(_each(found), _size(path))
        return
    preset = presets.PRESETS[kind]
    name = table or preset.table
    try:
        async with read_foreign(place) as database:
            total = await database.count(name) if await database.columns(name) else 0
            yield Source(presets.entries(database, preset, name), total)
    except Unfit as error:
        raise CommandError(f"the URL {error.message}", error.hint, USAGE) from None


def _size(path: Path) -> int:
    return path.stat().st_size


async def _each(entries: Iterator[Entry]) -> AsyncIterator[Entry]:
    for entry in entries:
        yield entry


async def _pump(source: Source, run: MovingIn, kernel: Kernel, refusals: Refusals, *, keep_ids: bool) -> Tally:
    """Read and check a batch while the one before is stored."""
    from watchword.identity.arrivals import Refused, arrival_of
    from watchword.identity.moving_in import BATCH

    now = kernel.clock.now()
    batch: list[tuple[Entry, Arrival]] = []
    storing = asyncio.create_task(_store(run, [], refusals))
    total = Tally(0, 0, 0)
    with _progress(source.total) as show:
        async for entry in source.entries:
            try:
                if isinstance(entry.found, Refused):
                    raise entry.found
                batch.append((entry, _fitting(kernel, arrival_of(entry.found, now=now, keep_ids=keep_ids))))
            except Refused as refused:
                refusals.add(entry, str(refused))
                total = total._replace(refused=total.refused + 1)
            if len(batch) == BATCH:
                total = _sum(total, await storing)
                storing, batch = asyncio.create_task(_store(run, batch, refusals)), []
                show(entry.at)
            if entry.number % _TURN == 0:
                await asyncio.sleep(0)
        total = _sum(total, await storing)
        return _sum(total, await _store(run, batch, refusals))


def _fitting(kernel: Kernel, arrival: Arrival) -> Arrival:
    """Return a user whose tokens can carry what WATCHWORD_CLAIMS maps. Raises `Refused`."""
    from watchword.errors import InvalidInput
    from watchword.identity.arrivals import Refused
    from watchword.identity.user_row import User

    if kernel.own_claims.columns:
        held = {name: getattr(arrival, name) for name in ("external_id", "name", "public_metadata")}
        try:
            kernel.own_claims.require_fit(
                User(arrival.id, arrival.username, None, None, (), 1, 0, 0, None, None, **held)
            )
        except InvalidInput as error:
            raise Refused(f"{error.errors[0].field}: {error.errors[0].message.rstrip('.')}") from None
    return arrival


async def _store(run: MovingIn, batch: list[tuple[Entry, Arrival]], refusals: Refusals) -> Tally:
    from watchword.identity.administrators import ADMIN
    from watchword.identity.moving_in import State

    counts, administrators = dict.fromkeys(State, 0), list[str]()
    if batch:
        for (entry, arrival), outcome in zip(batch, await run.take([arrival for _, arrival in batch]), strict=True):
            counts[outcome.state] += 1
            if outcome.state is State.REFUSED:
                refusals.add(entry, outcome.reason)
            if outcome.state is State.NEW and ADMIN in arrival.roles.split():
                administrators.append(arrival.username or arrival.email or arrival.id)
    return Tally(counts[State.NEW], counts[State.KNOWN], counts[State.REFUSED], tuple(administrators))


def _sum(one: Tally, other: Tally) -> Tally:
    return Tally(
        one.imported + other.imported,
        one.known + other.known,
        one.refused + other.refused,
        one.administrators + other.administrators,
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, and nothing anywhere else."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("importing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda at: bar.update(task, completed=at)


def _tell(tally: Tally, refusals: Refusals, *, dry_run: bool, as_json: bool) -> None:
    refusals.tell()
    if as_json:
        refused = {"refused_file": str(refusals.path)} if tally.refused else {}
        print_json({**tally._asdict(), "dry_run": dry_run, **refused})
        return
    if named := tally.administrators:
        # In many collections of tutorials users chose their own role when they registered.
        more = f" and {len(named) - _NAMED:,} more" if len(named) > _NAMED else ""
        them = ", ".join(ascii(name)[1:-1] for name in named[:_NAMED])
        warn(
            f"with the role admin, and so administrators of this service too: {them}{more}",
            "if one should not be: watchword users roles NAME --remove admin",
        )
    done = "would import" if dry_run else "imported"
    print(f"{done} {tally.imported:,}, already in {tally.known:,}, refused {tally.refused:,}")
