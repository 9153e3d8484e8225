"""What a measure hands back, the table, and the file of results."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results") / "latest.json"


@dataclass(frozen=True)
class Bar:
    """One figure beside the bar that the issue sets for it."""

    what: str
    value: float
    bar: float
    at_least: bool = True
    unit: str = ""

    @property
    def passed(self) -> bool:
        """Whether the figure reaches (or stays under) its bar."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


@dataclass(frozen=True)
class Outcome:
    """One measure: its bars, its medians, every run behind them, and what a reader should know."""

    name: str
    bars: list[Bar] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    runs: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str = ""


@dataclass(frozen=True)
class Pairs:
    """The rates of alternating runs: peer, ours, peer, ours, and so on."""

    peer: list[float]
    ours: list[float]

    @property
    def ratio(self) -> float:
        """The median of ours ÷ peer, each run taken with its neighbour, so that a drift of the machine cancels."""
        return statistics.median(ours / peer for peer, ours in zip(self.peer, self.ours, strict=True))

    def figures(self, unit: str) -> dict[str, float]:
        """Return the medians and the span of the ratio."""
        ratios = [ours / peer for peer, ours in zip(self.peer, self.ours, strict=True)]
        return {
            f"ours {unit}": statistics.median(self.ours),
            f"peer {unit}": statistics.median(self.peer),
            "ratio": self.ratio,
            "ratio lowest": min(ratios),
            "ratio highest": max(ratios),
        }


def table(outcomes: Sequence[Outcome]) -> Table:
    """Lay out every figure beside its bar."""
    laid = Table(title="Watchword beside its peers", title_justify="left", caption_justify="left")
    laid.add_column("measure")
    laid.add_column("what")
    laid.add_column("figure", justify="right")
    laid.add_column("bar", justify="right")
    laid.add_column("")
    for outcome in outcomes:
        _add(laid, outcome)
        laid.add_section()
    return laid


def _add(laid: Table, outcome: Outcome) -> None:
    rows = [_bar_row(bar) for bar in outcome.bars]
    rows += [(f"[dim]{what}", f"[dim]{_short(value)}", "", "") for what, value in outcome.figures.items()]
    if outcome.failure:
        rows = [(outcome.failure.partition("\n")[0], "", "", "[yellow]not measured")]
    for place, row in enumerate(rows):
        laid.add_row(outcome.name if place == 0 else "", *row)


def _bar_row(bar: Bar) -> tuple[str, str, str, str]:
    sign = "≥" if bar.at_least else "≤"
    verdict = "[green]pass" if bar.passed else "[red]miss"
    return bar.what, f"{_short(bar.value)} {bar.unit}".strip(), f"{sign} {_short(bar.bar)} {bar.unit}".strip(), verdict


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the table, then the notes and the failures in full."""
    console = Console()
    console.print(table(outcomes))
    for outcome in outcomes:
        for note in (*outcome.notes, outcome.failure):
            if note:
                console.print(f"{outcome.name}: {note}", markup=False, highlight=False)


def write(
    outcomes: Sequence[Outcome], machine: dict[str, object], versions: dict[str, str], how: dict[str, object]
) -> Path:
    """Write everything to `results/latest.json` and return its path."""
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "versions": versions,
        "how": how,
        "measures": [_document(outcome) for outcome in outcomes],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return RESULTS


def _document(outcome: Outcome) -> dict[str, object]:
    bars = [asdict(bar) | {"passed": bar.passed} for bar in outcome.bars]
    return asdict(outcome) | {"bars": bars}
