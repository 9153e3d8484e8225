"""What metrics and traces cost a refresh: `python -m bench.watching_cost`.

Each arm is a process: the whole application called in process (`POST /token`, 16 in flight, SQLite with its commits).
Nothing is watched, or metrics in memory, or metrics in shared files as several workers have them, or traces that are
made and dropped: all, or one in a hundred. Processor time for each refresh is compared, since the machine has other
work; arms take turns.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ARMS = ("off", "metrics", "shared", "traces", "sampled")
ROUNDS, REFRESHES, IN_FLIGHT, WARM_UP = 7, 6000, 16, 500


def main() -> None:
    """Run all arms in turn, and print the median of each arm's ratio to its round's first."""
    costs: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for number in range(ROUNDS):
        for arm in ARMS[number % len(ARMS) :] + ARMS[: number % len(ARMS)]:
            costs[arm].append(_measured(arm))
    for arm in ARMS:
        ratios = [cost / off for cost, off in zip(costs[arm], costs["off"], strict=True)]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(
            f"{arm:8} {statistics.median(costs[arm]):6.1f} µs a refresh  × {statistics.median(ratios):.3f}  ({spread})"
        )


def _measured(arm: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder} if arm == "shared" else dict(os.environ)
        done = subprocess.run(
            [sys.executable, __file__, arm], env=environment, capture_output=True, text=True, check=True
        )
    return float(json.loads(done.stdout.splitlines()[-1]))


async def _arm(arm: str, folder: Path) -> float:
    """Microseconds of processor time for each refresh."""
    from watchword import Settings, Watchword
    from watchword.cli.serving import garbage
    from watchword.settings.table import LIMITS

    given: dict[str, Any] = {row.name: "off" for row in LIMITS}
    app = Watchword(Settings(data_dir=folder, **given), **_watchers(arm))
    async with app.lifespan():
        tokens = [await _log_in(app, f"user{place}") for place in range(IN_FLIGHT)]
        garbage.settle()
        tokens = await asyncio.gather(*[_refresh(app, token, WARM_UP // IN_FLIGHT) for token in tokens])
        began = time.process_time()
        await asyncio.gather(*[_refresh(app, token, REFRESHES // IN_FLIGHT) for token in tokens])
        return (time.process_time() - began) / (REFRESHES // IN_FLIGHT * IN_FLIGHT) * 1e6


def _watchers(arm: str) -> dict[str, Any]:
    if arm in ("metrics", "shared"):
        from prometheus_client import CollectorRegistry

        return {"registry": CollectorRegistry()}
    if arm == "traces":
        from opentelemetry.sdk.trace import TracerProvider

        return {"tracer_provider": TracerProvider(shutdown_on_exit=False)}
    if arm == "sampled":
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

        return {"tracer_provider": TracerProvider(TraceIdRatioBased(0.01), shutdown_on_exit=False)}
    return {}


async def _log_in(app: Any, name: str) -> str:
    body = json.dumps({"username": name, "password": "plum-orbit-canvas"}).encode()
    await _post(app, "/register", body, b"application/json")
    form = f"grant_type=password&username={name}&password=plum-orbit-canvas".encode()
    return str((await _post(app, "/token", form, b"application/x-www-form-urlencoded"))["refresh_token"])


async def _refresh(app: Any, token: str, times: int) -> str:
    for _ in range(times):
        form = f"grant_type=refresh_token&refresh_token={token}".encode()
        token = (await _post(app, "/token", form, b"application/x-www-form-urlencoded"))["refresh_token"]
    return token


async def _post(app: Any, path: str, body: bytes, kind: bytes) -> dict[str, Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:4000"), (b"content-type", kind), (b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http", "method": "POST", "path": path, "root_path": "", "query_string": b"", "http_version": "1.1",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 4000), "scheme": "http",
    }  # fmt: skip
    await app(scope, receive, send)
    answer = json.loads(sent[1]["body"])
    assert sent[0]["status"] in (200, 201), answer
    return dict(answer)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        import uvloop

        with tempfile.TemporaryDirectory() as data:
            print(json.dumps(uvloop.run(_arm(sys.argv[1], Path(data)))))
    else:
        main()
