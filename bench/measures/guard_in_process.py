"""What a check of the guard costs in process, what its list takes, and what importing it takes. Each in a process."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from bench import guarded_servers, needs
from bench.drivers import Settings
from bench.load import Used, machine_seconds
from bench.measures.alternate import Runs, warnings
from bench.report import Bar, Outcome
from bench.servers import ROOT, BenchError

ROUNDS = {"seen": 5, "first_sight": 5, "million": 1, "import": 9}
IMPORT = """
import json, time
import fastapi
wall, busy = time.perf_counter(), time.process_time()
import watchword.guard.fastapi
print(json.dumps({"wall": 1000 * (time.perf_counter() - wall), "CPU": 1000 * (time.process_time() - busy)}))
"""


def measure(settings: Settings) -> Outcome:
    """Run each part so many times in a process of its own; the figures are the medians."""
    _run(settings, [sys.executable, "-c", IMPORT])  # the caches of the file system
    runs = Runs()
    seen = _part("seen", settings, runs)
    first = _part("first_sight", settings, runs)
    million = _part("million", settings, runs)
    imported = _medians("import", settings, runs, [sys.executable, "-c", IMPORT])
    slower = max(million["look-up, not in it"], million["look-up, in it"])
    bars = [
        Bar("a token seen before, revocation included", seen["verify"], 0.7, at_least=False, unit="µs"),
        Bar("an API key seen before, with a scope", seen["an API key"], 1.0, at_least=False, unit="µs"),
        Bar("ES256 first sight ÷ cryptography", first["ES256 ÷ cryptography"], 1.35, at_least=False, unit="×"),
        Bar("HS256 first sight ÷ joserfc", first["HS256 ÷ joserfc"], 1.3, at_least=False, unit="×"),
        Bar("import beyond FastAPI", imported["wall"], 60, at_least=False, unit="ms"),
        Bar("1,000,000 live entries", million["MB"], 100, at_least=False, unit="MB"),
        Bar("look-up among them, slower of two", slower, 1, at_least=False, unit="µs"),
    ]
    figures = {
        "seen before: the same text objects, µs": seen["verify, same objects"],
        "seen before: from the header's bytes, µs": seen["check a header"],
        "seen before: from the header's bytes, with a scope, µs": seen["check a header, and a scope"],
        "seen before, and something was revoked since, µs": seen["list changed"],
        "first sight: ES256, µs": first["ES256"],
        "first sight: HS256, µs": first["HS256"],
        "first sight: HS256 ÷ joserfc's decode, no claims checked": first["HS256 ÷ joserfc, decode alone"],
        "import beyond FastAPI, CPU ms": imported["CPU"],
        "look-up, not revoked, µs": million["look-up, not in it"],
        "look-up, revoked, µs": million["look-up, in it"],
    }
    outcome = Outcome("guard_in_process", bars, figures, runs)
    _show_fast_jwt(outcome, settings)
    outcome.notes.extend(warnings(outcome.runs))
    return outcome


def _show_fast_jwt(outcome: Outcome, settings: Settings) -> None:
    """Show what Fastify's verifier takes for a token in its cache."""
    if not shutil.which("npm"):
        outcome.notes.append("fast-jwt was not measured beside: node or npm is missing")
        return
    try:
        needs.fetch(guarded_servers.FASTIFY)
        found = _medians("seen", settings, [], ["node", str(guarded_servers.FASTIFY / "in_process.js")])
    except BenchError as error:
        outcome.notes.append(str(error))
        return
    outcome.figures["seen before: fast-jwt with its cache, the same text object, µs"] = found["cached"]


def _part(part: str, settings: Settings, runs: Runs) -> dict[str, float]:
    return _medians(part, settings, runs, [sys.executable, "-m", "bench.guard_checks", part])


def _medians(part: str, settings: Settings, runs: Runs, command: list[str]) -> dict[str, float]:
    """Run the command as often as the part asks for; return the median of each figure."""
    found = []
    for _ in range(min(ROUNDS[part], 2 * settings.rounds)):
        before = _used()
        found.append(_run(settings, command))
        elsewhere = _used().shares_since(before)["elsewhere_busy"]
        runs.append({"side": part, "elsewhere_busy": round(elsewhere, 3), **found[-1]})
    return {name: statistics.median(figures[name] for figures in found) for name in found[0]}


def _used() -> Used:
    """What has been used so far, what runs being a child of this process."""
    times = os.times()
    return Used(time.perf_counter(), times.children_user + times.children_system, 0.0, machine_seconds())


def _run(settings: Settings, command: list[str]) -> dict[str, float]:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=_pin(settings.cores.server)
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command[1:3])} failed: {done.stderr.strip()}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _pin(core: int) -> Callable[[], None] | None:
    return (lambda: os.sched_setaffinity(0, {core})) if core >= 0 else None
