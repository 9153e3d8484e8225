"""What one account or one request may cost everybody else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from tests.identity.scenes import HOME, PASSWORD
from watchword.clock import FixedClock
from watchword.errors import InvalidInput, Unauthenticated
from watchword.identity import hashing, identifiers, password_policy
from watchword.identity.factors import Candidate, Factor, Proof
from watchword.identity.granting import unchecked
from watchword.identity.kernel import Kernel
from watchword.identity.revocation import find_place
from watchword.identity.sessions import sessions

# Combining marks in the wrong order: sorting them takes time that grows with the square of their number.
UNORDERED = "a" + "\u0315" * 3000 + "\u0f73" * 5191


def _quickest(work: Callable[[], object]) -> float:
    """Milliseconds of the best of three runs: others on the machine only ever add to it."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        with contextlib.suppress(InvalidInput):
            work()
        times.append(time.perf_counter() - started)
    return min(times) * 1000


@pytest.mark.parametrize(
    "work",
    [
        lambda: identifiers.typed(UNORDERED),
        lambda: identifiers.typed("@" + UNORDERED),
        lambda: identifiers.username(UNORDERED),
        lambda: identifiers.email("x@" + UNORDERED),
        lambda: hashing.normalise(UNORDERED),
        lambda: password_policy.faults(UNORDERED, identifiers=(), policy="default", hash_kind="argon2id"),
    ],
    ids=["log_in_name", "log_in_address", "username", "email", "password", "new_password"],
)
def test_j7_no_text_holds_the_loop(work: Callable[[], object]) -> None:
    """Normalising eight thousand unordered marks took 200 ms before any limit was asked: one client stopped all."""
    assert _quickest(work) < 100


@pytest.mark.parametrize("length", [1024, 1025])
def test_d4_a_password_of_1024_characters_is_the_longest(length: int) -> None:
    """One more is refused by name, and checked without being normalised it matches nothing."""
    password = ("plum-orbit-" * 100)[:length]
    found = password_policy.faults(password, identifiers=(), policy="default", hash_kind="argon2id")
    assert [fault.code for fault in found] == ([] if length == 1024 else ["too_long"])


async def _log_in(kernel: Kernel, name: str) -> str:
    async def prove(candidate: Candidate | None) -> Proof | None:
        return None if candidate is None else Proof("pwd")

    logged_in = await kernel.login.attempt(name, Factor(prove), client=HOME, client_id="watchword")
    return logged_in.tokens.refresh_token


async def test_one_user_has_at_most_a_hundred_sessions(kernel: Kernel, clock: FixedClock) -> None:
    """The log-in that would be one more ends the oldest, with its revocation; the newest hundred go on."""
    user = await kernel.users.create(username="ada", email=None, password=PASSWORD, client=HOME, check=unchecked)
    tokens = []
    for _ in range(sessions.MAX_SESSIONS + 3):
        tokens.append(await _log_in(kernel, "ada"))
        clock.advance(1)
    assert len(await kernel.sessions.page(user.id, limit=1000)) == sessions.MAX_SESSIONS
    for ended in tokens[:3]:
        with pytest.raises(Unauthenticated) as refused:
            await kernel.sessions.refresh(ended, client_id="watchword", client=HOME)
        assert refused.value.code == "session_ended"
    await kernel.sessions.refresh(tokens[3], client_id="watchword", client=HOME)
    await find_place(kernel.database)  # PostgreSQL numbers what is committed when it is read
    entries = await kernel.database.all("SELECT seq, kind FROM ww_revocations ORDER BY seq")
    assert [(row["seq"], row["kind"]) for row in entries] == [(1, "session"), (2, "session"), (3, "session")]
