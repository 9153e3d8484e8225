"""The rules by which signing keys change, as one pure function: enumerated, interrupted, and run through a year."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, product

import pytest

from watchword.tokens.rotation import (
    BESIDE_EACH_OTHER,
    DAY,
    HOUR,
    KEY_SET_MAX_AGE,
    LONGEST_TOKEN,
    MINUTE,
    PUBLISHED,
    PUBLISHED_AFTER_USE,
    PUBLISHED_BEFORE_USE,
    Change,
    KeyState,
    Make,
    Promote,
    Remove,
    Retire,
    Schedule,
    due,
    published_long_enough,
    published_until,
)

NOW = 1_800_000_000
MONTH = 30 * DAY
ES = Schedule("ES256", MONTH)
_names = count()

Keys = dict[str, KeyState]


def key(status: str, age: int = 0, algorithm: str = "ES256", **times: int | None) -> KeyState:
    """A key made so long ago; active and retired ones changed at that moment too."""
    at = NOW - age
    activated = None if status == "next" else at
    retired = at if status == "retired" else None
    return KeyState(f"k{next(_names)}", algorithm, status, at, activated, retired)._replace(**times)  # type: ignore[arg-type]


def do(step: Change, keys: Keys, now: int) -> None:
    """What the store does: a conditional change of rows, or nothing."""
    match step:
        case Make(algorithm, status):
            if not any(k.algorithm == algorithm and k.status == status for k in keys.values()):
                made = KeyState(f"k{next(_names)}", algorithm, status, now, now if status == "active" else None)
                keys[made.kid] = made
        case Promote(kid, retiring):
            if keys[kid].status != "next" or (retiring is not None and keys[retiring].status != "active"):
                return
            if retiring is not None:
                keys[retiring] = keys[retiring]._replace(status="retired", retired_at=now)
            keys[kid] = keys[kid]._replace(status="active", activated_at=now)
        case Retire(kid):
            if keys[kid].status == "active":
                keys[kid] = keys[kid]._replace(status="retired", retired_at=now)
        case Remove(kid, status):
            if keys[kid].status == status:
                keys[kid] = keys[kid]._replace(status="removed")


def settle(keys: Keys, now: int, schedule: Schedule) -> int:
    """Do what is due until nothing is; in how many rounds."""
    for rounds in range(6):
        steps = due([k for k in keys.values() if k.status in PUBLISHED], now, schedule)
        if not steps:
            return rounds
        for step in steps:
            do(step, keys, now)
    raise AssertionError("it never ends")


def of(keys: Keys, status: str, algorithm: str = "ES256") -> list[KeyState]:
    return [k for k in keys.values() if k.status == status and k.algorithm == algorithm]


def states() -> Iterator[tuple[KeyState, ...]]:
    """Every ring of up to one key of each kind, each young, at its boundary, or old; ours and another algorithm's."""
    ages: dict[str, tuple[int | None, ...]] = {
        "active": (None, -HOUR, 0, BESIDE_EACH_OTHER - 1, BESIDE_EACH_OTHER, MONTH - 1, MONTH, 3 * MONTH),
        "next": (None, -HOUR, 0, PUBLISHED_BEFORE_USE - 1, PUBLISHED_BEFORE_USE, 2 * MONTH),
        "retired": (None, 0, PUBLISHED_AFTER_USE - 1, PUBLISHED_AFTER_USE),
    }
    for mine in product(*ages.values()):
        for others in product((None, 0, MONTH), (None, 0, MONTH)):
            ring = [key(status, age) for status, age in zip(ages, mine, strict=True) if age is not None]
            ring += [
                key(status, age, "EdDSA")
                for status, age in zip(("active", "next"), others, strict=True)
                if age is not None
            ]
            yield tuple(ring)


