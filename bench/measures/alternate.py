"""Peer, ours, peer, ours: the shape of every comparison."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict

from bench.load import Result
from bench.report import Pairs
from bench.servers import BenchError

Runs = list[dict[str, object]]
BUSY_CLIENT = 0.9
BUSY_ELSEWHERE = 0.25  # cores; the kernel's work for both sides counts here too


def alternate(rounds: int, peer: Callable[[], Result], ours: Callable[[], Result]) -> tuple[Pairs, Runs]:
    """Run each side in turn, every answer of both having to be a good one."""
    pairs, runs = Pairs([], []), Runs()
    for _ in range(rounds):
        for side, run, rates in (("peer", peer, pairs.peer), ("ours", ours, pairs.ours)):
            result = require_clean(run(), side)
            rates.append(result.rate)
            runs.append({"side": side} | as_run(result))
    return pairs, runs


def require_clean(result: Result, side: str) -> Result:
    """Raise unless every answer was below 400: a rate of refusals is no rate."""
    if not result.clean or not result.answers:
        raise BenchError(f"{side}: not every answer was a good one: {as_run(result)}")
    return result


def as_run(result: Result) -> dict[str, object]:
    """Return a run as it stands in the file of results: without the tokens."""
    run = asdict(result)
    del run["tokens"]
    return {"rate": round(result.rate, 1), "cpu_us": round(result.cpu_us, 2)} | run


def cpu_figures(runs: Runs) -> dict[str, float]:
    """Return the median processor time per answer of both sides, in microseconds."""
    sides = {side: [float(str(run["cpu_us"])) for run in runs if run["side"] == side] for side in ("ours", "peer")}
    return {f"{side} CPU, µs each": statistics.median(times) for side, times in sides.items()}


def warnings(runs: Runs) -> list[str]:
    """Say where the generator, not the server, was the limit, and where other work on the machine took part."""
    busiest, elsewhere = (
        max((float(str(run[name])) for run in runs if name in run), default=0.0)
        for name in ("client_busy", "elsewhere_busy")
    )
    notes = []
    if busiest > BUSY_CLIENT:
        notes.append(f"the load generator used {busiest:.0%} of its core: the figures are its limit")
    if elsewhere > BUSY_ELSEWHERE:
        notes.append(f"other work on the machine used up to {elsewhere:.0%} of a core meanwhile: quote nothing of this")
    return notes
