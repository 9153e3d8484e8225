"""Registrations while the process is killed again and again: what was acknowledged must be there afterwards."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx2

from tests.e2e.client import PASSWORD
from tests.e2e.server import Server

CLIENTS = 2


class Outcome(NamedTuple):
    """What the clients saw, and what the database held in the end."""

    acknowledged: int
    unanswered: int
    refused: int
    kills: int
    missing: list[str]


class _Registering:
    """Clients that register one name after another until so many were acknowledged."""

    def __init__(self, url: str, wanted: int) -> None:
        self.url = url
        self.wanted = wanted
        self.acknowledged: dict[str, str] = {}
        self.unanswered = 0
        self.refused = 0
        self._lock = threading.Lock()
        self._next = 0

    @property
    def enough(self) -> bool:
        return len(self.acknowledged) >= self.wanted

    def run(self) -> None:
        with httpx2.Client(base_url=self.url, timeout=120) as client:
            while not self.enough:
                with self._lock:
                    self._next += 1
                    name = f"person{self._next}"
                self._one(client, name)

    def _one(self, client: httpx2.Client, name: str) -> None:
        try:
            answer = client.post("/register", json={"username": name, "password": PASSWORD})
        except httpx2.TransportError:
            with self._lock:
                self.unanswered += 1
            time.sleep(0.02)
            return
        with self._lock:
            if answer.status_code == 201:
                self.acknowledged[name] = answer.json()["id"]
            else:
                self.refused += 1


def register_while_killing(server: Server, *, registrations: int, kills: int) -> Outcome:
    """Register until so many were acknowledged; kill the server so often, spread over them."""
    work = _Registering(server.url, registrations)
    killed = 0
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(work.run) for _ in range(CLIENTS)]
        while not work.enough:
            due = (killed + 1) * registrations // (kills + 1)
            if killed < kills and len(work.acknowledged) >= due:
                time.sleep(random.random() / 50)  # anywhere within a registration
                server.kill()
                killed += 1
                server.start()
            time.sleep(0.005)
        for one in running:
            one.result()
    stored = _stored(server)
    missing = [name for name, user_id in work.acknowledged.items() if stored.get(name) != user_id]
    return Outcome(len(work.acknowledged), work.unanswered, work.refused, killed, missing)


def _stored(server: Server) -> dict[str, str]:
    """Every user by name, read from the file with nothing of ours in between."""
    with contextlib.closing(sqlite3.connect(server.data / "watchword.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return dict(database.execute("SELECT username, id FROM ww_users"))
