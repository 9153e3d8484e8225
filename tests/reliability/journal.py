"""What clients asked and what they were told, with the times of their own clock; and clients that write it down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.client import COOKIE, PASSWORD

REGISTER, LOG_IN, REFRESH, LOG_OUT, VERIFY = "register", "log_in", "refresh", "log_out", "verify"


@dataclass(slots=True)
class Entry:
    """A request and its answer. `status` is 0 for one that was not answered: what it did is not known."""

    what: str
    given: dict[str, str]
    sent: float
    answered: float = 0.0
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)
    retry_after: str = ""
    fault: str = ""

    @property
    def done(self) -> bool:
        """Whether the service said that it was done."""
        return 200 <= self.status < 300

    @property
    def unknown(self) -> bool:
        """Whether it may have been done or not: no answer, or one of a server that could not tell."""
        return self.status == 0 or self.status >= 500

    @property
    def took(self) -> float:
        """Seconds from the request to its answer or fault."""
        return self.answered - self.sent


class Journal:
    """All entries in the order in which they were sent."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def begin(self, what: str, **given: str) -> Entry:
        """Note a request that is about to be sent."""
        entry = Entry(what, given, time.monotonic())
        self.entries.append(entry)
        return entry

    def of(self, what: str, *, after: float = 0.0) -> Iterator[Entry]:
        """Yield the entries of one kind that were sent after a time."""
        return (entry for entry in self.entries if entry.what == what and entry.sent >= after)

    def dump(self, path: Path) -> None:
        """Write it as JSON lines, for someone who looks for the reason of a failure."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(entry)) + "\n" for entry in self.entries)


class Clients:
    """Asks a service, and writes down each request. Cookies are never kept."""

    def __init__(self, journal: Journal, http: aiohttp.ClientSession) -> None:
        self.journal = journal
        self._http = http

    async def register(self, name: str) -> Entry:
        """Make a user."""
        entry = self.journal.begin(REGISTER, username=name)
        return await self._ask(entry, "POST", "/register", json={"username": name, "password": PASSWORD})

    async def log_in(self, name: str) -> Entry:
        """Open a session."""
        form = {"grant_type": "password", "username": name, "password": PASSWORD}
        return await self._ask(self.journal.begin(LOG_IN, username=name), "POST", "/token", data=form)

    async def refresh(self, token: str) -> Entry:
        """Trade a refresh token for the next, at the door for programs."""
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return await self._ask(self.journal.begin(REFRESH, refresh_token=token), "POST", "/token", data=form)

    async def refresh_cookie(self, token: str, retry_key: str | None = None) -> Entry:
        """Trade a refresh token for the next, at the door for browsers."""
        entry = self.journal.begin(REFRESH, refresh_token=token)
        body = {} if retry_key is None else {"json": {"retry_key": retry_key}}
        return await self._ask(entry, "POST", "/refresh", headers={"Cookie": f"{COOKIE}={token}"}, **body)

    async def log_out(self, access_token: str) -> Entry:
        """End a session by its access token."""
        entry = self.journal.begin(LOG_OUT, access_token=access_token)
        return await self._ask(entry, "POST", "/logout", headers={"Authorization": f"Bearer {access_token}"})

    async def verify(self, access_token: str) -> Entry:
        """Ask whether an access token is good."""
        entry = self.journal.begin(VERIFY, access_token=access_token)
        return await self._ask(entry, "GET", "/verify", headers={"Authorization": f"Bearer {access_token}"})

    async def _ask(self, entry: Entry, method: str, path: str, **options: Any) -> Entry:
        try:
            async with self._http.request(method, path, allow_redirects=False, **options) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            entry.fault = type(error).__name__
        else:
            entry.status = answer.status
            entry.retry_after = answer.headers.get("retry-after", "")
            entry.answer = json.loads(text) if text and "json" in answer.headers["content-type"] else {}
            name, _, value = answer.headers.get("set-cookie", "").partition(";")[0].partition("=")
            if name == COOKIE and value:
                entry.answer["refresh_token"] = value
        finally:
            entry.answered = time.monotonic()
        return entry

    async def sooner_or_later(self, ask: Any, *given: str, patience: float = 60.0) -> Entry:
        """Ask until the service tells: a request that was not answered is sent again, as a careful client does."""
        give_up_at = time.monotonic() + patience
        while (entry := await ask(*given)).unknown:
            assert time.monotonic() < give_up_at, (entry.status, entry.fault, entry.answer)
            await asyncio.sleep(0.05)
        return entry


@asynccontextmanager
async def clients(url: str, journal: Journal, *, at_once: int = 16, seconds: float = 30.0) -> AsyncIterator[Clients]:
    """Clients of a service with so many connections at most, who wait so long for an answer."""
    connections = aiohttp.TCPConnector(limit=at_once)
    waits, jar = aiohttp.ClientTimeout(total=seconds), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(url, connector=connections, timeout=waits, cookie_jar=jar) as http:
        yield Clients(journal, http)
