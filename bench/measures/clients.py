"""Tokens for programs: `POST /token` with `client_credentials`, on SQLite, the service on one core."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from base64 import b64encode
from contextlib import AbstractContextManager
from pathlib import Path

from bench import needs
from bench.drivers import Settings, load, post
from bench.load import Flow
from bench.measures.alternate import Runs, as_run, require_clean, warnings
from bench.report import Bar, Outcome
from bench.servers import WATCHWORD, BenchError, Server, watchword

COUNTED = {"WATCHWORD_CLIENT_LIMIT": "999999/1m"}
"""The limit is not reached, and not off: each token is counted, as it is in use."""
_FORM = "application/x-www-form-urlencoded"


def measure(settings: Settings) -> Outcome:
    """Ask for tokens by one secret, over and over, from every connection."""
    needs.service()
    runs = Runs()
    with tempfile.TemporaryDirectory(prefix="watchword-bench-") as name, _serving(settings, Path(name)) as server:
        flow = _asking(_account(Path(name) / "data"))
        for _ in range(settings.rounds):
            result = load(server, settings, [flow] * settings.connections)
            runs.append({"side": "ours"} | as_run(require_clean(result, "client_credentials")))
    rate, cpu = (statistics.median(float(str(run[name])) for run in runs) for name in ("rate", "cpu_us"))
    bars = [Bar("POST /token, client_credentials, SQLite", rate, 3000, unit="/s")]
    figures = {"ours tokens/s": rate, "ours CPU, µs each": cpu}
    return Outcome("client_credentials_http", bars, figures, runs, warnings(runs))


def _serving(settings: Settings, home: Path) -> AbstractContextManager[Server]:
    return watchword(settings.cores.server, home, extra=COUNTED)


def _asking(basic: str) -> Flow:
    body, headers = "grant_type=client_credentials&scope=jobs:run", f"Authorization: Basic {basic}\r\n"
    return Flow(requests=[post("/token", body, kind=_FORM, headers=headers)])


def _account(data: Path) -> str:
    """Make a service account; return what follows `Basic`."""
    command = [str(WATCHWORD), "clients", "create", "bench", "--scope", "jobs:run", "--data-dir", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"no service account was made: {done.stderr.strip()}")
    made = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return b64encode(f"{made['client_id']}:{made['client_secret']}".encode()).decode()
