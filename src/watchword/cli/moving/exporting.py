"""`watchword users export`: writes every user, in the form that import reads."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from watchword.cli.exits import USAGE, CommandError
from watchword.cli.loading import load_settings
from watchword.cli.opening import with_kernel

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel


def export_users(
    file: Annotated[
        Path | None, typer.Argument(help="A new file: .csv for CSV, else JSON lines. Without: standard output.")
    ] = None,
    *,
    with_hashes: Annotated[
        bool, typer.Option("--with-hashes", help="Write the password hashes too. Keep that file as you keep a backup.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV to standard output.")] = False,
    flags: dict[str, object],
) -> None:
    """Write every user. `watchword users import` reads it, and with --with-hashes no user needs a new password."""
    settings = load_settings(flags).settings
    as_csv = as_csv or (file is not None and file.suffix.lower() == ".csv")

    async def work(kernel: Kernel) -> int:
        from watchword.identity.moving_out import MovingOut

        out = MovingOut(kernel.database, kernel.clock, with_hashes=with_hashes)
        with _opened(file) as target:
            write = _csv_writer(target, with_hashes=with_hashes) if as_csv else _json_writer(target)
            async for record in out.records():
                write(record)
        return out.count

    count = with_kernel(settings, work)
    if file is not None:
        print(f"exported {count:,} users to {file}" + ("" if with_hashes else ", without password hashes"))


@contextmanager
def _opened(file: Path | None) -> Iterator[IO[str]]:
    """Open a new file that only its owner can read, or standard output. Raises `CommandError`."""
    from watchword.platforms import create_private

    if file is None:
        yield sys.stdout
        return
    try:
        number = create_private(file)
    except FileExistsError:
        raise CommandError(f"there is a file {str(file)!a} already", "give the name of a new file", USAGE) from None
    with os.fdopen(number, "w", encoding="utf-8", newline="") as target:
        yield target


def _json_writer(target: IO[str]) -> Callable[[dict[str, Any]], None]:
    import msgspec

    def write(record: dict[str, Any]) -> None:
        said = {name: value for name, value in record.items() if value is not None}
        target.write(msgspec.json.encode(said).decode() + "\n")

    return write


def _csv_writer(target: IO[str], *, with_hashes: bool) -> Callable[[dict[str, Any]], None]:
    import msgspec

    from watchword.cli.moving.lines import FORMULA
    from watchword.identity.moving_out import columns

    names = columns(with_hashes=with_hashes)
    rows = csv.DictWriter(target, names, lineterminator="\n")
    rows.writeheader()

    def cell(value: Any) -> str:
        if isinstance(value, dict):
            return msgspec.json.encode(value).decode()
        text = "" if value is None else " ".join(value) if isinstance(value, tuple) else str(value)
        return f"'{text}" if text.startswith(FORMULA) else text  # a spreadsheet would compute it

    def write(record: dict[str, Any]) -> None:
        rows.writerow({name: cell(record.get(name)) for name in names})

    return write
