"""What a log-in gives away: nothing, whatever the cause of its failure."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable

import httpx2
import pytest

from tests.e2e.client import PASSWORD, Client
from tests.e2e.fixtures import Serve
from tests.e2e.server import Server

_CHANGING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def _bare(answer: httpx2.Response) -> tuple[int, list[tuple[str, str]], str]:
    """Status, headers and body without the request's own id and date."""
    headers = [(name, value) for name, value in answer.headers.items() if name not in ("date", "x-request-id")]
    return answer.status_code, headers, _CHANGING.sub("<id>", answer.text)


def _by_login(client: Client, name: str, password: str) -> httpx2.Response:
    field = "email" if "@" in name else "username"
    return client.post("/login", json={field: name, "password": password})


def _by_token(client: Client, name: str, password: str) -> httpx2.Response:
    return client.post("/token", data={"grant_type": "password", "username": name, "password": password})


@pytest.mark.parametrize("door", [_by_login, _by_token])
def test_D7_every_failed_log_in_looks_the_same(
    server: Server, client: Client, door: Callable[[Client, str, str], httpx2.Response]
) -> None:
    """Unknown, wrong, disabled, disabled with the right password, impossible names, an address nobody has."""
    known, disabled = client.register()["username"], client.register()["username"]
    assert server.command("users", "disable", disabled).returncode == 0
    attempts = [
        (known, "wrong-orbit-canvas"),
        ("nobody-of-this-name", PASSWORD),
        (disabled, PASSWORD),
        (disabled, "wrong-orbit-canvas"),
        ("no name at all!", PASSWORD),
        ("a" * 200, PASSWORD),
        (known, "x"),
        (known, "x" * 2000),
        (known.upper() + "x", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("not-an-address@", PASSWORD),
        ("@@", PASSWORD),
    ]
    answers = {_bare_text(door(client, name, password)) for name, password in attempts}
    assert len(answers) == 1, answers


def _bare_text(answer: httpx2.Response) -> str:
    return repr(_bare(answer))


@pytest.mark.parametrize("password", ["", " ", "\u3000"])
def test_D14_an_empty_password_logs_nobody_in(client: Client, password: str) -> None:
    """Not a user who exists, and not one who has no password."""
    name = client.register()["username"]
    answer = client.post("/login", json={"username": name, "password": password})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


async def test_D9_the_limit_holds_in_a_race_across_workers(serve: Serve) -> None:
    """60 attempts at once, two processes: no more than ten of them get to try their password."""
    server = serve("--workers", "2")
    with server.client() as client:
        name = client.register()["username"]
    body = {"username": name, "password": "wrong-orbit-canvas"}
    async with httpx2.AsyncClient(base_url=server.url, timeout=120) as attackers:
        answers = await asyncio.gather(*(attackers.post("/login", json=body) for _ in range(60)))
    seen = Counter(answer.json()["code"] for answer in answers)
    assert set(seen) <= {"invalid_credentials", "too_many_attempts", "overloaded"}, seen
    assert 1 <= seen["invalid_credentials"] <= 10, seen
    with server.client() as client:
        for _ in range(12):
            client.post("/login", json=body)
        answer = client.post("/login", json={**body, "password": PASSWORD})
        assert answer.status_code == 429, "used up in one worker, it is used up in the other"
