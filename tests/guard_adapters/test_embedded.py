"""A service in the same process: `Guard.local` behind adapters, no network, revoked at once."""

from __future__ import annotations

import asyncio
import queue
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import pytest

from tests.e2e.client import Client, bearer
from tests.guard_adapters import apps, in_process
from tests.guard_adapters.serving import on_uvicorn
from watchword.guard import Caller, Guard
from watchword.testing import Issuer
from watchword.tokens import AccessClaims, RevocationSet


class Service:
    """As much of a service as a guard sees: it verifies."""

    def __init__(self) -> None:
        self.issuer = Issuer()
        self._guard = self.issuer.guard()

    def verify(self, token: str) -> AccessClaims:
        return self._guard.verify(token).claims

    @property
    def revocations(self) -> RevocationSet:
        return self.issuer._revocations


@pytest.mark.parametrize("name", [*apps.ASGI, *apps.WSGI, "aiohttp", "drf", "ninja"])
def test_an_embedded_service(name: str) -> None:
    service = Service()
    guard = Guard.local(service, issuer="https://api.example/auth")
    loop = asyncio.new_event_loop()
    ask = in_process.every_one(guard, loop)[name]
    token = service.issuer.token("ada", session_id="s", scopes=["orders:write"])

    def asked(path: str) -> in_process.Answer:
        answer: in_process.Answer = ask(path, [b"Bearer " + token.encode()])
        return answer

    assert asked("/scoped").user() == "ada"
    refused = asked("/admin")
    assert (refused.status, refused.code) == (403, "role_missing")
    assert b"https://api.example/auth/problems/role_missing" in refused.body
    service.issuer.revoke_session("s")
    assert asked("/scoped").code == "token_revoked"
    loop.close()


def test_the_service_itself_mounted_in_the_API_that_it_guards(tmp_path: Path) -> None:
    """One process: log in at `/auth`, ask the API, log out, and the next request is refused."""
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    from watchword import Settings, Watchword
    from watchword.guard.fastapi import FastAPIGuard

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    url = f"http://127.0.0.1:{port}/auth"
    service = Watchword(Settings(public_url=url, data_dir=tmp_path))
    auth = FastAPIGuard(Guard.local(service, issuer=service.settings.public_url))
    app = FastAPI(lifespan=service.lifespan)
    app.mount("/auth", service)
    app.get("/hello", dependencies=[auth.required()], response_class=PlainTextResponse)(lambda: "hello")

    async def wait(caller: Caller) -> str:
        with caller.watch() as watch:
            open_requests.put(caller.user_id)
            return await watch.ended()

    wait.__annotations__["caller"] = Annotated[Caller, auth.required()]
    app.get("/wait", response_class=PlainTextResponse)(wait)
    open_requests: queue.Queue[str] = queue.Queue()
    with on_uvicorn(app, lifespan="on", port=port) as api, Client(url, inspected=False) as client:
        token = client.newcomer()
        headers = list(bearer(token).items())
        assert api.ask("/hello").code == "token_missing"
        assert api.ask("/hello", headers).body == b"hello"
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(api.ask, "/wait", headers)
            open_requests.get(timeout=60)
            assert client.post("/logout", headers=bearer(token)).status_code < 300
            assert waiting.result(60).body == b"token_revoked"
        assert api.ask("/hello", headers).code == "token_revoked"
