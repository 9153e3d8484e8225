"""Retry keys: a lost answer is given again for the key that came with the refresh, and for nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.identity.scenes import (
    AWAY,
    DAY,
    HOME,
    HOUR,
    Opener,
    claims_of,
    entries,
    everything,
    join,
    log_in,
    recorded,
    session_row,
    statements,
)
from tests.identity.test_rule import ACTIONS, DELAYS, Action, Violation, explore
from tests.postgres import EVERYTHING
from watchword.clock import FixedClock
from watchword.errors import InvalidInput, Unauthenticated
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.sessions.retrying import RetryKey, read_retry_key
from watchword.identity.sessions.rule import SentKey, SessionState, Verdict, decide
from watchword.identity.sessions.sessions import Tokens

pytestmark = pytest.mark.anyio

DEPTH = 6 if EVERYTHING in os.environ else 5
"""Of what is tried: `make reliability` tries more."""
DOORS = pytest.mark.parametrize("shared", [False, True], ids=["token", "browser"])


def actions(thief: str, *, shared: bool, plain: bool = False) -> tuple[Action, ...]:
    """Tabs that keep a key beside each token, a thief with keys of this kind, perhaps a page that knows no keys."""
    tabs = [one._replace(keys="kept", shared=shared) for one in ACTIONS if one.who != "thief"]
    thefts = [Action("thief", delay, lost=False, keys=thief, shared=shared) for delay in DELAYS]
    return (*tabs, *thefts, *(one for one in ACTIONS if plain and one.who == "tab"))


@DOORS
@pytest.mark.parametrize("thief", ["", "own", "copied", "one"])
def test_no_interleaving_with_keys_breaks_the_rule(thief: str, shared: bool) -> None:
    """A thief with the token alone, with keys of their own, with a copy of both, and with one key for ever."""
    assert explore(decide, DEPTH, actions(thief, shared=shared)) > 1_000


@DOORS
def test_no_interleaving_of_clients_with_and_without_keys_breaks_the_rule(shared: bool) -> None:
    """Two versions of one application, or a server that refreshes for its pages."""
    assert explore(decide, DEPTH, actions("", shared=shared, plain=True)) > 400


Change = Callable[[SessionState, int, int, SentKey, Verdict], Verdict]


def _key_only_in_the_window(session: SessionState, presented: int, now: int, key: SentKey, step: Verdict) -> Verdict:
    late = step is Verdict.GRACE and now - session.rotated_at > 30
    return Verdict.REUSE if late else step


def _key_for_grandparents(session: SessionState, presented: int, now: int, key: SentKey, step: Verdict) -> Verdict:
    older = session.ended_at is None and session.generation - presented > 1
    return Verdict.GRACE if older and key.mac else step


def _any_key(session: SessionState, presented: int, now: int, key: SentKey, step: Verdict) -> Verdict:
    behind = session.ended_at is None and session.generation - presented == 1
    return Verdict.GRACE if behind and key.mac else step


def _no_key_is_needed(session: SessionState, presented: int, now: int, key: SentKey, step: Verdict) -> Verdict:
    behind = session.ended_at is None and session.generation - presented == 1
    return Verdict.GRACE if behind and session.retry_mac and not key.mac else step


def _another_key_is_none(session: SessionState, presented: int, now: int, key: SentKey, step: Verdict) -> Verdict:
    young = session.generation - presented == 1 and now - session.rotated_at <= 30
    return Verdict.GRACE if young and step is Verdict.REUSE else step


def _keys_are_repeated(session: SessionState, presented: int, now: int, key: SentKey, step: Verdict) -> Verdict:
    return Verdict.ROTATE if step is Verdict.KEY_REPEATED else step


def _key_after_the_end(session: SessionState, presented: int, now: int, key: SentKey, step: Verdict) -> Verdict:
    ended = session.ended_at is not None and session.generation - presented == 1
    return Verdict.GRACE if ended and key.mac and key.mac == session.retry_mac else step


@pytest.mark.parametrize(
    "mutant",
    [
        _key_only_in_the_window,
        _key_for_grandparents,
        _any_key,
        _no_key_is_needed,
        _another_key_is_none,
        _keys_are_repeated,
        _key_after_the_end,
    ],
    ids=lambda mutant: mutant.__name__.strip("_"),
)
def test_the_enumeration_catches_every_mistake_with_keys(mutant: Change) -> None:
    """Each of them is found with one of the thieves."""

    def rule(session: SessionState, presented: int, now: int, *, key: SentKey, **given: Any) -> Verdict:
        return mutant(session, presented, now, key, decide(session, presented, now, key=key, **given))

    anyone = tuple(dict.fromkeys(one for thief in ("own", "", "one") for one in actions(thief, shared=False)))
    with pytest.raises(Violation):
        explore(rule, 5, anyone)


def test_a_mac_that_an_older_version_left_behind_counts_for_nothing() -> None:
    """Beside a process that knows no keys, a rotation leaves the MAC of an earlier one: no honest client is accused."""
    row = SessionState(5, 1000, 900, None, 9000, 9000, 0, True, retry_mac="old", retry_generation=4)
    given = {"grace": 30, "elsewhere": False, "key": SentKey("another")}
    assert decide(row, 4, 1010, **given) is Verdict.GRACE  # type: ignore[arg-type]
    assert decide(row, 4, 1031, **given) is Verdict.REUSE  # type: ignore[arg-type]


def key(number: int = 0, *, shared: bool = False) -> RetryKey:
    """A key of these tests."""
    return RetryKey(bytes([number]) * 16, shared)


async def refresh(kernel: Kernel, token: str, retry_key: RetryKey | None, **given: Any) -> Tokens:
    """Refresh with a key."""
    given = {"client": HOME, "client_id": FIRST_PARTY, **given}
    return await kernel.sessions.refresh(token, retry_key=retry_key, **given)


async def refusal(kernel: Kernel, token: str, retry_key: RetryKey | None, **given: Any) -> str:
    """The code with which it is refused."""
    with pytest.raises(Unauthenticated) as caught:
        await refresh(kernel, token, retry_key, **given)
    return caught.value.code


@DOORS
@pytest.mark.parametrize("later", [0, 31, HOUR, 6 * DAY])
async def test_a_lost_answer_is_given_again_however_late(
    kernel: Kernel,
    clock: FixedClock,
    later: int,
    shared: bool,
) -> None:
    """The same successor, with the times of its rotation: an access token that has expired says so."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token, key(shared=shared))
    rotated_at = clock.now()
    clock.advance(later)
    again = await refresh(kernel, first.refresh_token, key(shared=shared))
    assert again.refresh_token == second.refresh_token
    assert again.expires_in == max(0, 15 * 60 - later)
    assert again.refresh_expires_in == 7 * DAY - later
    third = await refresh(kernel, again.refresh_token, key(1, shared=shared))
    row = await session_row(kernel, claims_of(kernel, third).sid)
    assert (row["generation"], row["prev_rotated_at"], row["ended_at"]) == (2, rotated_at, None)


