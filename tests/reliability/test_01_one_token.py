"""Many tabs, one refresh token: the first to come rotates it, and all others end up with the same successor."""

from __future__ import annotations

import asyncio

import pytest

from tests.reliability.conftest import Launch, on
from tests.reliability.journal import Entry, Journal, clients
from tests.reliability.model import Model, claims_of
from tests.reliability.rows import Row
from watchword import base64url

AT_ONCE, ROUNDS, KEYED_ROUNDS = 64, 200, 20


@pytest.mark.experiment(1, "64 concurrent refreshes of one token × 200 rounds, at each of the two doors")
@pytest.mark.timeout(900)
@on(("sqlite", 1), ("sqlite", 2), ("postgres", 2), quick=("sqlite", 1))
async def test_E2_F7_64_refreshes_yield_one_successor(launch: Launch, journal: Journal, row: Row) -> None:
    """Each round: 64 times 200, one successor, no cookie cleared. In the end there is one session for each door."""
    service, rounds, wrong = launch(), row.times(ROUNDS, least=5), []
    async with clients(service.url, journal, at_once=AT_ONCE, seconds=120) as tabs:
        await tabs.register("ada")
        for door in (tabs.refresh, tabs.refresh_cookie):
            token = (await tabs.log_in("ada")).answer["refresh_token"]
            for _ in range(rounds):
                answers = await asyncio.gather(*(door(token) for _ in range(AT_ONCE)))
                successors = _successors(answers)
                if len(successors) != 1 or successors == {token}:
                    wrong.append(successors)
                token = successors.pop()
    row.tried("rounds", 2 * rounds)
    row.none("rounds without exactly one successor", wrong)
    row.none("errors", [entry for entry in journal.entries if not entry.done])
    model = Model(journal)
    row.none("sessions ended, or different from the model", model.differences(await asyncio.to_thread(service.stored)))
    row.exactly("sessions", len(model.sessions), 2)


@pytest.mark.timeout(900)
@on(("sqlite", 2), ("postgres", 2))
async def test_64_with_one_retry_key_have_one_successor(launch: Launch, journal: Journal) -> None:
    """At once, then again when the grace is long over: one successor, until it is used."""
    service = launch()
    async with clients(service.url, journal, at_once=AT_ONCE, seconds=120) as tabs:
        await tabs.register("ada")
        token = (await tabs.log_in("ada")).answer["refresh_token"]
        for turn in range(KEYED_ROUNDS):
            key = base64url.encode_text(turn.to_bytes(16, "big"))
            answers = await asyncio.gather(*(tabs.refresh_cookie(token, key) for _ in range(AT_ONCE)))
            service.clock.advance(3600)
            answers += await asyncio.gather(*(tabs.refresh_cookie(token, key) for _ in range(AT_ONCE)))
            (token,) = _successors(answers)
    assert [entry for entry in journal.entries if not entry.done] == []
    model = Model(journal)
    assert model.differences(await asyncio.to_thread(service.stored)) == []
    assert len(model.sessions) == 1


def _successors(answers: list[Entry]) -> set[str]:
    """The tokens that came back; each with an access token of the same session, until the same second."""
    assert len({(claims["sid"], claims["exp"]) for claims in map(_claims, answers)}) == 1
    return {str(answer.answer.get("refresh_token", "")) for answer in answers}


def _claims(entry: Entry) -> dict[str, object]:
    return claims_of(entry.answer["access_token"])
