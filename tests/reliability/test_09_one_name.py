"""64 people register one name at once, each in a spelling of their own: one gets it."""

from __future__ import annotations

import asyncio
import itertools
import unicodedata
from collections.abc import Iterable

import httpx2
import pytest

from tests.e2e.client import PASSWORD
from tests.reliability.conftest import Launch, on
from tests.reliability.moved_clock import CHEAP_HASHES
from tests.reliability.rows import Row

AT_ONCE, ROUNDS = 64, 100
BEHIND_A_PROXY = {"WATCHWORD_TRUSTED_PROXIES": "1"}
"""64 people are in networks of their own: one network alone does not get the whole queue of hashes."""
DOMAINS = (
    "b\u00fccher.example.com",
    "bu\u0308cher.example.com",
    "B\u00dcCHER.Example.COM",
    "xn--bcher-kva.example.com",
)


def usernames(number: int) -> set[str]:
    """One username in case, NFC, NFD and compatibility forms."""
    word = f"Stra\u00dfenb\u00e4hn-{number}"
    texts = (word, word.replace("n", "\uff4e"))
    cases = {case for text in texts for case in (text, text.lower(), text.upper(), text.swapcase(), text.casefold())}
    return {unicodedata.normalize(form, case) for case in cases for form in ("NFC", "NFD", "NFKC")}


def addresses(number: int) -> set[str]:
    """One address in case, NFC, NFD and IDNA forms."""
    local = f"ada{number}"
    people = (local, local.title(), local.upper(), local.swapcase())
    return {f"{person}@{domain}" for person in people for domain in DOMAINS}


def bodies(number: int) -> list[dict[str, str]]:
    """64 registrations of one username, or of one address in every other round."""
    kind, spellings = ("username", usernames(number)) if number % 2 else ("email", addresses(number))
    return [{kind: spelling, "password": PASSWORD} for spelling in _so_many(spellings)]


def _so_many(spellings: Iterable[str]) -> Iterable[str]:
    return itertools.islice(itertools.cycle(sorted(spellings)), AT_ONCE)


@pytest.mark.experiment(9, "64 registrations at once of one username or address in case, NFC, IDNA variants × 100")
@pytest.mark.timeout(900)
@on(("sqlite", 2), ("postgres", 2), quick=("sqlite", 2))
async def test_one_row_for_each_name(launch: Launch, row: Row) -> None:
    """One is registered; everyone else is told that the name is taken. Hashes are cheap: they meet sooner."""
    service, rounds, wrong, errors = launch(**BEHIND_A_PROXY, **{CHEAP_HASHES: "1"}), row.times(ROUNDS, least=2), [], []
    limits = httpx2.Limits(max_connections=AT_ONCE)
    async with httpx2.AsyncClient(base_url=service.url, limits=limits, timeout=120) as people:

        async def register(place: int, body: dict[str, str]) -> httpx2.Response:
            return await people.post("/register", json=body, headers={"X-Forwarded-For": f"{place + 11}.0.0.1"})

        for number in range(rounds):
            answers = await asyncio.gather(*(register(place, body) for place, body in enumerate(bodies(number))))
            codes = sorted(answer.status_code for answer in answers)
            if codes != [201] + [409] * (AT_ONCE - 1):
                wrong.append((number, codes))
            errors += [answer.text for answer in answers if answer.status_code >= 500]
    stored = await asyncio.to_thread(service.stored)
    row.tried("registrations", rounds * AT_ONCE)
    row.none("5xx", errors)
    row.none("rounds other than one 201 and 63 times 409", wrong)
    row.exactly("rows", len(stored.ids), rounds)
