"""The page of the rows says what was run, how long that took, and each row with its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.reliability import __main__ as whole
from tests.reliability import rows
from tests.reliability.page import page


@pytest.mark.quick
def test_a_page_has_the_rows_of_the_run_and_the_time_of_both() -> None:
    """Of the quick selection the time alone: its rows are at a small scale."""
    text = page([document("make reliability", 2520), document("pytest -m quick", 61, quick=True)], ["a.json", "b.json"])
    assert "make reliability\npytest -m quick\n" in text
    assert "tests.reliability.page a.json b.json >" in text
    assert "All of it took 2,520 s (42 minutes). The quick selection, alone, took 61 s." in text
    assert "| 3 | make reliability | SQLite × 2 | lost 1 (0) | 1 | 7 | **failed** |" in text
    assert "| pytest -m quick |" not in text


@pytest.mark.quick
def test_an_experiment_that_was_run_again_counts_once() -> None:
    first, again = document("make reliability", 2520), document("make reliability", 60)
    again["rows"][0]["told"] = "lost 0 (0)"
    text = page([first, again], ["a.json", "b.json"])
    assert "lost 0 (0)" in text
    assert "lost 1 (0)" not in text


@pytest.mark.quick
@pytest.mark.parametrize(("codes", "code"), [((5, 0), 0), ((0, 5), 0), ((1, 0), 1), ((0, 1), 1), ((5, 5), 5)], ids=str)
def test_a_run_joins_its_parts_and_fails_with_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], code: int
) -> None:
    """What comes first must not be forgotten, nor hide that nothing was run."""
    ended = iter(codes)

    def run(*given: str) -> int:
        part = given[given.index("--only") + 1]
        Path(given[given.index("--rows") + 1]).write_text(json.dumps(document(part, 1)), "utf-8")
        return next(ended)

    monkeypatch.setattr(whole, "RESULT", tmp_path / "reliability.json")
    monkeypatch.setattr(whole, "_pytest", run)
    assert whole.main(["-k", "a or b"]) == code
    joined = json.loads((tmp_path / "reliability.json").read_text("utf-8"))
    assert joined["command"] == """make reliability ARGS="-k 'a or b'\""""
    assert [row["what"] for row in joined["rows"]] == ["alone", "together"]
    assert all(row["figures"][0]["name"] == "lost" and not row["passed"] for row in joined["rows"])


def document(command: str, seconds: float, *, quick: bool = False) -> dict[str, Any]:
    """A run of one row that failed."""
    row = rows.Row(3, command, "SQLite", 2, 1.0, seconds=7.2, finished=True)
    row.none("lost", ["a user"])
    found: dict[str, Any] = json.loads(rows.as_json([row], command=command, seconds=seconds, quick=quick))
    return found
