"""Every interleaving of two tabs, lost answers, retries, slow tabs and a thief, against the refresh rule (E-2 … E-5).
With retry keys too: of clients that have them, and of thieves without, with another, and with a copy.

An oracle that keeps the whole history of the session says what may and what must happen; the rule sees the row only.
Mutants of the rule, each a mistake that has been made or nearly made, must be caught by the same enumeration: a check
that no mutant fails would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from watchword.identity.sessions import rule as refresh_rule
from watchword.identity.sessions.rule import NO_KEY, SentKey, SessionState, Verdict, decide

GRACE = 30
IDLE = 7 * 86_400
LIFETIME = 30 * 86_400
START = 1_000_000
DELAYS = (0, 20, 31)
DEPTH = 7

Rule = Callable[..., Verdict]


class World(NamedTuple):
    """The row, what the oracle remembers, and who holds which generation."""

    row: SessionState
    now: int
    minted: tuple[int, ...]  # minted[g]: when generation g came to be
    jar: int  # the newest token that the browser received
    slow: int  # what a slow tab read from the jar a while ago
    thief: int  # the newest token that the thief has
    keys: tuple[str, ...] = ("",)  # keys[g]: the key that came with the refresh that made generation g


class Action(NamedTuple):
    """Someone presents what they hold, so many seconds after the last action; the answer may be lost on its way.

    :param keys: where the retry key is from: `kept` beside each token, `own` to the thief, `copied` with the first
        token, `one` for the whole life; none if empty.
    :param shared: at the door of browsers.
    """

    who: str
    delay: int
    lost: bool
    keys: str = ""
    shared: bool = False

    def key(self, presented: int) -> SentKey:
        """What is sent with this generation."""
        stolen = "kept" if presented == 0 else "own"
        kind = {"copied": stolen}.get(self.keys, self.keys)
        mac = {"": "", "one": "one"}.get(kind, f"{kind} {presented}")
        return SentKey(mac, self.shared and mac != "")


ACTIONS = tuple(
    Action(who, delay, lost)
    for who in ("tab", "slow", "thief")
    for delay in DELAYS
    for lost in ((False, True) if who == "tab" else (False,))
)


class Violation(AssertionError):
    """The rule did what the oracle forbids."""


def first_world(*, stolen: int = 0) -> World:
    row = SessionState(0, START, None, None, START + LIFETIME, START + IDLE, 0, True)
    return World(row, START, (START,), 0, 0, stolen)


def held(world: World, who: str) -> int:
    return {"tab": world.jar, "slow": world.slow, "thief": world.thief}[who]


def judge(world: World, presented: int, now: int, step: Verdict, key: SentKey = NO_KEY) -> None:
    """What may, and what must, come of presenting this generation now."""
    row = world.row
    if row.ended_at is not None:
        _demand(step is Verdict.ENDED, "an ended session gave something")
        return
    newest = len(world.minted) - 1
    behind = newest - presented
    made_with = world.keys[newest]
    if behind == 0:
        again = key.mac != "" and key.mac == made_with
        _demand(step is (Verdict.KEY_REPEATED if again else Verdict.ROTATE), f"the newest token got {step}")
        return
    if behind == 1 and key.mac and made_with and (key.mac == made_with or not key.shared):
        if key.mac == made_with:
            _demand(step is Verdict.GRACE, "a lost answer was not given again for its key")
        else:
            _demand(step is Verdict.REUSE, "another key than that of the refresh was not noticed")
        return
    superseded_for = now - world.minted[presented + 1]
    _demand(step is not Verdict.ROTATE, "an old token was rotated: the chain forked")
    if step is Verdict.GRACE:
        _demand(behind == 1, "grace for a token that is not the immediate parent")
        _demand(superseded_for <= GRACE, "grace after the window")
    if superseded_for <= GRACE:
        _demand(step is not Verdict.REUSE, "an honest retry or slow tab ended the session")
    if (behind == 1 and superseded_for > GRACE) or (behind > 1 and now - world.minted[newest - 1] > GRACE):
        _demand(step is Verdict.REUSE, f"a copy was used {superseded_for} s after its time, unnoticed")


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise Violation(what)


def apply(world: World, action: Action, rule: Rule) -> World:
    now = world.now + action.delay
    presented = held(world, action.who)
    key = action.key(presented)
    step = rule(world.row, presented, now, grace=GRACE, elsewhere=False, key=key)
    judge(world, presented, now, step, key)
    row, minted, keys = world.row, world.minted, world.keys
    if step is Verdict.ROTATE:
        row = row._replace(
            generation=presented + 1,
            prev_rotated_at=row.rotated_at,
            rotated_at=now,
            retry_mac=key.mac,
            retry_generation=presented + 1,
        )
        minted, keys = (*minted, now), (*keys, key.mac)
    elif step is Verdict.REUSE:
        row = row._replace(ended_at=now)
    elif step is Verdict.GRACE and getattr(rule, "reopens", False):
        row = row._replace(rotated_at=now)  # the mutant that opens its window anew
    received = presented + 1 if step in (Verdict.ROTATE, Verdict.GRACE) and not action.lost else None
    return _received(World(row, now, minted, world.jar, world.slow, world.thief, keys), action.who, received)


def _received(world: World, who: str, received: int | None) -> World:
    if received is None:
        return world
    if who == "thief":
        return world._replace(thief=received)
    # The slow tab's next request still carries what the jar held before.
    return world._replace(slow=world.jar, jar=max(world.jar, received))


def explore(rule: Rule, depth: int = DEPTH, actions: tuple[Action, ...] = ACTIONS) -> int:
    """Go through every sequence of actions up to a depth; how many distinct situations were judged."""
    seen: set[tuple[World, int]] = set()
    stack = [(first_world(), depth)]
    while stack:
        world, left = stack.pop()
        if (world, left) in seen or left == 0:
            continue
        seen.add((world, left))
        stack.extend((apply(world, action, rule), left - 1) for action in actions)
    return len(seen)


def test_e2_e3_e4_no_interleaving_breaks_the_rule() -> None:
    """Two tabs, lost answers, retries, a slow tab and a thief: every sequence of seven requests."""
    assert explore(decide) > 10_000


def _variant(change: Callable[[SessionState, int, int, Verdict], Verdict]) -> Rule:
    def rule(session: SessionState, presented: int, now: int, *, key: SentKey, **given: Any) -> Verdict:
        return change(session, presented, now, decide(session, presented, now, key=key, **given))

    return rule


def _grace_after_the_end(session: SessionState, presented: int, now: int, step: Verdict) -> Verdict:
    if session.ended_at is not None and session.generation - presented == 1 and now - session.rotated_at <= GRACE:
        return Verdict.GRACE
    return step


def _grace_for_grandparents(session: SessionState, presented: int, now: int, step: Verdict) -> Verdict:
    return Verdict.GRACE if step is Verdict.SUPERSEDED else step


def _no_grace(session: SessionState, presented: int, now: int, step: Verdict) -> Verdict:
    return Verdict.REUSE if step is Verdict.GRACE else step


def _slow_tab_is_reuse(session: SessionState, presented: int, now: int, step: Verdict) -> Verdict:
    return Verdict.REUSE if step is Verdict.SUPERSEDED else step


def _reuse_is_only_refused(session: SessionState, presented: int, now: int, step: Verdict) -> Verdict:
    return Verdict.SUPERSEDED if step is Verdict.REUSE else step


def _parent_is_rotated_in_grace(session: SessionState, presented: int, now: int, step: Verdict) -> Verdict:
    return Verdict.ROTATE if step is Verdict.GRACE else step


def _superseded_without_limit(session: SessionState, presented: int, now: int, step: Verdict) -> Verdict:
    return Verdict.SUPERSEDED if session.generation - presented > 1 and session.ended_at is None else step


MUTANTS = [
    _grace_after_the_end,
    _grace_for_grandparents,
    _no_grace,
    _slow_tab_is_reuse,
    _reuse_is_only_refused,
    _parent_is_rotated_in_grace,
    _superseded_without_limit,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__.strip("_"))
def test_the_enumeration_catches_every_broken_variant(mutant: Callable[..., Verdict]) -> None:
    """⚑ Each earlier mistake in the rule is found by the same enumeration."""
    with pytest.raises(Violation):
        explore(_variant(mutant))


def test_the_enumeration_catches_a_window_that_is_opened_anew() -> None:
    """⚑ Were a grace answer to move `rotated_at`, a stolen parent would stay good for as long as it is used."""

    def rule(*sent: Any, **given: Any) -> Verdict:
        return decide(*sent, **given)

    rule.reopens = True  # type: ignore[attr-defined]
    with pytest.raises(Violation, match="grace after the window"):
        explore(rule)


def _session(**changes: object) -> SessionState:
    state = SessionState(5, START, START - 100, None, START + LIFETIME, START + IDLE, 0, True)
    return state._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [{"ended_at": START}, {"active": False}, {"expires_at": START + 5}, {"idle_expires_at": START + 5}],
    ids=["ended", "user_disabled", "expired", "idle_too_long"],
)
@pytest.mark.parametrize("presented", [3, 4, 5, 6])
def test_e4_e6_what_has_ended_is_decided_before_grace_reuse_and_rollback(
    changes: dict[str, int], presented: int
) -> None:
    """⚑ Ended, inactive or expired comes first, whichever generation is shown: no grace for a dead session."""
    step = decide(_session(**changes), presented, START + 5, grace=GRACE, elsewhere=False)
    assert step is Verdict.ENDED


@pytest.mark.parametrize(("later", "expected"), [(29, Verdict.GRACE), (30, Verdict.GRACE), (31, Verdict.REUSE)])
def test_e4_the_window_ends_after_exactly_thirty_seconds(later: int, expected: Verdict) -> None:
    """The thirtieth second is inside, the next is not."""
    assert decide(_session(), 4, START + later, grace=GRACE, elsewhere=False) is expected


@pytest.mark.parametrize(("later", "expected"), [(30, Verdict.SUPERSEDED), (31, Verdict.REUSE)])
def test_the_slow_tab_is_measured_by_the_rotation_before_the_last(later: int, expected: Verdict) -> None:
    """Two behind: what counts is when its child was replaced."""
    session = _session(prev_rotated_at=START, rotated_at=START + later)
    assert decide(session, 3, START + later, grace=GRACE, elsewhere=False) is expected


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (2, Verdict.SUPERSEDED),
        (refresh_rule.MAX_BEHIND, Verdict.SUPERSEDED),
        (refresh_rule.MAX_BEHIND + 1, Verdict.REUSE),
    ],
)
def test_a_tab_cannot_be_slower_than_sixteen_rotations_in_half_a_minute(behind: int, expected: Verdict) -> None:
    """Who keeps the row young by refreshing all the time is given away by how far behind the other holder is."""
    session = _session(generation=100, prev_rotated_at=START - 2, rotated_at=START - 1)
    assert decide(session, 100 - behind, START, grace=GRACE, elsewhere=False) is expected


def test_a_third_grace_elsewhere_is_reuse() -> None:
    """Three grace answers in a row to another network and another agent are a thief in the window."""
    steps = [
        decide(_session(grace_elsewhere=count), 4, START + 1, grace=GRACE, elsewhere=True) for count in (0, 1, 2, 3)
    ]
    assert steps == [Verdict.GRACE, Verdict.GRACE, Verdict.REUSE, Verdict.REUSE]


def test_grace_at_home_is_never_counted_as_elsewhere() -> None:
    """However often the same browser retries within the window, it is the same browser."""
    session = _session(grace_elsewhere=refresh_rule.MAX_GRACE_ELSEWHERE)
    assert decide(session, 4, START + 1, grace=GRACE, elsewhere=False) is Verdict.GRACE


def test_a_token_newer_than_the_row_means_that_the_database_was_restored() -> None:
    """Genuine and ahead: nobody but the database can be at fault."""
    assert decide(_session(), 9, START + 1, grace=GRACE, elsewhere=False) is Verdict.ROLLED_BACK
