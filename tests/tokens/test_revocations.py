"""The revocation set: what it refuses, how long, how fast, how large."""

from __future__ import annotations

import gc
import sys
import threading
import time
import uuid
from dataclasses import dataclass

import pytest

from watchword.tokens import RevocationSet
from watchword.tokens.revocations import Kind, State, mark_of

NOW = 1_800_000_000


@dataclass
class Token:
    session_mark: int | None
    user_mark: int
    key_mark: int
    ver: int | None
    rver: int | None = None
    scopes: frozenset[str] = frozenset()
    aud: tuple[str, ...] = ()
    actors: tuple[tuple[int, int | None], ...] = ()


def token(sid: str | None = "s", sub: str = "u", kid: str = "k", ver: int | None = 3) -> Token:
    return Token(None if sid is None else mark_of(sid), mark_of(sub), mark_of(kid), ver)


def test_a_mark_is_a_uuids_own_value_and_otherwise_a_hash() -> None:
    value = uuid.UUID("01930f3e-7c1a-7b2c-8d3e-4f5a6b7c8d9e")
    assert mark_of(str(value)) == value.int
    for other in (str(value).upper(), f"{{{value}}}", value.hex, f"{value} ", "", "user-1", "\ud800"):
        assert mark_of(other) != value.int
        assert 0 <= mark_of(other) < 2**128


def test_each_kind_refuses_its_own_subject_and_no_other() -> None:
    for kind, subject in (("session", "s"), ("user", "u"), ("key", "k")):
        revoked = RevocationSet()
        assert not revoked.refuses(token())
        revoked.add(kind, subject, 4, 1000)  # type: ignore[arg-type]
        assert revoked.refuses(token())
        other = token(sid="s2", sub="u2", kid="k2")
        assert not revoked.refuses(other)
        assert not revoked.refuses(token(sid=subject + "x", sub=subject + "x", kid=subject + "x"))


def test_an_entry_of_a_service_account_refuses_what_it_does_for_users() -> None:
    """⚑ Also where another one acts after it; `act` without a version proves nothing."""
    revoked = RevocationSet()
    revoked.add("user", "wwc_1", 4, 1000)
    acting = token()
    for version, refused in ((3, True), (4, False), (None, True)):
        for others in ((), ((mark_of("wwc_2"), 1),)):
            acting.actors = (*others, (mark_of("wwc_1"), version))
            assert revoked.refuses(acting) is refused
    acting.actors = ((mark_of("wwc_2"), 1),)
    assert not revoked.refuses(acting)


def test_a_user_entry_refuses_lower_versions_and_tokens_that_tell_none() -> None:
    revoked = RevocationSet()
    revoked.add("user", "u", 4, 1000)
    assert [revoked.refuses(token(ver=ver)) for ver in (3, 4, 5, None)] == [True, False, False, True]
    revoked.add("user", "u", 2, 500)  # an older entry, read again, takes nothing back
    assert [revoked.refuses(token(ver=ver)) for ver in (3, 4)] == [True, False]
    assert revoked.sweep(999) == 0


def test_a_token_without_session_is_not_refused_for_one() -> None:
    revoked = RevocationSet()
    revoked.add("session", "None", 0, 1000)
    assert not revoked.refuses(token(sid=None))


def test_sweeping_drops_what_has_ended_and_never_a_key() -> None:
    revoked = RevocationSet()
    for kind in ("session", "user", "key"):
        revoked.add(kind, kind, 9, 1200)  # type: ignore[arg-type]
    assert revoked.sweep(1199) == 0
    assert revoked.sweep(10**12) == 2
    assert len(revoked) == 1
    assert revoked.refuses(token(kid="key"))
    assert bool(RevocationSet())


def test_an_entry_is_never_dropped_early() -> None:
    """Ends are rounded up to the minute, never down."""
    for end in (1, 59, 60, 61, 119):
        revoked = RevocationSet()
        revoked.add("session", "s", 0, end)
        revoked.sweep(end - 1)
        assert revoked.refuses(token())


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        RevocationSet().add("client", "x", 0, 0)  # type: ignore[arg-type]


def test_readers_never_miss_an_entry_while_one_writer_adds_and_sweeps() -> None:
    revoked = RevocationSet()
    revoked.add("session", "s", 0, 10**9)
    missed: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            if not revoked.refuses(token()):
                missed.append("missed")

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for round_ in range(40):
        for number in range(500):
            revoked.add("session", f"{round_}-{number}", 0, 100)
        revoked.sweep(10_000)
    stop.set()
    for reader in readers:
        reader.join()
    assert not missed
    assert len(revoked) == 1


def test_a_million_entries_take_at_most_100_MB() -> None:
    """Counted from the objects themselves: tables, integers (rounded up as the allocator does), shared pairs."""
    revoked = RevocationSet()
    for number in range(1_000_000):
        kind: Kind = "user" if number % 2 else "session"
        value = uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)
        revoked.add(kind, str(value), number % 20, NOW + number % 1020)
    tables = (revoked._sessions, revoked._users)
    integers = sum((sys.getsizeof(mark) + 15) // 16 * 16 for table in tables for mark in table)
    pairs = sum(200 for _ in revoked._shared)
    assert len(revoked) == 1_000_000
    assert sum(map(sys.getsizeof, tables)) + integers + pairs <= 100_000_000


def test_a_look_up_does_not_search() -> None:
    """It takes less than a microsecond; to walk through the entries would take hundreds."""
    revoked = RevocationSet()
    for number in range(20_000):
        revoked.add("user", f"u{number}", 1, 10**9)
    mine = token(sub="u77")
    best = min(_seconds(revoked, mine) for _ in range(7))
    assert best / 10_000 < 1e-4


def _seconds(revoked: RevocationSet, mine: Token) -> float:
    started = time.perf_counter()
    for _ in range(10_000):
        revoked.refuses(mine)
    return time.perf_counter() - started


def test_A25_a_state_is_known_before_anyone_sees_it() -> None:
    """An entry that is added in this moment ends it: those who rely on it may have asked before."""
    seen: list[State] = []

    class Seen(RevocationSet):
        @property  # type: ignore[override]
        def state(self) -> State:
            return seen[-1]

        @state.setter
        def state(self, state: State) -> None:
            seen.append(state)
            if state.until > 0:
                self.add("session", "one", 0, NOW + 900)

    state = Seen().begin_state(NOW, NOW + 5)
    assert state in seen
    assert state.until < NOW


def test_states_begin_also_while_a_garbage_collection_begins_one() -> None:
    """It may run Python, and another thread, wherever there is a new object."""
    revoked, collected = RevocationSet(), []

    def collect(phase: str, _: dict[str, int]) -> None:
        collected.append(phase)
        revoked.begin_state()

    before = gc.get_threshold()
    gc.callbacks.append(collect)
    gc.set_threshold(1)
    try:
        for _ in range(3000):
            revoked.begin_state(NOW, NOW + 5)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(collect)
    assert collected
    revoked.begin_state()
    assert len(revoked._states) == 1
