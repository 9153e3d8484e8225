# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
"""One guarded route in three forms, for every server: plain ASGI behind the guard's middleware, Starlette, FastAPI.

All of them are given the same tokens by the service at ISSUER, which the guard follows.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from watchword.guard import Caller, Guard
from watchword.guard.fastapi import FastAPIGuard
from watchword.guard.starlette import GuardMiddleware, guarded

guard = Guard(os.environ["ISSUER"])
auth = FastAPIGuard(guard)


async def plain(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI
    """Answer with the caller's id."""
    body = b'{"user_id":"%s"}' % scope["caller"].user_id.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def profile(request: Request) -> JSONResponse:
    """Answer with the caller's id."""
    return JSONResponse({"user_id": request.scope["caller"].user_id})


asgi = GuardMiddleware(plain, guard)
starlette = Starlette(routes=[Route("/profile", profile, middleware=[guarded(guard)])])
fastapi = FastAPI()


@fastapi.get("/profile")
async def typed(caller: Annotated[Caller, auth.required()]) -> dict[str, str]:
    """Answer with the caller's id."""
    return {"user_id": caller.user_id}
