"""The service in this process, over its whole HTTP surface, on a clock that moves when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests import tables
from tests.e2e.client import COOKIE, PASSWORD, bearer, fresh_name
from tests.e2e.contract import Contract
from watchword.app import dispatcher
from watchword.clock import FixedClock
from watchword.identity.kernel import Kernel
from watchword.opening import opened
from watchword.settings import Settings
from watchword.settings.table import SETTINGS

URL = "http://127.0.0.1:4000"
SERVERS = {"database_url", "redis_url", "smtp_url"}
"""Settings whose value the document does not tell: it may have another port in each test."""
UNLIMITED = {setting.name: "off" for setting in SETTINGS if setting.name.endswith("_limit")}
LAPTOP = {"User-Agent": "laptop"}
_contracts: dict[str, Contract] = {}


class Api(httpx2.AsyncClient):
    """A client of the service in this process, and what is behind it. Every answer is held against the document."""

    def __init__(self, app: Any, kernel: Kernel, clock: FixedClock, *, address: str = "127.0.0.1") -> None:
        transport = httpx2.ASGITransport(app=app, client=(address, 50_000), raise_app_exceptions=True)
        super().__init__(transport=transport, base_url=URL + kernel.settings.path_prefix, headers=LAPTOP)
        self._app = app
        self.kernel = kernel
        self.clock = clock
        self.contract: Contract | None = None

    async def inspect(self, known_by: str) -> None:
        """From now on every answer is inspected.

        :param known_by: what decides how the document reads. It is read once for all that have this in common.
        """
        if known_by not in _contracts:
            _contracts[known_by] = Contract((await self.get("/openapi.json")).json())
        self.contract = contract = _contracts[known_by]

        async def check(answer: httpx2.Response) -> None:
            await answer.aread()
            contract.check(answer)

        self.event_hooks = {"response": [check]}

    def elsewhere(self, address: str = "203.0.113.9", agent: str = "phone") -> Api:
        """The same service from another place, with a cookie jar of its own."""
        other = Api(self._app, self.kernel, self.clock, address=address)
        other.headers["User-Agent"] = agent
        other.event_hooks = self.event_hooks
        return other

    async def register(self, name: str | None = None, /, **more: str) -> dict[str, Any]:
        """A new account."""
        answer = await self.post("/register", json={"username": name or fresh_name(), "password": PASSWORD, **more})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def log_in(self, name: str, password: str = PASSWORD) -> str:
        """The access token; the refresh token is in the cookie jar."""
        answer = await self.post("/login", json={"username": name, "password": password})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def newcomer(self) -> str:
        """Register somebody and log them in; the access token."""
        return await self.log_in((await self.register())["username"])

    async def as_bearer(self, method: str, path: str, token: str, **options: Any) -> httpx2.Response:
        """A request that shows an access token."""
        return await self.request(method, path, headers=bearer(token), **options)

    async def refresh_with(self, cookie: str) -> httpx2.Response:
        """`POST /refresh` with this cookie and no other."""
        self.cookies.clear()
        return await self.post("/refresh", headers={"Cookie": f"{COOKIE}={cookie}"})


@asynccontextmanager
async def served(folder: Path, *, copied: bool = True, **given: Any) -> AsyncIterator[Api]:
    """The service on this data directory; no limits unless they are given.

    :param copied: False has the service make the tables of a new database itself.
    """
    clock, settings = (
        FixedClock(),
        Settings(**{"data_dir": folder, "email_login": "on", "admin": "on", **UNLIMITED, **given}),
    )
    if copied and "database_url" not in given:
        tables.prepare(settings.data_dir)
    async with opened(settings, clock=clock) as kernel, Api(dispatcher(kernel), kernel, clock) as api:
        await api.inspect(repr(sorted((name, name in SERVERS or value) for name, value in given.items())))
        yield api
