"""A guarded route against what guards a route elsewhere. What it keeps of an unguarded one is measured in `rights`.

Ours follows a running service: its tokens are the service's, signed ES256, and revocations are looked up for each
request. The peers check HS256, sign their own tokens and know no revocation. The service runs on the core of the load,
where it has nothing to do meanwhile but to answer a long poll now and then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from bench import guarded_servers, needs
from bench.drivers import Settings, get_with_tokens
from bench.guarded_servers import FASTIFY
from bench.load import Result
from bench.measures import people
from bench.measures.alternate import warnings
from bench.measures.round_robin import Sides, medians, ratio, round_robin
from bench.report import Bar, Outcome
from bench.servers import EXPRESS, BenchError, Server, watchword

RUNS_PER_ROUND = 2
UNGUARDED, GUARDED = (f"Starlette, {name}" for name in guarded_servers.STARLETTE)
EXPRESS_GUARDED = "Express, jsonwebtoken"

Run = Callable[[], Result]


def measure(settings: Settings) -> Outcome:
    """Alternate Starlette unguarded and guarded, and Express guarded; ten runs of each."""
    needs.service()
    needs.express()
    settings = _shorter(settings)
    with ExitStack() as stack:
        issuer, tokens = stack.enter_context(service(settings))
        sides = _starlette(stack, settings, issuer, tokens)
        express = stack.enter_context(guarded_servers.node(EXPRESS, settings.cores.server))
        sides[EXPRESS_GUARDED] = guarded_by_peer(express, settings, "/guarded", "/token")
        rates, runs = round_robin(settings.rounds * RUNS_PER_ROUND, sides)
    bars = [
        Bar("Starlette route, guarded ÷ Express guarded", ratio(rates, GUARDED, EXPRESS_GUARDED), 14, unit="×"),
    ]
    return Outcome("guard_http", bars, medians(rates, runs), runs, warnings(runs))


def measure_peers(settings: Settings) -> Outcome:
    """Show the peers beside: each framework bare, in its own way, and in ours where it speaks Python. No bars."""
    needs.service()
    settings = _shorter(settings)
    outcome = Outcome("guard_peers")
    with service(settings) as (issuer, tokens):
        for show in (_show_node, _show_fastapi, _show_flask, _show_django):
            try:
                show(outcome, settings, issuer, tokens)
            except BenchError as error:
                outcome.notes.append(str(error))
    if not outcome.runs:
        raise BenchError("none of the peers could be measured: " + "\n".join(outcome.notes))
    outcome.notes[:] = [*dict.fromkeys(outcome.notes), *warnings(outcome.runs)]
    return outcome


def _show_node(outcome: Outcome, settings: Settings, issuer: str, tokens: list[str]) -> None:
    needs.express()
    needs.fetch(guarded_servers.FASTIFY)
    core = settings.cores.server
    with ExitStack() as stack:
        ours = _starlette(stack, settings, issuer, tokens)
        fastify = stack.enter_context(guarded_servers.node(FASTIFY, core))
        cached = stack.enter_context(guarded_servers.node(FASTIFY, core, cache=True))
        express = stack.enter_context(guarded_servers.node(EXPRESS, core))
        sides = {
            UNGUARDED: ours[UNGUARDED],
            GUARDED: ours[GUARDED],
            "Fastify, unguarded": guarded_by_peer(fastify, settings, "/bare", "/token"),
            "Fastify, @fastify/jwt with cache": guarded_by_peer(cached, settings, "/guarded", "/token"),
            "Fastify, @fastify/jwt": guarded_by_peer(fastify, settings, "/guarded", "/token"),
            "Express, unguarded": guarded_by_peer(express, settings, "/bare", "/token"),
            EXPRESS_GUARDED: guarded_by_peer(express, settings, "/guarded", "/token"),
        }
        _add(outcome, settings, sides)


def _show_fastapi(outcome: Outcome, settings: Settings, issuer: str, tokens: list[str]) -> None:
    with guarded_servers.fastapi(settings.cores.server, issuer) as server:
        sides = _ours(server, settings, "FastAPI", tokens)
        sides["FastAPI, PyJWT by hand"] = guarded_by_peer(server, settings, "/pyjwt", "/token/pyjwt")
        sides["FastAPI, fastapi-users"] = guarded_by_peer(server, settings, "/users", "/token/users")
        _add(outcome, settings, sides)


def _show_flask(outcome: Outcome, settings: Settings, issuer: str, tokens: list[str]) -> None:
    with guarded_servers.wsgi("flask", settings.cores.server, issuer) as server:
        sides = _ours(server, settings, "Flask", tokens)
        sides["Flask, Flask-JWT-Extended"] = guarded_by_peer(server, settings, "/extended", "/token/extended")
        _add(outcome, settings, sides)


def _show_django(outcome: Outcome, settings: Settings, issuer: str, tokens: list[str]) -> None:
    with guarded_servers.wsgi("django", settings.cores.server, issuer) as server:
        sides = _ours(server, settings, "Django REST", tokens)
        sides["Django REST, simplejwt"] = guarded_by_peer(server, settings, "/simple", "/token/simple")
        _add(outcome, settings, sides)


def _add(outcome: Outcome, settings: Settings, sides: Sides) -> None:
    """Run the sides of one framework; the first is what the others keep a share of."""
    rates, runs = round_robin(settings.rounds, sides)
    outcome.runs.extend(runs)
    outcome.figures.update(medians(rates, runs))
    for side in sides:
        bare = f"{side.partition(',')[0]}, unguarded"
        if side != bare:
            outcome.figures[f"{side} ÷ unguarded"] = ratio(rates, side, bare)


def _starlette(stack: ExitStack, settings: Settings, issuer: str, tokens: list[str]) -> dict[str, Run]:
    """Start our three; all get the same requests, token included."""
    servers = stack.enter_context(guarded_servers.starlette(settings.cores.server, sys.executable, issuer))
    return {
        f"Starlette, {name}": partial(get_with_tokens, server, settings, "/profile", tokens)
        for name, server in servers.items()
    }


def _ours(server: Server, settings: Settings, framework: str, tokens: list[str]) -> dict[str, Run]:
    return {
        f"{framework}, unguarded": partial(get_with_tokens, server, settings, "/bare", tokens),
        f"{framework}, Watchword": partial(get_with_tokens, server, settings, "/ours", tokens),
    }


def guarded_by_peer(server: Server, settings: Settings, path: str, signs: str) -> Run:
    """Make a run with tokens that the peer itself signs."""
    tokens = guarded_servers.tokens(server, signs, settings.connections)
    return partial(get_with_tokens, server, settings, path, tokens)


@contextmanager
def service(settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """Run a service for the guards to follow; give its issuer and a token for each connection."""
    with watchword(settings.cores.load) as service:
        names = people.register(service, settings.connections)
        yield f"http://127.0.0.1:{service.port}", [people.token_pair(service, name)[0] for name in names]


def _shorter(settings: Settings) -> Settings:
    """Half as long runs: there are many, and a server that stores nothing is steady at once."""
    return replace(settings, seconds=settings.seconds / 2, warmup=settings.warmup / 2)
