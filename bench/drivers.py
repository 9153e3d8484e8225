"""Runs the load: our own generator and, for plain GETs, `wrk`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.load import Flow, Result, Spec, Used, cpu_seconds, machine_seconds
from bench.machine import Cores
from bench.servers import ROOT, BenchError, Server

WRK_SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Settings:
    """How long and how often. A round is one run of the peer and one of ours, next to each other."""

    cores: Cores
    rounds: int = 5
    seconds: float = 4.0
    warmup: float = 1.0
    connections: int = 32


def start_load(server: Server, settings: Settings, flows: Sequence[Flow], **options: float) -> subprocess.Popen[bytes]:
    """Start a run of the own generator and return its process."""
    spec = Spec(
        port=server.port,
        flows=list(flows),
        watch_pid=server.process.pid,
        core=settings.cores.load,
        **{"seconds": settings.seconds, "warmup": settings.warmup, **options},  # type: ignore[arg-type]
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    process.stdin.write(json.dumps(asdict(spec)).encode())
    process.stdin.close()
    process.stdin = None
    return process


def finish_load(process: subprocess.Popen[bytes]) -> Result:
    """Wait for a run and return what it saw."""
    try:
        out, err = process.communicate()
    finally:
        process.kill()
    if process.returncode:
        raise BenchError(f"the load generator failed:\n{err.decode(errors='replace').strip()}")
    return Result(**json.loads(out))


def load(server: Server, settings: Settings, flows: Sequence[Flow], **options: float) -> Result:
    """Run the own generator to its end."""
    return finish_load(start_load(server, settings, flows, **options))


def get_with_tokens(server: Server, settings: Settings, path: str, tokens: Sequence[str]) -> Result:
    """GET a path with many access tokens in turn: by `wrk`, or by the own generator where there is none."""
    if shutil.which("wrk"):
        _wrk(server, settings, path, tokens, settings.warmup)
        return _wrk(server, settings, path, tokens, settings.seconds)
    requests = [get(path, token) for token in tokens]
    flows = [Flow(requests=requests[i:] + requests[:i]) for i in range(settings.connections)]
    return load(server, settings, flows)


def _wrk(server: Server, settings: Settings, path: str, tokens: Sequence[str], seconds: float) -> Result:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(tokens) + "\n")
        file.flush()
        whole = max(1, round(seconds))
        command = ["wrk", "-t1", f"-c{settings.connections}", f"-d{whole}s", "-s", str(WRK_SCRIPT)]
        command += [f"http://127.0.0.1:{server.port}", "--", path, file.name]
        pin = _pin(settings.cores.load)
        before = _used(server)
        done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=pin)
        used = _used(server).shares_since(before)
    if done.returncode:
        raise BenchError(f"wrk failed: {done.stdout}{done.stderr}")
    return _from_wrk(json.loads(done.stdout.strip().splitlines()[-1]), used)


def _used(server: Server) -> Used:
    """What has been used so far, the client being a child of this process."""
    times = os.times()
    client = times.children_user + times.children_system
    return Used(time.perf_counter(), client, cpu_seconds(server.process.pid), machine_seconds())


def _pin(core: int) -> Callable[[], None] | None:
    return (lambda: os.sched_setaffinity(0, {core})) if core >= 0 else None


def _from_wrk(seen: dict[str, float], used: dict[str, float]) -> Result:
    good, bad = int(seen["answers"] - seen["bad"]), int(seen["bad"])
    return Result(
        answers=int(seen["answers"]),
        statuses={"200": good} | ({"4xx or 5xx": bad} if bad else {}),
        latency_ms={name: round(seen[name], 3) for name in ("p50", "p90", "p99", "max")},
        timeouts=int(seen["timeouts"]),
        disconnects=int(seen["faults"]),
        unhinted_503=0,
        broken_chains=0,
        tokens=[],
        **used | {"seconds": seen["seconds"]},
    )


def get(path: str, token: str = "") -> str:
    """Return a GET request, ready to send."""
    credential = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{credential}\r\n"


def post(path: str, body: str = "", *, kind: str = "application/json", headers: str = "") -> str:
    """Return a POST request, ready to send; `headers` end with CRLF each."""
    typed = f"Content-Type: {kind}\r\n" if body else ""
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}{typed}Content-Length: {len(body)}\r\n\r\n{body}"


def chain(path: str, token: str) -> Flow:
    """Return a flow that refreshes by the OAuth door, each answer's token being the next request's."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    return Flow(token=token, chain_head=f"{head}Content-Length: ", chain_body="grant_type=refresh_token&refresh_token=")
