"""A client that walks what the tutorials teach, and tries a step again when it is refused as it may be."""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Self

import httpx2

from tests.e2e.client import PASSWORD, bearer, fresh_name

_PATIENCE = 90
_PAUSE = 0.05
_AGAIN = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Fault:
    """An answer, or none, that made the client try a step again."""

    step: str
    status: int | None  # None: the connection was lost or refused
    retry_after: str | None = None
    kind: str = ""


@dataclass
class Walk:
    """Register, log in, look, refresh, log out, be refused. What is not promised fails."""

    url: str
    trusting: ssl.SSLContext | None
    faults: list[Fault] = field(default_factory=list)
    walks: int = 0

    def once(self) -> None:
        """One walk, with an account and a connection of its own."""
        with httpx2.Client(base_url=self.url, verify=self.trusting or True, timeout=30) as client:
            person = {"username": fresh_name(), "password": PASSWORD}
            # 409: the first try was stored, and its answer was lost.
            self._try(client, "register", "POST", "/register", {201, 409}, json=person)
            token = self._try(client, "log in", "POST", "/login", {200}, json=person).json()["access_token"]
            seen = self._try(client, "profile", "GET", "/profile", {200}, headers=bearer(token)).json()
            assert seen["username"] == person["username"]
            # A lost answer burns no refresh token: the same one gives the same successor within the grace.
            renewed = self._try(client, "refresh", "POST", "/refresh", {200}, json={}).json()["access_token"]
            assert renewed != token
            self._try(client, "verify", "GET", "/verify", {200}, headers=bearer(renewed))
            self._try(client, "log out", "POST", "/logout", {204, 401}, headers=bearer(renewed))
            self._refused(client, renewed)
            self._try(client, "refresh what has ended", "POST", "/refresh", {401}, json={})
        self.walks += 1

    def _refused(self, client: httpx2.Client, token: str) -> None:
        """Both services refuse it soon, and none of them takes it again."""
        give_up_at, refusals = time.monotonic() + _PATIENCE, 0
        while refusals < 10:
            answer = self._try(client, "revoked", "GET", "/verify", {200, 401}, headers=bearer(token))
            refusals = refusals + 1 if answer.status_code == 401 else 0
            assert time.monotonic() < give_up_at, "a token that was logged out is still accepted"

    def _try(
        self, client: httpx2.Client, step: str, method: str, path: str, wanted: set[int], **given: object
    ) -> httpx2.Response:
        give_up_at = time.monotonic() + _PATIENCE
        while True:
            try:
                answer = client.request(method, path, **given)  # type: ignore[arg-type]
            except httpx2.TransportError as error:
                self.faults.append(Fault(step, None, kind=type(error).__name__))
            else:
                if answer.status_code in wanted:
                    return answer
                assert answer.status_code in _AGAIN, (step, answer.status_code, answer.text)
                headers = answer.headers
                fault = Fault(step, answer.status_code, headers.get("Retry-After"), headers.get("Content-Type", ""))
                self.faults.append(fault)
            assert time.monotonic() < give_up_at, (step, self.faults[-1])
            time.sleep(_PAUSE)


class Walkers:
    """Several who walk at once, in threads, as long as the block lasts."""

    def __init__(self, url: str, trusting: ssl.SSLContext | None, count: int) -> None:
        self.all = [Walk(url, trusting) for _ in range(count)]
        self._errors: list[BaseException] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._walk, args=(each,), daemon=True) for each in self.all]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(_PATIENCE * 2)
        if kind is None and self._errors:
            raise self._errors[0]

    def _walk(self, walk: Walk) -> None:
        try:
            while not self._ended.is_set():
                walk.once()
        except BaseException as error:  # noqa: BLE001 - it is raised where the block ends
            self._errors.append(error)

    @property
    def faults(self) -> list[Fault]:
        """Those of all."""
        return [fault for walk in self.all for fault in walk.faults]

    def go_on(self, walks: int = 2) -> None:
        """Wait until each has completed so many walks more."""
        wanted = [walk.walks + walks for walk in self.all]
        give_up_at = time.monotonic() + 2 * _PATIENCE
        while any(walk.walks < least for walk, least in zip(self.all, wanted, strict=True)):
            if self._errors:
                raise self._errors[0]
            assert time.monotonic() < give_up_at, f"they do not go on: {self.faults[-3:]}"
            time.sleep(0.05)
