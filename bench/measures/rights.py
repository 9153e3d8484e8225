"""What scopes and claims cost: at a guarded route of Starlette and FastAPI, and at a service with a large table."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from bench import needs
from bench.drivers import Settings
from bench.measures import people
from bench.measures.alternate import Runs, warnings
from bench.measures.round_robin import cpu_medians, cpu_ratio
from bench.measures.side_by_side import side_by_side
from bench.report import Bar, Outcome
from bench.servers import ROOT, Server, running, wait_for, watchword
from watchword.identity.rights import Rights, Table

BARS = {
    "Starlette": {"guarded": 0.92, "ASGI middleware": 0.95, "a scope and a claim": 0.94},
    "FastAPI": {"guarded": 0.80, "a scope and a claim": 0.80},
}
"""What each route keeps of an unguarded one, by the names of `bench.peers.guarded_rights`."""
RIGHTS = {"WATCHWORD_SCOPES": "*=orders:read orders:write", "WATCHWORD_CLAIMS": "name=name"}
ROLES = 1000
GRANTS = 500


def measure(settings: Settings) -> Outcome:
    """Serve each guarded route beside the unguarded one on one core. The bars go by processor time."""
    needs.service()
    # Many short rounds: two processes of the same program differ by some per cent, by where their memory lies.
    settings = replace(settings, rounds=3 * settings.rounds, seconds=settings.seconds / 2)
    runs, bars = Runs(), list[Bar]()
    with ExitStack() as stack:
        service = stack.enter_context(watchword(settings.cores.load, extra=RIGHTS))
        names = people.register(service, settings.connections, name="Bencher of the Bench")
        tokens = [people.token_pair(service, name)[0] for name in names]
        issuer = f"http://127.0.0.1:{service.port}"
        for side, bare, least in _pairs():
            starts = {each: partial(_application, each, settings.cores.server, issuer) for each in (bare, side)}
            pair = side_by_side(starts, settings, "/profile", tokens)
            bars.append(Bar(f"{side} ÷ unguarded", cpu_ratio(pair, side, bare), least, unit="×"))
            runs += pair
    return Outcome("rights_http", bars, cpu_medians(runs), runs, warnings(runs))


def _pairs() -> Iterator[tuple[str, str, float]]:
    """Yield a guarded route, the unguarded one, and how much is to be kept."""
    for framework, routes in BARS.items():
        for route, least in routes.items():
            yield f"{framework}, {route}", f"{framework}, unguarded", least


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
def _application(side: str, core: int, issuer: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "bench.peers.guarded_rights", "{port}", side]
    with running(side, command, ROOT, core, {"ISSUER": issuer}) as server:
        wait_for(server, "/profile", 200 if side.endswith("unguarded") else 401)
        yield server
