"""Applications that do nothing, to prove the harness: what they reach is what uvicorn or Starlette alone allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Message = MutableMapping[str, Any]
TOKEN = "wwr_" + "A" * 50
BODY = b'{"access_token":"%s","token_type":"Bearer","expires_in":900,"refresh_token":"%s"}' % (
    b"x" * 700,
    TOKEN.encode(),
)
HEAD = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"content-length", b"%d" % len(BODY))]


async def asgi(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Read the request, answer the canned body: the least that an ASGI application can do."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEAD})
    await send({"type": "http.response.body", "body": BODY})


async def canned(request: Request) -> Response:
    """Read the body, answer the canned one."""
    await request.body()
    return Response(BODY, media_type="application/json")


starlette = Starlette(routes=[Route("/{rest:path}", canned, methods=["GET", "POST"])])
