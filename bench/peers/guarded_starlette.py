"""One Starlette route twice: unguarded and guarded.

`python -m bench.peers.guarded_starlette PORT PORT` serves them in one process and one event loop, each on a port
of its own, so that they differ in nothing but the guard: not in memory layout, hash seed or place in a routing table.
The guard follows the service at ISSUER.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from watchword.guard import Guard
from watchword.guard.starlette import guarded

NOBODY = "00000000-0000-0000-0000-000000000000"


async def profile(request: Request) -> JSONResponse:
    """Answer with the caller's id, or with as many letters where nobody asked who it is."""
    caller = request.scope.get("caller")
    return JSONResponse({"user_id": NOBODY if caller is None else caller.user_id})


async def serve(ports: list[int]) -> None:
    """Serve them until the process is told to end."""
    issuer = os.environ["ISSUER"]
    guard = Guard(issuer)
    applications: list[Callable[..., Any]] = [
        Starlette(routes=[Route("/profile", profile)]),
        Starlette(routes=[Route("/profile", profile, middleware=[guarded(guard)])]),
    ]
    guard.start()
    servers = [
        uvicorn.Server(uvicorn.Config(app, port=port, http="httptools", access_log=False, log_level="warning"))
        for app, port in zip(applications, ports, strict=True)
    ]
    await asyncio.gather(*(server.serve() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve([int(port) for port in sys.argv[1:]]))
