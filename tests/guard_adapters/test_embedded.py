"""A service in the same process: `Guard.local` behind adapters, no network, revoked at once."""

from __future__ import annotations

import asyncio
import queue
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import pytest

from tests.e2e.client import Client, bearer
from tests.guard_adapters import apps, in_process
from tests.guard_adapters.serving import on_uvicorn
from watchword.guard import Caller, Guard, SeveralIssuers
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
    declared = service.issuer.guard()  # one of the routes takes API keys
    loop = asyncio.new_event_loop()
    ask = in_process.every_one(declared, loop)[name]
    token = service.issuer.token("ada", session_id="s", scopes=["orders:write"])

    def asked(path: str) -> in_process.Answer:
        answer: in_process.Answer = ask(path, [b"Bearer " + token.encode()])
        return answer

    with declared.standing_in(Guard.local(service, issuer="https://api.example/auth")):
        assert asked("/scoped").user() == "ada"
        refused = asked("/admin")
        assert (refused.status, refused.code) == (403, "role_missing")
        assert b"https://api.example/auth/problems/role_missing" in refused.body
        service.issuer.revoke_session("s")
        assert asked("/scoped").code == "token_revoked"
    loop.close()


MAKERS: dict[str, Callable[[Guard], object]] = {**apps.ASGI, **apps.WSGI, "aiohttp": apps.aiohttp}
del MAKERS["django"]


@pytest.mark.parametrize("name", MAKERS)
def test_a_route_that_takes_API_keys_is_refused_where_it_is_declared(name: str) -> None:
    """⚑ Every key was refused as if it were a bad one, and nothing said why."""
    local = Guard.local(Service(), issuer="https://api.example/auth")
    with pytest.raises(ValueError, match=r"Guard\.local exchanges no API keys: use Guard\(URL\)"):
        MAKERS[name](local)


def test_in_Django_such_a_view_fails_at_its_first_request(caplog: pytest.LogCaptureFixture) -> None:
    """A view there knows no guard before; with a token too, and not as if the key were bad."""
    service = Service()
    ask = in_process.wsgi(apps.WSGI["django"](Guard.local(service, issuer="https://api.example/auth")))
    good = [b"Bearer " + service.issuer.token("ada", scopes=["orders:read", "orders:write"]).encode()]
    assert [ask(path, good).status for path in ("/keys", "/scoped")] == [500, 200]
    assert "Guard.local exchanges no API keys" in caplog.text


def test_nothing_that_takes_API_keys_goes_on_silently() -> None:
    """Each way to ask, also of several issuers; a slip in the switch itself is told of as before."""
    service = Service()
    local = Guard.local(service, issuer="https://api.example/auth")
    token = service.issuer.token("ada")
    joined = SeveralIssuers(local, Guard("https://other.example"))
    for guard in (local, joined):
        for way in (guard.require, lambda **asked: guard.check(f"Bearer {token}", **asked),  # noqa: B023
                    lambda **asked: guard.check_async(f"Bearer {token}", **asked),  # noqa: B023
                    lambda **asked: guard.verify_async(token, **asked),  # noqa: B023
                    lambda **asked: guard.verify(token, **asked)):  # noqa: B023  # fmt: skip
            with pytest.raises(ValueError, match="exchanges no API keys"):
                way(api_keys=True)
    assert local.require(api_keys=False) == local.require()
    sent_keys = SeveralIssuers(Guard("https://other.example"), local)  # the first is sent the keys
    assert sent_keys.require(api_keys=True).asked.api_keys
    with pytest.raises(TypeError, match="True or False"):
        Guard("https://other.example").require(api_keys="yes")  # type: ignore[arg-type]


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

    keys = FastAPIGuard(Guard(url))  # beside it, as in any other API
    app.get("/keys", dependencies=[keys.required(api_keys=True)], response_class=PlainTextResponse)(lambda: "by key")

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
        key = client.post("/api-keys", json={"name": "nightly"}, headers=bearer(token)).json()["key"]
        assert api.ask("/keys", list(bearer(key).items())).body == b"by key"
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(api.ask, "/wait", headers)
            open_requests.get(timeout=60)
            assert client.post("/logout", headers=bearer(token)).status_code < 300
            assert waiting.result(60).body == b"token_revoked"
        assert api.ask("/hello", headers).code == "token_revoked"
