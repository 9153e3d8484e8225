"""From `watchword serve` to the first 200, and the memory before anybody has logged in."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from bench import needs
from bench.drivers import Settings
from bench.measures.alternate import Runs
from bench.report import Bar, Outcome
from bench.servers import wait_for, watchword

STARTS = 7


def measure(settings: Settings) -> Outcome:
    """Start the service seven times on an empty directory and seven times on a used one, after one start that warms."""
    needs.service()
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as used:
        _start(settings, Path(used))
        first = [_start(settings, None) for _ in range(STARTS)]
        again = [_start(settings, Path(used)) for _ in range(STARTS)]
    figures = _medians("empty directory", first) | _medians("used directory", again)
    memory = max(run["memory MB"] for run in first + again)
    slowest = max(value for what, value in figures.items() if "memory" not in what)
    bars = [
        Bar("to the first 200, slower of the medians", slowest, 1, at_least=False, unit="s"),
        Bar("memory before the first log-in, most", memory, 80, at_least=False, unit="MB"),
    ]
    runs: Runs = [{"side": side, **run} for side, starts in (("empty", first), ("used", again)) for run in starts]
    return Outcome("start_and_memory", bars, figures, runs)


def _medians(where: str, runs: list[dict[str, float]]) -> dict[str, float]:
    return {f"{what}, {where}": statistics.median(run[what] for run in runs) for what in runs[0]}


def _start(settings: Settings, home: Path | None) -> dict[str, float]:
    """Start once; return the seconds to `/livez` and `/readyz` and the resident memory."""
    with watchword(settings.cores.server, home, wait=False) as server:
        live = wait_for(server, "/livez", 200)
        return {"to /livez s": live, "to /readyz s": wait_for(server, "/readyz", 200), "memory MB": server.memory_mb()}
