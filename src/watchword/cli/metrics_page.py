"""Prints `docs/reference/metrics.md` from the table of meters."""

from __future__ import annotations

from watchword.meters import METERS, Meter

_GUIDE = "docs/guides/metrics.md"
_BEGINNING = f"""\
# Metrics

<!-- Made from the code by `make docs`. Change src/watchword/meters.py, not this page. -->

[The guide](../{_GUIDE.removeprefix("docs/")}) says how metrics are switched on, and which alerts there are.

With several processes, counters and histograms are added up, those of ended processes included. The gauges of ended
processes do not count; the last column says how those of the others become one number. Any value of a label that is
not listed counts as `other`. No label is ever a name, an id, an address, or anything else that a client typed.

| metric | kind | what it says | labels | several processes |
|---|---|---|---|---|
"""
_OPEN = {"route": "path of a route, as in `/openapi.json`", "limit": "name of a limit", "version": "version"}
_KINDS = {"counter": "counter", "histogram": "histogram", "level": "gauge"}


def page() -> str:
    """Return the page."""
    return _BEGINNING + "".join(_row(meter) for meter in METERS)


def _row(meter: Meter) -> str:
    labels = "; ".join(f"`{name}`: {_values(name, values)}" for name, values in meter.labels)
    together = meter.together if meter.kind == "level" else "sum"
    cells = (f"`{meter.name}`", _KINDS[meter.kind], meter.means, labels, together)
    return f"| {' | '.join(cells)} |\n"


def _values(name: str, values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values) or _OPEN[name]


if __name__ == "__main__":
    print(page(), end="")
