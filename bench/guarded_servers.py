"""The servers of the measures of the guard: one route bare and guarded, in our way and in the peers'."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import python_peers
from bench.servers import ROOT, BenchError, Server, free_port, running, wait_for

FASTIFY = ROOT / "bench" / "peers" / "fastify"
STARLETTE = ("unguarded", "guarded route")


@contextmanager
def starlette(core: int, python: str, issuer: str) -> Iterator[dict[str, Server]]:
    """Run both Starlette applications in one process; give a server for each, by name."""
    others = [free_port() for _ in STARLETTE[1:]]
    command = [python, "-m", "bench.peers.guarded_starlette", "{port}", *map(str, others)]
    with running("guarded starlette", command, ROOT, core, {"ISSUER": issuer}) as first:
        servers = [first, *(replace(first, port=port) for port in others)]
        for server, status in zip(servers, (200, 401), strict=True):
            wait_for(server, "/profile", status)
        yield dict(zip(STARLETTE, servers, strict=True))


@contextmanager
def node(directory: Path, core: int, *, cache: bool = False) -> Iterator[Server]:
    """Run `guard.js` of a Node peer."""
    extra = {"NODE_ENV": "production", "CACHE": str(int(cache))}
    with (
        tempfile.TemporaryDirectory(prefix="watchword-bench-") as home,
        running(directory.name, ["node", str(directory / "guard.js")], Path(home), core, extra) as server,
    ):
        wait_for(server, "/guarded", 401)
        yield server


@contextmanager
def fastapi(core: int, issuer: str) -> Iterator[Server]:
    """Run FastAPI with every way to guard a route, under uvicorn."""
    command = ["uvicorn", "bench.peers.guarded_fastapi:app", "--loop", "uvloop", "--http", "httptools"]
    command += ["--no-access-log", "--log-level", "warning", "--host", "127.0.0.1", "--port", "{port}"]
    with _python_peer("fastapi", command, core, issuer) as server:
        yield server


@contextmanager
def form(name: str, server: str, core: int, issuer: str) -> Iterator[Server]:
    """Run a form of `bench.peers.guarded_forms` under uvicorn or granian, one worker with uvloop."""
    python_peers.require()
    where = ["--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--log-level", "warning"]
    commands = {
        "uvicorn": ["uvicorn", f"bench.peers.guarded_forms:{name}", "--http", "httptools", "--no-access-log"],
        "granian": ["granian", f"bench.peers.guarded_forms:{name}", "--interface", "asgi", "--workers", "1", "--no-ws"],
    }
    extra = {"ISSUER": issuer, "PYTHONPATH": str(ROOT / "src")}
    command = [str(python_peers.PYTHON), "-m", *commands[server], *where]
    with running(f"{name} under {server}", command, ROOT, core, extra) as started:
        wait_for(started, "/profile", 401)
        yield started


@contextmanager
def wsgi(name: str, core: int, issuer: str) -> Iterator[Server]:
    """Run `flask` or `django` with every way to guard a route, under gunicorn."""
    command = ["gunicorn", f"bench.peers.guarded_{name}:app", "--worker-class", "gthread", "--threads", "4"]
    command += ["--log-level", "warning", "--bind", "127.0.0.1:{port}"]
    with _python_peer(name, command, core, issuer) as server:
        yield server


@contextmanager
def _python_peer(name: str, command: list[str], core: int, issuer: str) -> Iterator[Server]:
    python_peers.require()
    extra = {"ISSUER": issuer, "PYTHONPATH": str(ROOT / "src")}
    with running(name, [str(python_peers.PYTHON), "-m", *command], ROOT, core, extra) as server:
        wait_for(server, "/bare", 200)
        wait_for(server, "/ours", 401)
        yield server


def tokens(server: Server, path: str, count: int) -> list[str]:
    """Have a peer sign so many tokens, each for a user of its own."""
    made = []
    for _ in range(count):
        answer = server.ask("GET", path)
        if answer.status != 200:
            raise BenchError(f"{server.name} signed no token: {answer.status}")
        made.append(answer.body.decode())
    return made
