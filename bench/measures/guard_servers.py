"""A guarded route in three forms under two servers, beside Fastify's with its cache of verified tokens."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from bench import guarded_servers, needs
from bench.drivers import Settings, get_with_tokens
from bench.guarded_servers import FASTIFY
from bench.measures.alternate import warnings
from bench.measures.guard_http import Run, guarded_by_peer, service
from bench.measures.round_robin import cpu_ratio, medians, ratio, round_robin
from bench.report import Outcome
from bench.servers import BenchError

FORMS = {"asgi": "ASGI form", "starlette": "Starlette", "fastapi": "FastAPI"}
PEER = "Fastify, @fastify/jwt with cache"
RUNS_PER_ROUND = 2


def measure(settings: Settings) -> Outcome:
    """Run each form under each server in turn; ten runs of each, and no bars."""
    needs.service()
    outcome = Outcome("guard_servers")
    settings = replace(settings, seconds=settings.seconds / 2, warmup=settings.warmup / 2)
    with ExitStack() as stack:
        issuer, tokens = stack.enter_context(service(settings))
        sides: dict[str, Run] = {}
        for runs_under in ("uvicorn", "granian"):
            for form, name in FORMS.items():
                started = guarded_servers.form(form, runs_under, settings.cores.server, issuer)
                server = stack.enter_context(started)
                sides[f"{name}, {runs_under}"] = partial(get_with_tokens, server, settings, "/profile", tokens)
        try:
            needs.express()
            needs.fetch(guarded_servers.FASTIFY)
            fastify = stack.enter_context(guarded_servers.node(FASTIFY, settings.cores.server, cache=True))
            sides[PEER] = guarded_by_peer(fastify, settings, "/guarded", "/token")
        except BenchError as error:
            outcome.notes.append(str(error))
        rates, runs = round_robin(settings.rounds * RUNS_PER_ROUND, sides)
    outcome.figures.update(medians(rates, runs))
    if PEER in sides:
        for side in [each for each in sides if each != PEER]:
            outcome.figures[f"{side} ÷ Fastify"] = ratio(rates, side, PEER)
            outcome.figures[f"{side} ÷ Fastify, by CPU time"] = cpu_ratio(runs, side, PEER)
    outcome.runs.extend(runs)
    outcome.notes.extend(warnings(runs))
    return outcome
