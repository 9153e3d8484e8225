"""An old application's token through every adapter: they know nothing of it, the guard does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import jwt
import pytest

from tests.guard_adapters import apps
from tests.guard_adapters.in_process import Ask, every_one
from watchword.clock import FixedClock
from watchword.guard import Guard, Legacy
from watchword.testing import Issuer
from watchword.tokens import KeySet

OLD = "Vb8uK2pQx9Zr4TnW7cYdVn3sLq6wHe5m"
NOW = FixedClock().now()


@pytest.fixture(params=[*apps.ASGI, *apps.WSGI, "aiohttp", "drf", "ninja"])
def ask(request: pytest.FixtureRequest) -> Iterator[tuple[Ask, FixedClock]]:
    clock = FixedClock(NOW)
    issuer = Issuer(clock=clock)
    legacy = Legacy(secret=OLD, subject="user_id:id", until="2027-02-14")
    guard = Guard.offline(
        issuer.issuer, audience=issuer.audience, keys=KeySet(issuer._keys), legacy=legacy, clock=clock
    )
    loop = asyncio.new_event_loop()
    yield every_one(guard, loop)[request.param], clock
    loop.close()


def test_an_old_token_until_the_day(ask: tuple[Ask, FixedClock]) -> None:
    """The caller has the mapped id; of another secret's token, and from the day on, there is none."""
    asked, clock = ask
    good, forged = (f"Bearer {jwt.encode({'user_id': 7}, secret, 'HS256')}".encode() for secret in (OLD, OLD[::-1]))
    for _ in range(2):
        answer = asked("/needs", [good])
        assert (answer.status, answer.user()) == (200, "7")
    assert asked("/needs", [forged]).status == 401
    clock.advance(1_802_563_200 - NOW)
    answer = asked("/needs", [good])
    assert (answer.status, answer.code) == (401, "token_invalid")
