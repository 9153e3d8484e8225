"""Rotating a refresh token in process on SQLite, beside the same statement in a plain loop."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from bench.drivers import Settings
from bench.measures.alternate import Runs, cpu_figures, warnings
from bench.report import Bar, Outcome, Pairs
from bench.servers import ROOT, BenchError


def measure(settings: Settings) -> Outcome:
    """Alternate the plain loop, 32 to a commit, and the service's `Sessions.rotate`, 32 in flight; neither signs."""
    pairs, runs = Pairs([], []), Runs()
    for _ in range(settings.rounds):
        for side, rates in (("peer", pairs.peer), ("ours", pairs.ours)):
            measured = _run(side, settings)
            rates.append(measured["rate"])
            runs.append({"side": side, **measured})
    bars = [Bar("÷ the same statement in a plain loop", pairs.ratio, 0.45, unit="×")]
    figures = pairs.figures("rotations/s") | cpu_figures(runs)
    return Outcome("rotation_in_process", bars, figures, runs, warnings(runs))


def _run(side: str, settings: Settings) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as directory:
        spec = {
            "side": side,
            "directory": directory,
            "seconds": settings.seconds,
            "warmup": settings.warmup,
            "core": settings.cores.server,
        }
        command = [sys.executable, "-m", "bench.rotations"]
        done = subprocess.run(command, cwd=ROOT, input=json.dumps(spec), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the {side} side of the rotation failed: {done.stderr.strip().splitlines()[-1]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured
