"""A service in the same process: `Guard.local` behind adapters, no network, revoked at once."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Client, bearer
from tests.guard_adapters import apps, in_process
from tests.guard_adapters.serving import on_uvicorn
from watchword.guard import Guard
from watchword.testing import Issuer
from watchword.tokens import AccessClaims


class Service:
    """As much of a service as a guard sees: it verifies."""

    def __init__(self) -> None:
        self.issuer = Issuer()
        self._guard = self.issuer.guard()

    def verify(self, token: str) -> AccessClaims:
        return self._guard.verify(token).claims


@pytest.mark.parametrize("name", [*apps.ASGI, "flask", "django", "drf"])
def test_an_embedded_service(name: str) -> None:
    service = Service()
    guard = Guard.local(service, issuer="https://api.example/auth")
    loop = asyncio.new_event_loop()
    ask: Any
    if name in apps.ASGI:
        ask = in_process.asgi(apps.ASGI[name](guard), loop)
    else:
        ask = in_process.wsgi(apps.flask(guard) if name == "flask" else apps.django_wsgi(guard))
    prefix = "/drf" if name == "drf" else ""
    token = service.issuer.token("ada", session_id="s", scopes=["orders:write"])

    def asked(path: str) -> in_process.Answer:
        answer: in_process.Answer = ask(prefix + path, [b"Bearer " + token.encode()])
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
    with on_uvicorn(app, lifespan="on", port=port) as api, Client(url, inspected=False) as client:
        token = client.newcomer()
        headers = list(bearer(token).items())
        assert api.ask("/hello").code == "token_missing"
        assert api.ask("/hello", headers).body == b"hello"
        assert client.post("/logout", headers=bearer(token)).status_code < 300
        assert api.ask("/hello", headers).code == "token_revoked"