SCHEDULES = [ES, Schedule("ES256", None), Schedule(None, MONTH), Schedule("RS256", 2 * DAY)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_b10_from_every_state_the_rules_lead_to_one_that_signs_and_one_that_is_next(schedule: Schedule) -> None:
    """Whatever is there, after at most two rounds nothing more is due, and never are there two of a kind."""
    for ring in states():
        keys = {k.kid: k for k in ring}
        assert settle(keys, NOW, schedule) <= 2
        for algorithm in ("ES256", "EdDSA", "RS256"):
            wanted = 1 if algorithm == schedule.algorithm else len(of(keys, "active", algorithm))
            assert len(of(keys, "active", algorithm)) == wanted <= 1
            assert len(of(keys, "next", algorithm)) <= 1
        if schedule.algorithm is not None:
            assert len(of(keys, "next", schedule.algorithm)) == 1


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_b9_no_key_replaces_another_before_it_was_published_for_a_day(schedule: Schedule) -> None:
    """A promotion that retires a key waits for both; one that retires none happens only where nothing signs."""
    seen = 0
    for ring in states():
        by_kid = {k.kid: k for k in ring}
        for step in due(ring, NOW, schedule):
            if not isinstance(step, Promote):
                continue
            if step.retiring is None:
                assert not [k for k in ring if k.status == "active" and k.algorithm == schedule.algorithm]
                continue
            seen += 1
            assert schedule.every is not None
            assert NOW - by_kid[step.kid].created_at >= 24 * HOUR + KEY_SET_MAX_AGE
            assert NOW - (by_kid[step.retiring].activated_at or NOW) >= schedule.every
    assert seen > 0 or schedule.every is None or schedule.algorithm != "ES256"


def test_b9_a_retired_key_stays_until_its_last_token_has_expired() -> None:
    """The longest life, two minutes for clocks, a max-age: to the second; not by the life that is set today."""
    assert PUBLISHED_AFTER_USE >= LONGEST_TOKEN + 120 + KEY_SET_MAX_AGE
    active, upcoming = key("active"), key("next")
    for age, gone in ((PUBLISHED_AFTER_USE - 1, False), (PUBLISHED_AFTER_USE, True)):
        retired = key("retired", age)
        assert due([active, upcoming, retired], NOW, ES) == ((Remove(retired.kid, "retired"),) if gone else ())
        assert published_until(retired) == NOW - age + PUBLISHED_AFTER_USE
    assert published_until(active) is None


def test_the_first_start_makes_what_signs_and_what_is_next() -> None:
    """On an empty table."""
    assert due([], NOW, ES) == (Make("ES256", "active"), Make("ES256", "next"))


def test_an_emergency_promotes_the_next_key_however_young() -> None:
    """Without an active key nobody could log in: a key that some know is better than one that nobody does."""
    upcoming = key("next", 1)
    assert due([upcoming], NOW, ES) == (Promote(upcoming.kid, None), Make("ES256", "next"))


def test_off_keeps_a_next_key_in_reserve_and_never_promotes_it() -> None:
    """`off` means by hand: the key for that, and for emergencies, is published all the time."""
    active, upcoming = key("active", 300 * DAY), key("next", 300 * DAY)
    assert due([active], NOW, Schedule("ES256", None)) == (Make("ES256", "next"),)
    assert due([active, upcoming], NOW, Schedule("ES256", None)) == ()


def test_a_shared_secret_makes_no_keys_and_retires_those_before_it() -> None:
    """HS256: nothing of ours signs; what signed before is published until its tokens have expired."""
    active, upcoming = key("active", 5 * DAY), key("next", 5 * DAY)
    assert set(due([active, upcoming], NOW, Schedule(None, MONTH))) == {
        Retire(active.kid),
        Remove(upcoming.kid, "next"),
    }
    assert due([], NOW, Schedule(None, MONTH)) == ()


def test_two_algorithms_stay_beside_each_other_while_a_setting_spreads() -> None:
    """A changed setting reaches one process after the other: for an hour nobody retires what another needs."""
    old, ours, upcoming = key("active", 9 * DAY, "EdDSA"), key("active", BESIDE_EACH_OTHER - 1), key("next", 0)
    assert due([old, ours, upcoming], NOW, ES) == ()
    ours = ours._replace(activated_at=NOW - BESIDE_EACH_OTHER)
    assert due([old, ours, upcoming], NOW, ES) == (Retire(old.kid),)
    fresh = old._replace(activated_at=NOW - BESIDE_EACH_OTHER + 1)
    assert due([fresh, ours, upcoming], NOW, ES) == ()


@pytest.mark.parametrize("seed", range(20))
def test_whoever_is_killed_between_two_steps_leaves_nothing_that_cannot_go_on(seed: int) -> None:
    """Several workers act on what they read some time ago, in any order, and stop anywhere; the invariants hold."""
    chance = random.Random(seed)
    keys: Keys = {}
    now = NOW
    pending: list[Change] = []
    for _ in range(2_000):
        now += chance.choice((MINUTE, HOUR, 7 * HOUR))
        if chance.random() < 0.5:
            pending += due([k for k in keys.values() if k.status in PUBLISHED], now, Schedule("ES256", 2 * DAY))
        chance.shuffle(pending)
        for _ in range(chance.randrange(3)):
            if pending:
                do(pending.pop(), keys, now)
        if chance.random() < 0.1:
            pending.clear()  # killed
        assert len(of(keys, "active")) <= 1
        assert len(of(keys, "next")) <= 1
    settle(keys, now, Schedule("ES256", 2 * DAY))
    assert (len(of(keys, "active")), len(of(keys, "next"))) == (1, 1)


@pytest.mark.parametrize("every", [2 * DAY, 7 * DAY, MONTH])
@pytest.mark.parametrize("life", [15 * MINUTE, LONGEST_TOKEN])
def test_b9_a_year_in_which_no_good_token_is_refused(every: int, life: int) -> None:
    """A verifier that keeps the set for 24 h, got from a cache that keeps it for a max-age, knows every key in time.

    Tokens are signed up to a max-age late by a process that has not heard of the change, and live as long as they may.
    """
    chance = random.Random(every + life)
    schedule = Schedule("ES256", every)
    keys: Keys = {}
    now, rotations, signer = NOW, 0, ""
    cached_at, cached = NOW, set[str]()
    shown = [(NOW, set[str]())]  # what the cache in front of us had, and when
    tokens: list[tuple[str, int]] = []
    while now < NOW + 365 * DAY:
        settle(keys, now, schedule)
        published = {k.kid for k in keys.values() if k.status in PUBLISHED}
        if now - shown[-1][0] >= KEY_SET_MAX_AGE or not shown[-1][1]:
            shown.append((now, published))
        if now - cached_at >= 24 * HOUR or not cached:
            cached_at, cached = now, shown[-1][1]
        (active,) = of(keys, "active")
        if active.kid != signer:
            rotations, previous = rotations + bool(signer), signer or active.kid
            signer, changed_at = active.kid, now
            assert rotations == 0 or published_long_enough(active, now)
        late = now - changed_at <= KEY_SET_MAX_AGE and chance.random() < 0.5
        tokens.append((previous if late else signer, now + life))
        tokens = [(kid, until) for kid, until in tokens if until > now]
        assert {kid for kid, _ in tokens} <= cached, "a good token was refused"
        assert {kid for kid, _ in tokens} <= published
        now += chance.choice((MINUTE, 5 * MINUTE, HOUR, 2 * HOUR))
    assert rotations >= 365 * DAY // every * 0.97 - 1
    assert len(of(keys, "retired")) <= 1
    assert len(of(keys, "removed")) >= rotations - 2