async def test_until_the_successor_has_been_used(kernel: Kernel, clock: FixedClock) -> None:
    """Then the key gives nothing: the token is two behind, and a copy."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token, key())
    clock.advance(HOUR)
    await refresh(kernel, second.refresh_token, key(1))
    clock.advance(HOUR)
    assert await refusal(kernel, first.refresh_token, key()) == "refresh_token_reused"


async def test_not_after_the_session_has_ended(kernel: Kernel, clock: FixedClock) -> None:
    """Logged out, or unused for longer than it may be."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token, key())
    clock.advance(7 * DAY)
    assert await refusal(kernel, first.refresh_token, key()) == "session_ended"
    other = (await log_in(kernel)).tokens
    claims = claims_of(kernel, await refresh(kernel, other.refresh_token, key()))
    await kernel.sessions.log_out(claims=claims, presented=None, client=HOME)
    assert await refusal(kernel, other.refresh_token, key()) == "session_ended"
    assert second.refresh_token != first.refresh_token


@pytest.mark.parametrize("sent", [None, key(9), key(9, shared=True)], ids=["none", "another", "another_in_a_browser"])
async def test_a_thief_who_has_the_token_alone_gains_nothing(
    kernel: Kernel, clock: FixedClock, sent: RetryKey | None
) -> None:
    """Later than the grace they end the session, as without keys."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token, key())
    clock.advance(31)
    assert await refusal(kernel, first.refresh_token, sent, client=AWAY) == "refresh_token_reused"
    assert await refusal(kernel, second.refresh_token, key(1)) == "session_ended"
    assert len(await entries(kernel)) == 1


async def test_another_key_is_reuse_within_the_grace_too(kernel: Kernel) -> None:
    """Who has the token keeps one key beside it; in a browser pages of several origins each have their own."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token, key(shared=True))
    again = await refresh(kernel, first.refresh_token, key(9, shared=True))
    assert again.refresh_token == second.refresh_token
    assert await refusal(kernel, first.refresh_token, key(9)) == "refresh_token_reused"


