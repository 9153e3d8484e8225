"""Logging in: how near the service comes to its hash, and what a storm of log-ins does to everybody else."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import replace

from bench import needs
from bench.drivers import Settings, finish_load, get, load, post, start_load
from bench.load import Flow, Result
from bench.measures import people
from bench.measures.alternate import Runs, as_run, cpu_figures, require_clean, warnings
from bench.peers.hash_pool import IN_FLIGHT
from bench.report import Bar, Outcome, Pairs
from bench.servers import ROOT, BenchError, Server, watchword

STORM = 64
PROBES_PER_SECOND = 200
PROBE_CONNECTIONS = 8
CROWD, ONE_ADDRESS = "from 64 addresses", "from one address"


def measure_rate(settings: Settings) -> Outcome:
    """Alternate the hash alone and the whole log-in, on the same core with as many threads."""
    needs.service()
    pairs, runs, in_service = Pairs([], []), Runs(), []
    with watchword(settings.cores.server) as server:
        names = people.register(server, IN_FLIGHT * _width(settings))
        for _ in range(settings.rounds):
            bare, pool = _hash_pool("bare", settings), _hash_pool("service", settings)
            result = require_clean(load(server, settings, _log_ins(names)), "ours")
            pairs.peer.append(bare["rate"])
            pairs.ours.append(result.rate)
            in_service.append(result.rate / pool["rate"])
            runs += [
                {"side": "peer", **bare},
                {"side": "the service's pool", **pool},
                {"side": "ours"} | as_run(result),
            ]
    bars = [Bar("÷ the hash alone", pairs.ratio, 0.95, unit="×")]
    figures = pairs.figures("log-ins/s") | {"÷ the service's Hasher alone": statistics.median(in_service)}
    return Outcome("login_http", bars, figures | cpu_figures(runs), runs, warnings(runs))


def _hash_pool(pool: str, settings: Settings) -> dict[str, float]:
    spec = {"pool": pool, "seconds": settings.seconds, "warmup": settings.warmup, "core": settings.cores.server}
    command = [sys.executable, "-m", "bench.peers.hash_pool"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(spec), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the hash pool failed:\n{done.stderr.strip()}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def measure_storm(settings: Settings) -> Outcome:
    """Keep 64 log-ins in flight, each answer followed by the next at once, and time `GET /profile` meanwhile.

    Once from as many addresses, which the queue takes; once from one address, whose places in it are few, so that most
    are refused and come back at once.
    """
    needs.service()
    outcome = Outcome("login_storm")
    with watchword(settings.cores.server) as server:
        names = people.register(server, STORM)
        probe = [Flow(requests=[get("/profile", people.token_pair(server, names[0])[0])])] * PROBE_CONNECTIONS
        for storm, flows in ((CROWD, _log_ins(names)), (ONE_ADDRESS, _from_one_address(_log_ins(names)))):
            pairs = [_storm(server, settings, flows, probe) for _ in range(settings.rounds)]
            _add(outcome, storm, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return outcome


def _storm(server: Server, settings: Settings, flows: list[Flow], probe: list[Flow]) -> tuple[Result, Result]:
    storm = start_load(server, replace(settings, seconds=settings.seconds + 1), flows)
    try:
        timed = load(server, settings, probe, pace=PROBES_PER_SECOND)
    except BenchError:
        storm.kill()
        raise
    return finish_load(storm), require_clean(timed, "GET /profile")


def _add(outcome: Outcome, storm: str, log_ins: list[Result], probes: list[Result]) -> None:
    """Add what one kind of storm has shown."""
    lost = sum(result.timeouts + result.disconnects for result in log_ins)
    other = sum(n for result in log_ins for status, n in result.statuses.items() if status not in ("200", "503"))
    worst = max(probe.latency_ms["p99"] for probe in probes)
    outcome.bars.extend(
        (
            Bar(f"{storm}: GET /profile p99, worst round", worst, 50, at_least=False, unit="ms"),
            Bar(f"{storm}: log-ins that timed out or were cut", lost, 0, at_least=False),
            Bar(f"{storm}: 503 without Retry-After", sum(r.unhinted_503 for r in log_ins), 0, at_least=False),
            Bar(f"{storm}: log-ins answered otherwise", other, 0, at_least=False),
        )
    )
    outcome.figures.update({f"{storm}: {what}": value for what, value in _figures(log_ins, probes).items()})
    for side, results in (("log-ins", log_ins), ("probe", probes)):
        outcome.runs.extend({"side": f"{side} {storm}"} | as_run(result) for result in results)


def _figures(log_ins: list[Result], probes: list[Result]) -> dict[str, float]:
    seconds = sum(result.seconds for result in log_ins)
    return {
        "GET /profile p50, worst round, ms": max(probe.latency_ms["p50"] for probe in probes),
        "GET /profile longest, ms": max(probe.latency_ms["max"] for probe in probes),
        "log-ins/s answered 200": sum(result.statuses.get("200", 0) for result in log_ins) / seconds,
        "log-ins/s answered 503": sum(result.statuses.get("503", 0) for result in log_ins) / seconds,
        "log-in that got 200, longest, ms": max(result.latency_ms.get("max", 0.0) for result in log_ins),
    }


def _width(settings: Settings) -> int:
    """Return how many threads the pool has: one per core that the server may use."""
    return 1 if settings.cores.server >= 0 else 2


def _log_ins(names: list[str]) -> list[Flow]:
    """Return one flow per user, each from an address of its own, as a crowd would come."""
    return [
        Flow(
            requests=[post("/login", json.dumps({"username": name, "password": people.PASSWORD}))],
            source=f"127.0.1.{place + 1}",
        )
        for place, name in enumerate(names)
    ]


def _from_one_address(flows: list[Flow]) -> list[Flow]:
    return [replace(flow, source="") for flow in flows]
