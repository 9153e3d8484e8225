"""`GET /profile`: the access token is checked and the user is read, on both sides."""

from __future__ import annotations

from contextlib import ExitStack

from bench import needs
from bench.drivers import Settings, get_with_tokens
from bench.measures import people
from bench.measures.alternate import alternate, cpu_figures, warnings
from bench.report import Bar, Outcome
from bench.servers import express, watchword


def measure(settings: Settings) -> Outcome:
    """Alternate the two, each with one access token and one user per connection."""
    needs.service()
    needs.express()
    with ExitStack() as stack:
        peer = stack.enter_context(express(settings.cores.server))
        ours = stack.enter_context(watchword(settings.cores.server))
        theirs = [people.express_access_token(peer, name) for name in people.register(peer, settings.connections)]
        tokens = [people.token_pair(ours, name)[0] for name in people.register(ours, settings.connections)]
        pairs, runs = alternate(
            settings.rounds,
            lambda: get_with_tokens(peer, settings, "/profile", theirs),
            lambda: get_with_tokens(ours, settings, "/profile", tokens),
        )
    bars = [Bar("÷ Express /profile", pairs.ratio, 7, unit="×")]
    figures = pairs.figures("requests/s") | cpu_figures(runs)
    return Outcome("profile_http", bars, figures, runs, warnings(runs))
