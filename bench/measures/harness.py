"""What the harness itself can do: its generators against applications that do nothing."""

from __future__ import annotations

from bench.drivers import Settings, chain, get_with_tokens, load
from bench.load import Result
from bench.measures.alternate import Runs, as_run, require_clean, warnings
from bench.peers.bare import TOKEN
from bench.report import Outcome
from bench.servers import Server, bare


def measure(settings: Settings) -> Outcome:
    """Measure a bare ASGI application and a bare Starlette one: the ceiling of anything under uvicorn here."""
    figures: dict[str, float] = {}
    runs = Runs()
    for application in ("asgi", "starlette"):
        with bare(application, settings.cores.server) as server:
            for what, result in (("refresh chain", _chain(server, settings)), ("GET", _get(server, settings))):
                require_clean(result, f"bare {application}")
                figures[f"bare {application}, {what}/s"] = result.rate
                runs.append({"side": f"bare {application}, {what}"} | as_run(result))
    figures["generator's core used, most"] = max(float(str(run["client_busy"])) for run in runs)
    return Outcome("harness", figures=figures, runs=runs, notes=warnings(runs))


def _chain(server: Server, settings: Settings) -> Result:
    return load(server, settings, [chain("/token", TOKEN)] * settings.connections)


def _get(server: Server, settings: Settings) -> Result:
    return get_with_tokens(server, settings, "/profile", ["x" * 700] * settings.connections)
