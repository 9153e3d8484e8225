"""The API of `apps` as consumers of Channels, of HTTP and of WebSockets. Imported when Django is set up."""

from __future__ import annotations

import json
from typing import Any

from channels.generic.http import AsyncHttpConsumer  # type: ignore[import-untyped]
from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped]
from channels.routing import ProtocolTypeRouter, URLRouter  # type: ignore[import-untyped]
from django.urls import path

from tests.guard_adapters.apps import NEEDS, seen
from watchword.guard.channels import GuardMiddleware, guarded


class Show(AsyncHttpConsumer):  # type: ignore[misc]
    async def handle(self, body: bytes) -> None:
        caller = self.scope.get("caller")
        assert caller is None or self.scope["user"].caller is caller
        answer = json.dumps(seen(caller)).encode()
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", str(len(answer)).encode())]
        await self.send_response(200, b"" if self.scope["method"] == "HEAD" else answer, headers=headers)


class Greet(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        await self.accept()
        await self.send(json.dumps(seen(self.scope["caller"])))


def app(consumer: Any = Show) -> Any:
    made: Any = consumer.as_asgi()
    return URLRouter(
        [
            path("open", made),
            path("needs", guarded(made)),
            path("maybe", guarded(optional=True)(made)),
            *(path(where[1:], guarded(**asked)(made)) for where, asked in NEEDS.items()),
            path("group/", GuardMiddleware(URLRouter([path("one", made)]), scopes="orders:read")),
        ]
    )


def application() -> Any:
    """For both protocols."""
    return ProtocolTypeRouter({"http": app(), "websocket": app(Greet)})
