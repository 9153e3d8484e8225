"""What prints without touching the database: settings, a fresh secret, the version."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from watchword import __version__
from watchword.settings import Loaded
from watchword.settings.table import SETTINGS
from watchword.settings.values import SECRET_BYTES, base64url


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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))  # Text: what users typed is no markup
    Console().print(table)


def fresh_secret() -> str:
    """32 random bytes as base64url."""
    return base64url(os.urandom(SECRET_BYTES))


def version_text() -> str:
    """The version of this package."""
    return __version__
