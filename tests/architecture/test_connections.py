"""Whoever opens a connection of SQLite's closes it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_connection_is_left_to_its_with() -> None:
    """That ends a transaction only; `closing` closes. Python 3.13 warns, in whatever test comes later."""
    left = [
        f"{file.relative_to(ROOT)}:{number}"
        for folder in ("src", "tests", "bench", "examples")
        for file in sorted((ROOT / folder).rglob("*.py"))
        if not any(part.startswith(".venv") or part == "node_modules" for part in file.relative_to(ROOT).parts)
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if re.match(r"\s*with sqlite3\.(connect|Connection)\(", line)
    ]
    assert left == []
