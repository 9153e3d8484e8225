"""Refreshing over HTTP: ours rotates and commits durably, Express checks a JWT and stores nothing."""

from __future__ import annotations

from contextlib import ExitStack

from bench import needs
from bench.drivers import Settings, chain, load, post
from bench.load import Flow, Result
from bench.measures import people
from bench.measures.alternate import alternate, cpu_figures, warnings
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


def express_flows(server: Server, settings: Settings) -> list[Flow]:
    """Return one flow per connection, each with the cookie of a user of its own."""
    cookies = [people.express_cookie(server, name) for name in people.register(server, settings.connections)]
    return [Flow(requests=[post("/refresh", headers=f"Cookie: {cookie}\r\n")]) for cookie in cookies]
