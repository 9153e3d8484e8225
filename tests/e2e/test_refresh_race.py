"""Many tabs, one refresh token: whoever comes first rotates it, and all the others end up with the same successor."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from tests.e2e.client import COOKIE, Client, bearer
from tests.e2e.server import Server

AT_ONCE = 64
ROUNDS = 50


def _limits() -> httpx2.Limits:
    return httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)


async def test_E2_F7_64_refreshes_of_one_cookie_yield_one_successor(server: Server, client: Client) -> None:
    """Browser door, 50 rounds: no error, one successor each round, and no answer clears the cookie."""
    client.newcomer()
    token = client.cookies[COOKIE]
    async with httpx2.AsyncClient(base_url=server.url, limits=_limits(), timeout=60) as tabs:
        for _ in range(ROUNDS):
            answers = await asyncio.gather(*(_by_cookie(tabs, token) for _ in range(AT_ONCE)))
            assert {answer.status_code for answer in answers} == {200}
            lines = [answer.headers["set-cookie"] for answer in answers]
            assert not [line for line in lines if "Max-Age=0" in line]
            successors = {line.partition(";")[0].partition("=")[2] for line in lines}
            assert len(successors) == 1
            assert token not in successors
            token = successors.pop()
    _still_one_session(client, token)


async def test_E2_64_refreshes_at_the_token_endpoint_yield_one_successor(server: Server, client: Client) -> None:
    """OAuth door, 50 rounds: the same, with the token in the body."""
    token = client.grant(client.register()["username"])["refresh_token"]
    async with httpx2.AsyncClient(base_url=server.url, limits=_limits(), timeout=60) as clients:
        for _ in range(ROUNDS):
            answers = await asyncio.gather(*(_by_form(clients, token) for _ in range(AT_ONCE)))
            assert {answer.status_code for answer in answers} == {200}
            successors = {answer.json()["refresh_token"] for answer in answers}
            assert len(successors) == 1
            assert token not in successors
            token = successors.pop()
    _still_one_session(client, token)


def _still_one_session(client: Client, token: str) -> None:
    """The last token refreshes, and its user has the one session that all this was about."""
    answer = client.post("/token", data={"grant_type": "refresh_token", "refresh_token": token}).json()
    sessions = client.get("/sessions", headers=bearer(answer["access_token"])).json()["items"]
    assert len(sessions) == 1


async def _by_cookie(tabs: httpx2.AsyncClient, token: str) -> httpx2.Response:
    request = tabs.build_request("POST", "/refresh", headers={"Cookie": f"{COOKIE}={token}"})
    return await tabs.send(request)


async def _by_form(clients: httpx2.AsyncClient, token: str) -> Any:
    return await clients.post("/token", data={"grant_type": "refresh_token", "refresh_token": token})
