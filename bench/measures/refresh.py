"""Refreshing over HTTP: ours rotates and commits durably, Express checks a JWT and stores nothing.

On PostgreSQL the server has the core of the load. What a core does there is told by the processor time of each answer:
with two workers and two cores the service, the server and the load take turns.
"""

from __future__ import annotations

import secrets
import statistics
from contextlib import ExitStack

from bench import needs
from bench.drivers import Settings, chain, load, post
from bench.load import Flow, Result, cpu_seconds
from bench.measures import people
from bench.measures.alternate import alternate, as_run, cpu_figures, require_clean, warnings
from bench.postgres_server import postgres, process_of
from bench.report import Bar, Outcome
from bench.servers import Server, express, watchword


class Chains:
    """One refresh chain per connection, carried on from run to run."""

    def __init__(self, server: Server, settings: Settings) -> None:
        names = people.register(server, settings.connections)
        self.tokens = [people.token_pair(server, name)[1] for name in names]
        self.server, self.settings = server, settings

    def run(self) -> Result:
        """Refresh along every chain at once."""
        result = load(self.server, self.settings, [chain("/token", token) for token in self.tokens])
        self.tokens = result.tokens
        return result


def measure(settings: Settings) -> Outcome:
    """Alternate Express `/refresh` and `POST /token` with grant_type=refresh_token."""
    needs.service()
    needs.express()
    with ExitStack() as stack:
        peer = stack.enter_context(express(settings.cores.server))
        ours = Chains(stack.enter_context(watchword(settings.cores.server)), settings)
        flows = express_flows(peer, settings)
        pairs, runs = alternate(settings.rounds, lambda: load(peer, settings, flows), ours.run)
    figures = pairs.figures("refreshes/s") | cpu_figures(runs)
    bars = [
        Bar("POST /token, refresh grant", figures["ours refreshes/s"], 7000, unit="/s"),
        Bar("÷ Express /refresh", pairs.ratio, 4, unit="×"),
    ]
    return Outcome("refresh_http", bars, figures, runs, warnings(runs))


def measure_postgres(settings: Settings) -> Outcome:
    """Refresh on PostgreSQL with one worker on its core, and with two on all cores; no bars."""
    needs.service()
    outcome = Outcome("refresh_postgres")
    for workers, core in ((1, settings.cores.server), (2, -1)):
        with postgres(settings.cores.load) as database:
            extra = {
                "WATCHWORD_DATABASE_URL": database.url(),
                "WATCHWORD_SECRET": secrets.token_urlsafe(32),
                "WATCHWORD_WORKERS": str(workers),
            }
            with watchword(core, extra=extra) as server:
                _show(outcome, Chains(server, settings), process_of(database), f"{workers} worker{'s' * (workers > 1)}")
    outcome.notes.extend(warnings(outcome.runs))
    return outcome


def _show(outcome: Outcome, chains: Chains, database: int, name: str) -> None:
    rates, own, servers = [], [], []
    for _ in range(chains.settings.rounds):
        before = cpu_seconds(database)
        result = require_clean(chains.run(), name)
        answers = result.rate * (chains.settings.warmup + chains.settings.seconds)  # about: the warm-up is not counted
        servers.append(1e6 * (cpu_seconds(database) - before) / answers)
        rates.append(result.rate)
        own.append(result.cpu_us)
        outcome.runs.append({"side": name} | _without_database(as_run(result), servers[-1] * result.rate / 1e6))
    outcome.figures[f"{name}, refreshes/s"] = statistics.median(rates)
    outcome.figures[f"{name}, CPU µs each"] = statistics.median(own)
    outcome.figures[f"{name}, refreshes/s of a whole core"] = 1e6 / statistics.median(own)
    outcome.figures[f"{name}, PostgreSQL's CPU µs each"] = statistics.median(servers)


def _without_database(run: dict[str, object], busy: float) -> dict[str, object]:
    """Count the database server's work, in cores, as no disturbance."""
    elsewhere = max(0.0, float(str(run["elsewhere_busy"])) - busy)
    return run | {"database_busy": round(busy, 3), "elsewhere_busy": round(elsewhere, 3)}


def express_flows(server: Server, settings: Settings) -> list[Flow]:
    """Return one flow per connection, each with the cookie of a user of its own."""
    cookies = [people.express_cookie(server, name) for name in people.register(server, settings.connections)]
    return [Flow(requests=[post("/refresh", headers=f"Cookie: {cookie}\r\n")]) for cookie in cookies]
