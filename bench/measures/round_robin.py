"""Several sides in turn: each round runs every one of them once, every second round backwards."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from bench.load import Result
from bench.measures.alternate import Runs, as_run, require_clean
from bench.report import Pairs

Sides = Mapping[str, Callable[[], Result]]
Rates = dict[str, list[float]]


def round_robin(rounds: int, sides: Sides) -> tuple[Rates, Runs]:
    """Run the sides so many times, every answer of each having to be a good one; give the rates of each by round.

    A machine that slows down favours whoever comes first: by turning every second round around, that cancels.
    """
    rates: Rates = {side: [] for side in sides}
    runs = Runs()
    for turn in range(rounds):
        for side in list(sides)[:: -1 if turn % 2 else 1]:
            result = require_clean(sides[side](), side)
            rates[side].append(result.rate)
            runs.append({"side": side} | as_run(result))
    return rates, runs


def ratio(rates: Rates, ours: str, peer: str) -> float:
    """The median over the rounds of one side ÷ another."""
    return Pairs(rates[peer], rates[ours]).ratio


def cpu_ratio(runs: Runs, ours: str, peer: str) -> float:
    """The median of the peer's processor time per answer ÷ ours: what the ratio of rates is on a machine at rest."""
    sides = {side: [float(str(run["cpu_us"])) for run in runs if run["side"] == side] for side in (ours, peer)}
    return statistics.median(theirs / own for theirs, own in zip(sides[peer], sides[ours], strict=True))


def medians(rates: Rates, runs: Runs) -> dict[str, float]:
    """Return each side's rate and processor time per answer, where its process could be watched."""
    return {f"{side}, /s": statistics.median(values) for side, values in rates.items()} | cpu_medians(runs)


def cpu_medians(runs: Runs) -> dict[str, float]:
    """Return each side's processor time per answer, where its process could be watched."""
    figures = {}
    for side in dict.fromkeys(str(run["side"]) for run in runs):
        spent = statistics.median(float(str(run["cpu_us"])) for run in runs if run["side"] == side)
        if spent > 1:  # the workers of gunicorn are not watched
            figures[f"{side}, CPU µs each"] = spent
    return figures
