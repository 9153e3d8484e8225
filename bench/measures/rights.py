"""What scopes and claims cost: at a guarded route of Starlette and FastAPI, and at a service with a large table."""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from bench import needs
from bench.drivers import Settings
from bench.machine import on_core
from bench.measures import people
from bench.measures.alternate import Runs, warnings
from bench.measures.blocks import run_blocks
from bench.measures.round_robin import cpu_medians
from bench.report import Bar, Outcome
from bench.servers import ROOT, Server, free_port, running, wait_for, watchword
from watchword.identity.rights import Rights, Table

BARS = {
    "Starlette": {"guarded": 0.92, "ASGI middleware": 0.95, "a scope and a claim": 0.94},
    "FastAPI": {"guarded": 0.80, "a scope and a claim": 0.80},
}
"""What each route keeps of an unguarded one, by the names of `bench.peers.guarded_rights`."""
RIGHTS = {"WATCHWORD_SCOPES": "*=orders:read orders:write", "WATCHWORD_CLAIMS": "name=name"}
AGAIN = " again"
"""A bare route a second time: the error of the measure."""
KEPT = ", kept"
ROLES = 1000
GRANTS = 500


def measure(settings: Settings) -> Outcome:
    """Serve a framework's routes in one process, started anew for each round. The bars go by processor time."""
    needs.service()
    runs, bars = Runs(), list[Bar]()
    with ExitStack() as stack:
        service = stack.enter_context(watchword(settings.cores.load, extra=RIGHTS))
        names = people.register(service, settings.connections, name="Bencher of the Bench")
        tokens = [people.token_pair(service, name)[0] for name in names]
        issuer = f"http://127.0.0.1:{service.port}"
        stack.enter_context(on_core(settings.cores.load))
        for framework, routes in BARS.items():
            bare = f"{framework}, unguarded"
            sides = [bare, bare + AGAIN, *(f"{framework}, {route}" for route in routes)]
            # Fifteen: single starts differ by some thousandths.
            for _ in range(3 * settings.rounds):
                with _applications(sides, settings.cores.server, issuer) as servers:
                    runs += run_blocks(servers, replace(settings, seconds=2 * settings.seconds), "/profile", tokens)
            bars += [
                Bar(f"{framework}, {route} ÷ unguarded", _kept(runs, f"{framework}, {route}"), least, unit="×")
                for route, least in routes.items()
            ]
    controls = [f"{framework}, unguarded" for framework in BARS]
    figures = cpu_medians(runs)
    figures |= {bare + AGAIN + KEPT: _kept(runs, bare + AGAIN) for bare in controls}
    return Outcome("rights_http", bars, figures, runs, warnings(runs))


def _kept(runs: Runs, side: str) -> float:
    return statistics.median(float(str(run["kept"])) for run in runs if run["side"] == side)


def measure_table(settings: Settings) -> Outcome:
    """Time what a log-in or refresh asks of the table of scopes, empty and with a thousand roles, in turn."""
    scopes = frozenset(("orders:read", "orders:write"))
    tables = {"no scopes": {}, "1,000 roles": {"*": scopes} | {f"role{n}": scopes for n in range(ROLES - 1)}}
    sides = {name: _rights(Table(1, by_role, (), audience="a")) for name, by_role in tables.items()}
    times: dict[str, list[int]] = {name: [] for name in sides}
    for turn in range(100 * settings.rounds):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            started = time.perf_counter_ns()
            for _ in range(GRANTS):
                sides[name].grant(("role7",), "", "")
            times[name].append(time.perf_counter_ns() - started)
    spent = {name: statistics.median(each) / GRANTS for name, each in times.items()}
    times_as_long = spent["1,000 roles"] / spent["no scopes"]
    bars = [Bar("what a token gets, 1,000 roles ÷ none", times_as_long, 1.05, at_least=False, unit="×")]
    return Outcome("rights_table", bars, {f"{name}, ns": each for name, each in spent.items()})


def _rights(table: Table) -> Rights:
    made = Rights(None, "a")  # type: ignore[arg-type]  # nothing is read
    made.table = table
    return made


@contextmanager
def _applications(sides: list[str], core: int, issuer: str) -> Iterator[dict[str, Server]]:
    """Run them in one process, in an order of its own; give a server for each, in the order asked for."""
    shuffled = random.sample(sides, len(sides))
    ports = {side: free_port() for side in shuffled[1:]}
    command = [sys.executable, "-m", "bench.peers.guarded_rights", "{port}", shuffled[0].removesuffix(AGAIN)]
    command += [part for side, port in ports.items() for part in (str(port), side.removesuffix(AGAIN))]
    with running("guarded routes", command, ROOT, core, {"ISSUER": issuer}) as first:
        ports = {shuffled[0]: first.port} | ports
        servers = {side: replace(first, name=side, port=ports[side]) for side in sides}
        for side, server in servers.items():
            wait_for(server, "/profile", 200 if side.removesuffix(AGAIN).endswith("unguarded") else 401)
        yield servers
