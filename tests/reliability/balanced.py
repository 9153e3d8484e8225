"""A client of several hosts in turn, and people who use the service through it.

It asks another host where no one listens or where 503 with `Retry-After` says that nothing was done. Whatever else
leaves a request without its answer is a lost one, and is never tried again.
"""

from __future__ import annotations

import json
import select
import threading
import time
from collections import Counter
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlencode

from tests.e2e.client import PASSWORD, fresh_name

_PATIENCE = 60.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json"}


class Lost(Exception):
    """A request was sent, and no answer came."""


class Balanced:
    """Asks the hosts in turn, over connections that it keeps while they let it."""

    def __init__(self, ports: Sequence[int], told: Counter[str]) -> None:
        self._ports = ports
        self._told = told
        self._kept: dict[int, HTTPConnection] = {}
        self._turn = 0

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, Any]:
        """The answer of the first host that gives one."""
        give_up_at = time.monotonic() + _PATIENCE
        while time.monotonic() < give_up_at:
            self._turn += 1
            port = self._ports[self._turn % len(self._ports)]
            try:
                connection = self._connection(port)
            except ConnectionRefusedError:
                self._told["no one listens"] += 1
                time.sleep(0.02)
                continue
            status, data = self._exchange(connection, port, method, path, body, headers)
            self._told[str(status)] += 1
            if status != 503:
                return status, json.loads(data) if data else None
            time.sleep(0.05)
        raise Lost(f"{method} {path}: no host answered for a minute")

    def _exchange(
        self, connection: HTTPConnection, port: int, method: str, path: str, body: str | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, HTTPException) as error:
            self._kept.pop(port, None)
            raise Lost(f"{method} {path}: {error!r}") from error
        if answer.will_close:
            self._kept.pop(port).close()
        if answer.status == 503 and not _may_come_back(answer):
            raise Lost(f"{method} {path}: 503 without Retry-After")
        return answer.status, data

    def _connection(self, port: int) -> HTTPConnection:
        kept = self._kept.get(port)
        if kept is not None and kept.sock is not None and not select.select([kept.sock], [], [], 0)[0]:
            return kept
        if kept is not None:
            kept.close()  # the host has ended it, between two requests
        connection = self._kept[port] = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        connection.connect()
        return connection

    def close(self) -> None:
        """Close what is open."""
        for connection in self._kept.values():
            connection.close()


def _may_come_back(answer: HTTPResponse) -> bool:
    return int(answer.getheader("Retry-After") or 0) > 0


class People:
    """Threads that register, log in, refresh, verify and log out, until they are told to stop; what came of it.

    :param ports: of the hosts.
    """

    def __init__(self, ports: Sequence[int], threads: int) -> None:
        self.told: Counter[str] = Counter()
        self.lost: list[str] = []
        self.odd: list[str] = []
        self.registered: dict[str, str] = {}
        self.ended: list[str] = []
        self._ports = ports
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._live) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        """Wait until so many more were answered."""
        enough, give_up_at = self.answered + more, time.monotonic() + _PATIENCE
        while self.answered < enough:
            assert time.monotonic() < give_up_at, (self.told, self.lost, self.odd)
            time.sleep(0.02)

    def stop(self) -> None:
        """Let each finish what it does."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * _PATIENCE)

    @property
    def answered(self) -> int:
        """Answers other than 503."""
        return sum(count for told, count in self.told.items() if told not in {"503", "no one listens"})

    def _live(self) -> None:
        service = Balanced(self._ports, self.told)
        try:
            while not self._stop.is_set():
                self._one_life(service)
        finally:
            service.close()

    def _one_life(self, service: Balanced) -> None:
        try:
            name = fresh_name()
            user = json.dumps({"username": name, "password": PASSWORD})
            made = self._wanted(201, service.ask("POST", "/register", user, **_JSON))
            self.registered[name] = made["id"]
            grant = urlencode({"grant_type": "password", "username": name, "password": PASSWORD})
            tokens = self._wanted(200, service.ask("POST", "/token", grant, **_FORM))
            for _ in range(10):
                shown = {"Authorization": f"Bearer {tokens['access_token']}"}
                self._wanted(200, service.ask("GET", "/profile", **shown))
                grant = urlencode({"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]})
                tokens = self._wanted(200, service.ask("POST", "/token", grant, **_FORM))
            shown = {"Authorization": f"Bearer {tokens['access_token']}"}
            self._wanted(204, service.ask("POST", "/logout", **shown))
            self.ended.append(tokens["access_token"])
        except Lost as error:
            self.lost.append(str(error))
        except _Odd as error:
            self.odd.append(str(error))

    def _wanted(self, status: int, answer: tuple[int, Any]) -> Any:
        if answer[0] != status:
            raise _Odd(f"{answer} for {status}")
        return answer[1]


class _Odd(Exception):
    """An answer that no one should get."""
