"""What scopes and claims cost: at a guarded route of Starlette and FastAPI, and at a service with a large table."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from bench import needs
from bench.drivers import Settings, get_with_tokens
from bench.measures import people
from bench.measures.alternate import warnings
from bench.measures.round_robin import cpu_ratio, medians, ratio, round_robin
from bench.report import Bar, Outcome
from bench.servers import ROOT, Server, free_port, running, wait_for, watchword
from watchword.identity.rights import Rights, Table

SIDES = (
    "Starlette, unguarded",
    "Starlette, a scope and a claim",
    "FastAPI, unguarded",
    "FastAPI, guarded",
    "FastAPI, a scope and a claim",
)
"""As in `bench.peers.guarded_rights`, which is loaded where FastAPI is."""
RIGHTS = {"WATCHWORD_SCOPES": "*=orders:read orders:write", "WATCHWORD_CLAIMS": "name=name"}
ROLES = 1000
GRANTS = 500


def measure(settings: Settings) -> Outcome:
    """Alternate five routes of one process; ten runs of each. The bars go by processor time."""
    needs.service()
    settings = replace(settings, seconds=settings.seconds / 2, warmup=settings.warmup / 2)
    with ExitStack() as stack:
        service = stack.enter_context(watchword(settings.cores.load, extra=RIGHTS))
        names = people.register(service, settings.connections, name="Bencher of the Bench")
        tokens = [people.token_pair(service, name)[0] for name in names]
        servers = stack.enter_context(_applications(settings.cores.server, f"http://127.0.0.1:{service.port}"))
        sides = {
            name: partial(get_with_tokens, server, settings, "/profile", tokens) for name, server in servers.items()
        }
        rates, runs = round_robin(2 * settings.rounds, sides)
    bars = [
        Bar(f"{guarded} ÷ unguarded, by CPU time", cpu_ratio(runs, guarded, bare), least, unit="×")
        for guarded, bare, least in ((SIDES[1], SIDES[0], 0.94), (SIDES[3], SIDES[2], 0.80), (SIDES[4], SIDES[2], 0.80))
    ]
    figures = medians(rates, runs) | {
        f"{guarded} ÷ unguarded": ratio(rates, guarded, bare)
        for guarded, bare in ((SIDES[1], SIDES[0]), (SIDES[3], SIDES[2]), (SIDES[4], SIDES[2]))
    }
    return Outcome("rights_http", bars, figures, runs, warnings(runs))


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
def _applications(core: int, issuer: str) -> Iterator[dict[str, Server]]:
    others = [free_port() for _ in SIDES[1:]]
    command = [sys.executable, "-m", "bench.peers.guarded_rights", "{port}", *map(str, others)]
    with running("guarded rights", command, ROOT, core, {"ISSUER": issuer}) as first:
        servers: Sequence[Server] = [first, *(replace(first, port=port) for port in others)]
        for name, server in zip(SIDES, servers, strict=True):
            wait_for(server, "/profile", 200 if name.endswith("unguarded") else 401)
        yield dict(zip(SIDES, servers, strict=True))