async def test_a_thief_with_token_and_key_is_found_one_refresh_later(kernel: Kernel, clock: FixedClock) -> None:
    """Both get the same successor for the key that both have; then each makes another."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    thiefs = await refresh(kernel, first.refresh_token, key(), client=AWAY)
    clock.advance(HOUR)
    victims = await refresh(kernel, first.refresh_token, key())
    assert victims.refresh_token == thiefs.refresh_token
    await refresh(kernel, thiefs.refresh_token, key(66), client=AWAY)
    assert await refusal(kernel, victims.refresh_token, key(1)) == "refresh_token_reused"


async def test_a_key_is_good_for_one_refresh(kernel: Kernel) -> None:
    """The same one with the next token is refused and changes nothing; another one goes on."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token, key())
    before = await everything(kernel)
    with pytest.raises(InvalidInput) as caught:
        await refresh(kernel, second.refresh_token, key())
    assert [(error.field, error.code) for error in caught.value.errors] == [("retry_key", "repeated")]
    assert await everything(kernel) == before
    await refresh(kernel, second.refresh_token, key(1))


async def test_with_the_key_no_place_is_elsewhere(kernel: Kernel) -> None:
    """A telephone that updates itself on a journey asks again as often as it must."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token, key())
    records = len(await recorded(kernel, "ww_audit"))
    for _ in range(4):
        again = await refresh(kernel, first.refresh_token, key(), client=AWAY)
        assert again.refresh_token == second.refresh_token
    assert len(await recorded(kernel, "ww_audit")) == records


async def test_a_refresh_without_a_key_forgets_the_key_before(kernel: Kernel, clock: FixedClock) -> None:
    """The rule without keys is as it was, also in a session that had some."""
    await join(kernel)
    first = (await log_in(kernel)).tokens
    second = await refresh(kernel, first.refresh_token, key())
    third = await refresh(kernel, second.refresh_token, None)
    assert (await refresh(kernel, second.refresh_token, key())).refresh_token == third.refresh_token
    clock.advance(31)
    assert await refusal(kernel, second.refresh_token, key()) == "refresh_token_reused"


async def test_64_at_once_with_one_key_have_one_successor(open_kernel: Opener, clock: FixedClock) -> None:
    """In two processes, and once more an hour later."""
    async with open_kernel(workers=2) as here, open_kernel(workers=2) as there:
        await join(here)
        token = (await log_in(here)).tokens.refresh_token
        for number in range(3):
            sent, answers = key(number), []
            for _ in range(2):
                asked = [refresh((here, there)[n % 2], token, sent) for n in range(64)]
                answers += await asyncio.gather(*asked)
                clock.advance(HOUR)
            assert len({answer.refresh_token for answer in answers}) == 1
            token = answers[0].refresh_token
        row = await session_row(here, claims_of(here, await refresh(here, token, None)).sid)
        assert (row["generation"], row["ended_at"]) == (4, None)


@pytest.mark.sqlite
async def test_a_refresh_with_a_key_is_still_one_statement(kernel: Kernel) -> None:
    """And what is stored is neither the key nor what anyone makes of it without the session's secret handle."""
    await join(kernel)
    token = (await log_in(kernel)).tokens.refresh_token
    other = (await log_in(kernel)).tokens.refresh_token
    with statements(kernel) as seen:
        await refresh(kernel, token, key(7))
    assert [statement[:18] for statement in seen.of_the_product] == ["UPDATE ww_sessions"]
    await refresh(kernel, other, key(7))
    macs = {row["retry_mac"] for row in await recorded(kernel, "ww_sessions")}
    assert len(macs) == 2
    assert all(len(mac) == 32 and key(7).value.hex() not in mac for mac in macs)


@pytest.mark.parametrize(
    "text", ["", "A", "A" * 21, "A" * 23, "A" * 21 + "B", "A" * 21 + "=", "A" * 21 + "é", "A" * 21 + "+", "A" * 43]
)
def test_a_key_of_another_shape_is_refused(text: str) -> None:
    """16 bytes, in the one way of writing them."""
    with pytest.raises(InvalidInput):
        read_retry_key(text, shared=False)


def test_a_key_that_was_not_sent_is_none() -> None:
    assert read_retry_key(None, shared=True) is None
    assert read_retry_key("A" * 22, shared=True) == RetryKey(bytes(16), shared=True)
