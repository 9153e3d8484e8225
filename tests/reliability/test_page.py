"""The page of the rows says what was run, how long that took, and each row with its figures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.reliability import rows
from tests.reliability.page import page


@pytest.mark.quick
def test_a_page_has_the_rows_of_the_run_and_the_time_of_both() -> None:
    """Of the quick selection the time alone: its rows are at a small scale."""
    text = page([document("make reliability", 2520), document("pytest -m quick", 61, quick=True)])
    assert "make reliability\npytest -m quick\n" in text
    assert "build/reliability.json build/quick.json >" in text
    assert "All of it took 2,520 s (42 minutes). The quick selection, alone, took 61 s." in text
    assert "| 3 | make reliability | SQLite × 2 | lost 1 (0) | 1 | 7 | **failed** |" in text
    assert "| pytest -m quick |" not in text


def document(command: str, seconds: float, *, quick: bool = False) -> dict[str, Any]:
    """A run of one row that failed."""
    row = rows.Row(3, command, "SQLite", 2, 1.0, seconds=7.2, finished=True)
    row.none("lost", ["a user"])
    found: dict[str, Any] = json.loads(rows.as_json([row], command=command, seconds=seconds, quick=quick))
    return found
