"""What a thousand times as many users cost each request, on both engines."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.drivers import Settings
from bench.measures.alternate import Runs, warnings
from bench.report import Bar, Outcome
from bench.servers import ROOT, BenchError

MOST = 1.6
USERS, QUICK_USERS = "1000,100000,1000000", "1000,20000"
SIZES = ("bytes of a user", "bytes of a session")
DISK = "a durable append, µs"
ALONE = ("three sessions of a user",)
"""Shown without a bar: a part of a request that has one."""


def measure(settings: Settings) -> Outcome:
    """Fill databases of three sizes on each engine, and compare the largest with the smallest."""
    outcome = Outcome("growth")
    quick = settings.rounds <= 2
    for engine in ("sqlite", "postgres"):
        _add(outcome, engine, _run(engine, settings, QUICK_USERS if quick else USERS))
    outcome.notes.extend(warnings(outcome.runs))
    return outcome


def _run(engine: str, settings: Settings, users: str) -> Runs:
    command = [sys.executable, "-m", "bench.growth", "--engine", engine, "--users", users]
    command += ["--core", str(settings.cores.server)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"growth on {engine} failed: {done.stderr.strip().splitlines()[-1]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _add(outcome: Outcome, engine: str, runs: Runs) -> None:
    smallest, largest = runs[0], runs[-1]
    for what in smallest:
        if what in ("engine", "users", DISK, *SIZES):
            continue
        ratio = float(str(largest[what])) / float(str(smallest[what]))
        name = f"{engine}: {what}, {largest['users']:,} ÷ {smallest['users']:,} users"
        if what in ALONE:
            outcome.figures[name] = ratio
        else:
            outcome.bars.append(Bar(name, ratio, MOST, at_least=False, unit="×"))
        outcome.figures[f"{engine}: {what}, {largest['users']:,} users, µs"] = float(str(largest[what]))
    outcome.figures.update(
        {f"{engine}: {size}, {largest['users']:,} users": float(str(largest[size])) for size in SIZES}
    )
    outcome.runs.extend({"side": engine} | run for run in runs)
