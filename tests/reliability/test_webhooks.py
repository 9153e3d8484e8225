"""Webhooks while all processes are killed between handing over and noting it: none is lost, each comes in its turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tests.e2e.client import bearer
from tests.reliability.conftest import Launch, on
from tests.reliability.service import Service
from tests.webhooks.receiving import Got, receiving
from watchword.identity.queue import CLAIMED_SECONDS

KILLS, PATIENCE = 4, 120
WHOLE = ["user.created", "user.changed", "user.changed", "session.ended"]


@on(("sqlite", 2), ("postgres", 2))
def test_kills_between_handing_over_and_noting_it(launch: Launch) -> None:
    """The receiver has it, no one knows: it comes again under its id, and the user's later events come after it."""
    service, arrived, release = launch(), threading.Event(), threading.Event()
    with receiving() as receiver:

        def holding(_: Got) -> int:
            arrived.set()
            release.wait(PATIENCE)
            return 200

        added = service.command("webhooks", "add", receiver.url, "--allow-private")
        assert added.returncode == 0, added.stderr
        users = []
        for number in range(KILLS):
            arrived.clear()
            release.clear()
            receiver.answer = holding
            users.append(_live(service, f"user{number}"))
            _until(arrived.is_set)
            service.kill()
            receiver.answer = lambda _: 200
            release.set()
            service.start()
            service.clock.advance(CLAIMED_SECONDS + 1)
        _until(lambda: all(len(_told(receiver.taken, user)) == len(WHOLE) for user in users))
    assert {user: _told(receiver.taken, user) for user in users} == dict.fromkeys(users, WHOLE)
    assert len(receiver.got) >= len({got.id for got in receiver.got}) + KILLS, "what was held came twice"


def _live(service: Service, name: str) -> str:
    """Make an account, rename it twice and log out; its id."""
    with service.client() as client:
        user = str(client.register(name)["id"])
        token = client.log_in(name)
        for new in (f"{name}-b", f"{name}-c"):
            client.headers.update(bearer(token))
            assert client.patch("/profile", json={"username": new}).status_code == 200
        assert client.post("/logout").status_code == 204
    return user


def _told(taken: list[Got], user: str) -> list[str]:
    """The types of a user's events, each when it first came."""
    seen: dict[str, str] = {}
    for got in taken:
        if got.user == user:
            seen.setdefault(got.id, got.type)
    return list(seen.values())


def _until(done: Callable[[], bool]) -> None:
    while not done():  # the time limit of every test ends what never comes
        time.sleep(0.02)
