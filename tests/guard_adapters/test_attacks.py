"""Every attack of `tests/attacks` once more, through every adapter: what the library refuses, no API lets in.

As in `tests/guard/test_attacks.py` each call of `Verifier.verify` takes a detour: here the token is sent as a header to
the same small API in every framework, whose guard holds that very verifier. Each must answer what a guard alone says.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guard.alone import Alone, alone_says
from tests.guard_adapters import in_process
from watchword.clock import FixedClock
from watchword.errors import Refused, TokenError
from watchword.guard import Guard
from watchword.testing import Issuer
from watchword.tokens import AccessClaims, RevocationSet, Verifier

HERE = Path(__file__).parents[1] / "attacks"
GOOD = (200, None)
_asks: dict[str, in_process.Ask] = {}
_guard: Guard
_clock: FixedClock
calls = 0


def _through_the_adapters(self: Verifier, token: Any, *, now: int, **how: Any) -> AccessClaims:
    """In place of `Verifier.verify`."""
    global calls  # noqa: PLW0603  counts, so that the last test can tell that anything was tested
    if type(token) is str and not how.get("roles") and not how.get("scopes"):
        calls += 1
        _guard._judge.standing.verifier = Alone.with_all_of(self)
        _guard._judge.standing.revocations = how.get("revocations") or RevocationSet()
        _clock.advance(now - _clock.now())
        header = b"Bearer " + token.encode("utf-8", "surrogatepass")
        expected = _expected(header)
        for name, ask in _asks.items():
            if name == "quart" and set(header) & set(b"\r\n"):
                continue  # Quart takes no such request, and no server passes it one
            # What is good is recalled the second time; what is bad, the guard hears again from the next adapter.
            for _ in range(2 if expected == GOOD else 1):
                answer = ask("/needs", [header])
                assert (answer.status, answer.code) == expected, (name, token, answer)
                assert answer.status == 200 or answer.headers["www-authenticate"].startswith("Bearer ")
    return alone_says(self, token, now=now, **how)


def _expected(header: bytes) -> tuple[int, str | None]:
    """What a guard says of these bytes, which `tests/guard` shows to be what the library says."""
    try:
        _guard.check(header)
    except (TokenError, Refused) as error:
        return _guard.refusal(error).status, error.code
    return GOOD


@pytest.fixture(autouse=True, scope="module")
def through_the_adapters() -> Iterator[None]:
    global _guard, _clock
    issuer = Issuer()
    _guard, _clock = issuer.guard(), issuer.clock
    loop = asyncio.new_event_loop()
    _asks.update(in_process.every_one(_guard, loop))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Verifier, "verify", _through_the_adapters)
        # Each call is a dozen applications here; how many mutations there are is the other run's business.
        patch.setattr("tests.attacks.test_fuzz.MUTATIONS", 300)
        yield
    _asks.clear()
    loop.close()


# What it measures is the time and the memory of one call; and what hypothesis makes up is for the library.
LEFT_OUT = {
    "test_oversized_tokens__A2_is_refused_at_once_and_costs_no_memory",
    "test_fuzz__A28_mutated_headers_and_claims_that_are_signed_give_token_errors_only",
    "test_fuzz__A28_mutated_tokens_give_token_errors_only",
}


def _collect() -> None:
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(f"tests.attacks.{path.stem}")
        for name, value in vars(module).items():
            title = f"{path.stem}__{name.removeprefix('test_')}"
            if name.startswith("test_") and callable(value) and title not in LEFT_OUT and not _made_up(value):
                globals()[title] = value


def _made_up(test: Any) -> bool:
    return hasattr(test, "hypothesis")


_collect()


def test_mutated_tokens() -> None:
    """Any bytes: the same answer from all, and never a 500."""
    import random

    from tests.attacks import forging, test_fuzz

    chance, verifier, genuine = random.Random(0x7A3), forging.verifier(), forging.honest()
    codes = set()
    for _ in range(400):
        try:
            verifier.verify(test_fuzz.mutate(genuine, chance), now=forging.NOW)
        except TokenError as error:
            codes.add(error.code)
    assert codes == {"token_malformed", "token_invalid"}


def test_the_attacks_were_run() -> None:
    """Last in this file: nothing above would be shown if the detour had not been taken."""
    assert calls > 500
    assert len(_asks) == 11
