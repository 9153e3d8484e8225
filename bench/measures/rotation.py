"""Rotating a refresh token in process, beside the same statement in a plain loop, on both engines."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from bench.drivers import Settings
from bench.measures.alternate import Runs, cpu_figures, warnings
from bench.postgres_server import postgres, process_of
from bench.report import Bar, Outcome, Pairs
from bench.servers import ROOT, BenchError


def measure(settings: Settings) -> Outcome:
    """Alternate the plain loop, 32 to a commit, and the service's `Sessions.rotate`, 32 in flight; neither signs."""
    return _compared("rotation_in_process", settings, 0.45, "bench.rotations")


def measure_postgres(settings: Settings) -> Outcome:
    """Alternate bare asyncpg and `Sessions.rotate`, 16 in flight, on a server that runs on the other core."""
    with postgres(settings.cores.load) as server:
        command = ("bench.rotations_postgres", server.url())
        return _compared("rotation_postgres", settings, 0.6, *command, database_pid=process_of(server))


def _compared(name: str, settings: Settings, bar: float, *command: str, database_pid: int = 0) -> Outcome:
    pairs, runs = Pairs([], []), Runs()
    for _ in range(settings.rounds):
        for side, rates in (("peer", pairs.peer), ("ours", pairs.ours)):
            measured = _run(side, settings, command, database_pid)
            rates.append(measured["rate"])
            runs.append({"side": side, **measured})
    bars = [Bar("÷ the same statement in a plain loop", pairs.ratio, bar, unit="×")]
    figures = pairs.figures("rotations/s") | cpu_figures(runs)
    return Outcome(name, bars, figures, runs, warnings(runs))


def _run(side: str, settings: Settings, command: tuple[str, ...], database_pid: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as directory:
        spec = {
            "side": side,
            "directory": directory,
            "seconds": settings.seconds,
            "warmup": settings.warmup,
            "core": settings.cores.server,
            "database_pid": database_pid,
        }
        whole = [sys.executable, "-m", *command]
        done = subprocess.run(whole, cwd=ROOT, input=json.dumps(spec), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the {side} side of the rotation failed: {done.stderr.strip().splitlines()[-1]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured
