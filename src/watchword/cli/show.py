"""What prints without touching the database: settings, a fresh secret, the version."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from watchword import __version__, base64url
from watchword.settings import Loaded
from watchword.settings.table import SETTINGS
from watchword.settings.values import SECRET_BYTES


def show_settings(loaded: Loaded, *, as_json: bool) -> None:
    """Print every setting with its value and where it came from."""
    shown = loaded.settings.shown()
    if as_json:
        found = [
            {"name": s.name, "variable": s.variable, "value": shown[s.name], "from": loaded.origins[s.name]}
            for s in SETTINGS
        ]
        print(json.dumps(found, indent=2))
        return
    rows = []
    for setting in SETTINGS:
        value = shown[setting.name] or (setting.otherwise if setting.secret else "none")
        rows.append((setting.variable, value, loaded.origins[setting.name]))
    print_table(("setting", "value", "from"), rows)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn by rich on a terminal, tab-separated without a head for a pipe."""
    import sys

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
    if sum(widths) + 2 * len(widths) > console.width:  # broken lines are read badly, and copied worse
        for number, row in enumerate(rows):
            if number:
                print()
            print_record(list(zip(heads, row, strict=True)))
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # Text: what users typed is no markup
    console.print(table)


def print_record(pairs: Sequence[tuple[str, str]]) -> None:
    """One thing, a line for each of its properties; tab-separated for a pipe. Lines are never broken."""
    import sys

    if not sys.stdout.isatty():
        for name, value in pairs:
            print(f"{name}\t{value}")
        return
    from rich.console import Console
    from rich.text import Text

    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        Console().print(Text(f"{name:<{width}}  ", "bold").append(value, "not bold"), soft_wrap=True)


def fresh_secret() -> str:
    """32 random bytes as base64url."""
    return base64url.encode_text(os.urandom(SECRET_BYTES))


def version_text() -> str:
    """The version of this package."""
    return __version__
