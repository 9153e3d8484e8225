"""One route of Starlette and of FastAPI, bare and guarded: by a token, and by a scope besides, reading a claim.

`python -m bench.peers.guarded_rights PORT SIDE PORT SIDE …` serves several of `SIDES` in one process, each on a port of
its own. The guard follows the service at ISSUER.
"""
# No `from __future__ import annotations` here: FastAPI evaluates annotations, and these name local variables.

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from watchword.guard import Caller, Guard
from watchword.guard.fastapi import FastAPIGuard
from watchword.guard.starlette import GuardMiddleware, guarded

SCOPE = "orders:read"
NO_ONE = {"user_id": "00000000-0000-0000-0000-000000000000", "name": "Bencher of the Bench"}
"""What the bare routes answer: as many letters as the others."""


def no_one() -> dict[str, str]:
    """Make that answer anew for each request, as the guarded routes make theirs."""
    return {"user_id": NO_ONE["user_id"], "name": NO_ONE["name"]}


def shown(caller: Caller) -> dict[str, str]:
    """What the guarded routes answer: the user, and a claim that the service has mapped."""
    return {"user_id": caller.user_id, "name": caller.claim("name", str)}


async def starlette_bare(_: Request) -> JSONResponse:
    """Answer anyone."""
    return JSONResponse(no_one())


async def starlette_guarded(request: Request) -> JSONResponse:
    """Answer the caller's id."""
    return JSONResponse({"user_id": request.scope["caller"].user_id, "name": NO_ONE["name"]})


async def starlette_with_claim(request: Request) -> JSONResponse:
    """Answer the caller."""
    return JSONResponse(shown(request.scope["caller"]))


def fastapi(**asked: Any) -> FastAPI:
    """Make an application whose route asks for this."""
    app, auth = FastAPI(), FastAPIGuard(GUARD)

    @app.get("/profile")
    async def profile(caller: Annotated[Caller, auth.required(**asked)]) -> dict[str, str]:
        return shown(caller)

    return app


def fastapi_bare() -> FastAPI:
    """Make one that asks for nothing."""
    app = FastAPI()

    @app.get("/profile")
    async def profile() -> dict[str, str]:
        return no_one()

    return app


GUARD = Guard(os.environ.get("ISSUER", "http://127.0.0.1:4000"))
SIDES: dict[str, Callable[[], Any]] = {
    "Starlette, unguarded": lambda: Starlette(routes=[Route("/profile", starlette_bare)]),
    "Starlette, guarded": lambda: Starlette(routes=[Route("/profile", starlette_guarded, middleware=[guarded(GUARD)])]),
    "Starlette, ASGI middleware": lambda: GuardMiddleware(
        Starlette(routes=[Route("/profile", starlette_guarded)]), GUARD
    ),
    "Starlette, a scope and a claim": lambda: Starlette(
        routes=[Route("/profile", starlette_with_claim, middleware=[guarded(GUARD, scopes=SCOPE)])]
    ),
    "FastAPI, unguarded": fastapi_bare,
    "FastAPI, guarded": fastapi,
    "FastAPI, a scope and a claim": lambda: fastapi(scopes=SCOPE),
}


async def serve(ports: dict[int, str]) -> None:
    """Serve them until the process is told to end."""
    GUARD.start()
    servers = [
        uvicorn.Server(
            uvicorn.Config(SIDES[side](), port=port, http="httptools", access_log=False, log_level="warning")
        )
        for port, side in ports.items()
    ]
    await asyncio.gather(*(server.serve() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve({int(port): side for port, side in zip(sys.argv[1::2], sys.argv[2::2], strict=True)}))
