"""Prints tables and records for people and pipes, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer

T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def fields(struct: object) -> dict[str, object]:
    """Return a struct's fields as the HTTP interface does: times as RFC 3339."""
    import msgspec

    from watchword.clock import rfc3339

    found: dict[str, object] = msgspec.to_builtins(struct)
    return {
        name: rfc3339(value) if name.endswith("_at") and isinstance(value, int) else value
        for name, value in found.items()
    }


def print_page(
    found: Sequence[T],
    most: int,
    plain: Callable[[T], Mapping[str, Any]],
    show: Callable[[Sequence[T]], None],
    *,
    as_json: bool,
) -> None:
    """Print the first ones of what was found, and after which one the next page begins.

    :param found: one more than `most`, where there are more.
    :param plain: one of them for JSON, with its `id`.
    :param show: prints them for people.
    """
    page = found[:most]
    cursor = plain(page[-1])["id"] if len(found) > most else None
    if as_json:
        print_json({"items": [plain(each) for each in page], "next_cursor": cursor})
        return
    show(page)
    if cursor is not None:
        sys.stderr.write(f"hint: there are more: --after {cursor}\n")


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: by rich on a terminal, tab-separated without a head to a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    if sum(widths) + 2 * len(widths) > console.width:  # never break a line
        for number, row in enumerate(rows):
            if number:
                print()
            print_record(list(zip(heads, row, strict=True)))
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # Text: users' input is no markup
    console.print(table)


def print_record(pairs: Sequence[tuple[str, str]]) -> None:
    """Print a line for each property; tab-separated to a pipe. Lines are never broken."""
    if not sys.stdout.isatty():
        for name, value in pairs:
            print(f"{name}\t{value}")
        return
    from rich.console import Console
    from rich.text import Text

    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        Console().print(Text(f"{name:<{width}}  ", "bold").append(value, "not bold"), soft_wrap=True)
