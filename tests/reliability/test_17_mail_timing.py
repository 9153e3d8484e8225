"""What an answer takes tells nothing about who has an account: over HTTP, while the mails are sent."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from random import Random
from time import perf_counter

import httpx2
import pytest

from tests.e2e.client import PASSWORD
from tests.e2e.test_mail import arrived
from tests.mail.mailbox import Mailbox, receiving
from tests.reliability.conftest import Launch, on
from tests.reliability.rows import Row
from tests.reliability.test_timing import area

pytestmark = pytest.mark.alone

SAMPLES, WITHIN = 2000, 0.03
KNOWN, UNKNOWN = "known@example.org", "unknown@example.org"
CHANCE = 3.3
"""Standard deviations: at full scale they are `WITHIN`, and fewer samples need a wider bound."""

Ask = Callable[[httpx2.Client, str], httpx2.Response]
ASKS: dict[str, Ask] = {
    "forgotten": lambda api, email: api.post("/password/forgot", json={"email": email}),
    "register": lambda api, email: api.post("/register", json={"email": email, "password": PASSWORD}),
}


def sampled(api: httpx2.Client, ask: Ask, count: int) -> float:
    """How often the answer for an address with an account took longer than that for one without, of so many each.

    The order is one of chance: what a mail still costs when the next request comes falls on both kinds alike.
    """
    order = [KNOWN, UNKNOWN] * count
    Random(11).shuffle(order)
    took: dict[str, list[float]] = {KNOWN: [], UNKNOWN: []}
    answers = set()
    for email in order:
        began = perf_counter()
        answer = ask(api, email)
        took[email].append(perf_counter() - began)
        answers.add((answer.status_code, tuple(sorted(answer.json())), len(answer.content)))
    assert len(answers) == 1, answers
    assert answers.pop()[0] == 202
    return area(took[KNOWN], took[UNKNOWN])


def join(api: httpx2.Client, box: Mailbox) -> None:
    """Someone has an account, with a confirmed address."""
    assert api.post("/register", json={"email": KNOWN, "password": PASSWORD}).status_code == 202
    arrived(box, 1)
    assert api.post("/email/verify", json={"token": box.link(KNOWN)}).status_code == 204


@pytest.mark.experiment(
    17, "who has an account, guessed from the time of 2 × 2,000 answers to “forgotten” and “register”"
)
@pytest.mark.timeout(3600)
@on(("sqlite", 1), ("postgres", 1))
def test_the_time_of_asking_for_a_mail_tells_nothing(launch: Launch, row: Row) -> None:
    """An address with an account against one without: AUC 0.5 ± 0.03."""
    count = row.times(SAMPLES, least=50)
    within = max(WITHIN, CHANCE / sqrt(6 * count))
    with receiving() as box:
        service = launch(
            WATCHWORD_SMTP_URL=box.url,
            WATCHWORD_MAIL_FROM="no-reply@example.com",
            WATCHWORD_EMAIL_VERIFICATION="required",
        )
        with httpx2.Client(base_url=service.url, timeout=120) as api:
            join(api, box)
            row.tried("answers of each kind", count)
            for name, ask in ASKS.items():
                before = len(box.mails)
                found = sampled(api, ask, count)
                row.tried(f"{name}, AUC", round(found, 3))
                row.at_most(f"{name}, AUC’s distance from 0.5", round(abs(found - 0.5), 3), round(within, 3))
                # Otherwise nothing that is done for an account alone was going on.
                row.at_least(f"{name}, mails meanwhile", len(box.mails) - before, 1)
