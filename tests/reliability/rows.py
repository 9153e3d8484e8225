"""One row per experiment: what was tried, on what, with which figures, each beside its bound.

A test that carries `@pytest.mark.experiment(number, what)` has the fixture `row`. `tests.reliability.page` writes the
rows as a page.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

QUICK = 0.01
"""The scale of the quick selection, which is part of `make test`."""


@dataclass(frozen=True)
class Figure:
    """Something that was counted or measured."""

    name: str
    value: float
    bound: str
    """As a reader sees it: `0`, `≤ 2`; empty for a figure that only says how much was tried."""
    holds: bool


@dataclass
class Row:
    """One experiment on one engine with one number of worker processes.

    :param scale: 1 for the numbers of the table; the quick selection has less.
    :param timed: whether bounds of time count. They do not in the quick selection: a machine may be busy.
    """

    number: int
    what: str
    engine: str
    workers: int
    scale: float
    timed: bool = True
    figures: list[Figure] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0
    finished: bool = False

    @classmethod
    def of(cls, given: dict[str, Any]) -> Row:
        """Return a row from what `asdict` made of it."""
        known = {each.name: given[each.name] for each in fields(cls)}
        return cls(**known | {"figures": [Figure(**figure) for figure in given["figures"]]})

    def times(self, full: int, least: int = 1) -> int:
        """Return how many of the table's number are tried at this scale."""
        return max(least, round(full * self.scale))

    def tried(self, name: str, value: float) -> None:
        """Note how much was tried."""
        self.figures.append(Figure(name, value, "", holds=True))

    def none(self, name: str, found: Iterable[object]) -> None:
        """Note how many there were of what must not be; the first ones are told when the row fails."""
        things = list(found)
        self.figures.append(Figure(name, len(things), "0", holds=not things))
        if things:
            self.error += f"{name}: {things[:3]!r}"[:1_000] + "\n"

    def exactly(self, name: str, value: float, bound: float) -> None:
        """Note a figure that must be this."""
        self.figures.append(Figure(name, value, f"{bound:g}", holds=value == bound))

    def at_most(self, name: str, value: float, bound: float, *, time: bool = False) -> None:
        """Note a figure with an upper bound; a bound of time counts in `make reliability` only."""
        self.figures.append(Figure(name, value, f"≤ {bound:g}", holds=value <= bound or (time and not self.timed)))

    def at_least(self, name: str, value: float, bound: float, *, time: bool = False) -> None:
        """Note a figure with a lower bound."""
        self.figures.append(Figure(name, value, f"≥ {bound:g}", holds=value >= bound or (time and not self.timed)))

    @property
    def passed(self) -> bool:
        """Whether the experiment came to its end and every bound held. One without a bound proves nothing."""
        return self.finished and any(one.bound for one in self.figures) and all(one.holds for one in self.figures)

    @property
    def told(self) -> str:
        """The figures as text."""
        return "; ".join(_told(one) for one in self.figures)


def _told(one: Figure) -> str:
    value = f"{one.value:,.0f}" if float(one.value).is_integer() else f"{one.value:,.3g}"
    return f"{one.name} {value}" + (f" ({one.bound})" if one.bound else "")


def as_json(rows: Iterable[Row], *, command: str, seconds: float, quick: bool, load: float = 0.0) -> str:
    """Return the rows, the machine and the command, as one JSON document.

    :param seconds: the time of the whole run.
    :param quick: whether it was the quick selection.
    :param load: the load average of earlier parts; the larger one of it and that of now is told.
    """
    found = [{**asdict(row), "passed": row.passed, "told": row.told} for row in sorted(rows, key=_order)]
    document: dict[str, Any] = {
        "command": command,
        "seconds": round(seconds),
        "quick": quick,
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": os.cpu_count(),
        "load": round(max(load, os.getloadavg()[1]), 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "rows": found,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _order(row: Row) -> tuple[Any, ...]:
    return row.number, row.what, row.engine, row.workers


def table(rows: Iterable[Row]) -> list[str]:
    """Return the rows as lines for a terminal."""
    return [
        f"{'ok  ' if row.passed else 'FAIL'} {row.number:>2} {row.what} · {row.engine} × {row.workers} · "
        f"{row.told or row.error[:200]} · {row.seconds:.0f} s"
        for row in sorted(rows, key=_order)
    ]


def write(path: Path, document: str) -> None:
    """Write the JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document, "utf-8")
