"""One suite over every store of short-lived state; what only the memory store has is at the end."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.postgres import Databases
from tests.storage.valkey_server import PROGRAMS, Server, connected, fallback, free_port
from watchword.storage.ephemeral import SWEEP_ROWS, Counted, Ephemeral, Exhausted, Quota, Reservation, is_first
from watchword.storage.ephemeral_memory import MemoryEphemeral
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.storage.migrate import migrate
from watchword.storage.postgres import Postgres
from watchword.storage.sqlite import SQLite

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000


@pytest.fixture(params=["memory", "sql", "sql-postgres", *PROGRAMS, "valkey away"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def store(
    kind: str, database: SQLite, valkeys: Callable[[str], Server], postgres: Callable[[int], Databases]
) -> AsyncIterator[Ephemeral]:
    """Each of them, empty."""
    if kind == "memory":
        yield MemoryEphemeral()
    elif kind == "sql":
        yield SQLEphemeral(database)
    elif kind == "sql-postgres":
        url = await postgres(18).borrow()
        shared = await Postgres.open(url)
        await migrate(shared, now=NOW)
        yield SQLEphemeral(shared)
        await shared.close()
        await postgres(18).give_back(url)
    elif kind == "valkey away":
        async with connected(f"redis://127.0.0.1:{free_port()}/0") as away:
            yield fallback(away, database)
    else:
        server = valkeys(kind)
        async with connected(server.url, deadline=60) as valkey:
            yield fallback(valkey, database)


async def test_a_value_is_there_until_its_second(store: Ephemeral) -> None:
    """Present up to the last second before `expires_at`, gone at it, though nobody has swept (J15)."""
    await store.put("a", "x", 60, NOW)
    assert await store.get("a", NOW + 59) == "x"
    assert await store.get("a", NOW + 60) is None
    assert await store.take("a", NOW + 60) is None
    assert await store.get("never", NOW) is None


async def test_a_later_value_replaces_the_earlier(store: Ephemeral) -> None:
    """Value and life are the later one's, be it longer or shorter."""
    await store.put("a", "x", 60, NOW)
    await store.put("a", "y", 600, NOW + 1)
    assert await store.get("a", NOW + 600) == "y"
    await store.put("a", "z", 5, NOW + 2)
    assert await store.get("a", NOW + 6) == "z"
    assert await store.get("a", NOW + 7) is None


async def test_a_value_is_taken_once(store: Ephemeral) -> None:
    """Of twenty who take at the same time one gets it; afterwards it is gone for readers, too."""
    await store.put("a", "x", 60, NOW)
    taken = await asyncio.gather(*[store.take("a", NOW) for _ in range(20)])
    assert sorted(taken, key=str) == [None] * 19 + ["x"]
    assert await store.get("a", NOW) is None
    await store.put("a", "again", 60, NOW)
    assert await store.take("a", NOW) == "again"


async def test_a_window_opens_with_the_first_count(store: Ephemeral) -> None:
    """Later counts, even with another lifetime, do not extend it; at its end a new one opens at one."""
    assert await store.count("a", lifetime=60, now=NOW) == Counted(1, NOW + 60)
    assert await store.count("a", lifetime=600, now=NOW + 59) == Counted(2, NOW + 60)
    assert await store.count("a", lifetime=60, now=NOW + 60) == Counted(1, NOW + 120)
    assert await store.count("a", by=5, lifetime=60, now=NOW + 61) == Counted(6, NOW + 120)
    assert await store.count("b", by=3, lifetime=60, now=NOW) == Counted(3, NOW + 60)


async def test_zero_only_looks(store: Ephemeral) -> None:
    """It opens no window, and answers what there is."""
    assert await store.count("a", by=0, lifetime=60, now=NOW) == Counted(0, NOW)
    await store.count("a", by=2, lifetime=60, now=NOW)
    assert await store.count("a", by=0, lifetime=60, now=NOW + 1) == Counted(2, NOW + 60)
    assert await store.count("a", by=0, lifetime=60, now=NOW + 60) == Counted(0, NOW + 60)


async def test_a_claim_is_given_back(store: Ephemeral) -> None:
    """One of what was claimed; at zero the counter is gone, and what is counted then opens a window of its own."""
    first = held(await store.reserve([Quota("a", 60, 9)], NOW))
    assert first == [Reservation("a", NOW + 60)]
    second = held(await store.reserve([Quota("a", 60, 9)], NOW + 1))
    assert second == [Reservation("a", NOW + 60)]
    await store.give_back(second, NOW + 2)
    assert await store.count("a", by=0, lifetime=60, now=NOW + 2) == Counted(1, NOW + 60)
    await store.give_back(first, NOW + 3)
    assert await store.count("a", by=0, lifetime=60, now=NOW + 3) == Counted(0, NOW + 3)
    assert await store.sweep(NOW + 999) == 0, "nothing was left behind"
    assert held(await store.reserve([Quota("a", 60, 9)], NOW + 3)) == [Reservation("a", NOW + 63)]


async def test_what_is_given_back_late_leaves_the_next_window_alone(kind: str, store: Ephemeral) -> None:
    """⚑ An attempt that was decided after its window was over must not undo a failure of the next one."""
    taken = held(await store.reserve([Quota("a", 60, 9)], NOW))
    await store.reserve([Quota("a", 60, 9)], NOW + 60)
    await store.give_back(taken, NOW + 61)
    assert await store.count("a", by=0, lifetime=60, now=NOW + 61) == Counted(1, NOW + 120)
    if kind != "valkey away":  # a reservation of Valkey's, which is owed then
        await store.give_back([Reservation("never", NOW + 99)], NOW + 61)


async def test_a_claim_is_granted_on_all_or_counted_on_none(kind: str, store: Ephemeral) -> None:
    """The first that is full is the answer; neither it nor the others get an entry or a count."""
    held(await store.reserve([Quota("b", 60, 1)], NOW))
    held(await store.reserve([Quota("d", 90, 1)], NOW))
    asked = [Quota("a", 60, 1), Quota("d", 60, 1), Quota("b", 60, 1), Quota("c", 60, 1)]
    for _ in range(3):
        assert await store.reserve(asked, NOW + 1) == Exhausted(1, NOW + 90)
    for name, amount in (("a", 0), ("b", 1), ("c", 0), ("d", 1)):
        assert (await store.count(name, by=0, lifetime=60, now=NOW + 1)).amount == amount
    assert await store.sweep(NOW + 999) == (0 if kind in PROGRAMS else 2), "Valkey forgets by itself"
    assert held(await store.reserve(asked, NOW + 100)) == [Reservation(quota.name, NOW + 160) for quota in asked]


async def test_no_counter_passes_its_quota(store: Ephemeral) -> None:
    """Of a hundred quotas at once seven are granted, and the counter of those refused for it is as it was."""
    outcomes = await asyncio.gather(*[store.reserve([Quota("z", 60, 99), Quota("a", 60, 7)], NOW) for _ in range(100)])
    assert sum(outcome == Exhausted(1, NOW + 60) for outcome in outcomes) == 93
    for name in ("a", "z"):
        assert (await store.count(name, by=0, lifetime=60, now=NOW)).amount == 7


async def test_a_claim_on_nothing_is_granted(store: Ephemeral) -> None:
    """Every limit is off."""
    assert await store.reserve([], NOW) == []
    await store.give_back([], NOW)


async def test_the_first_of_many(store: Ephemeral) -> None:
    """Once in each window, for one of those who ask at the same time."""
    for later in (0, 60):
        asked = await asyncio.gather(*[is_first(store, "a", lifetime=60, now=NOW + later) for _ in range(20)])
        assert sum(asked) == 1
        assert not await is_first(store, "a", lifetime=60, now=NOW + later + 59)


def held(outcome: list[Reservation] | Exhausted) -> list[Reservation]:
    """The claim was granted."""
    assert not isinstance(outcome, Exhausted)
    return outcome


async def test_no_count_is_lost(store: Ephemeral) -> None:
    """Two hundred at once give two hundred different amounts."""
    counted = await asyncio.gather(*[store.count("a", lifetime=60, now=NOW) for _ in range(200)])
    assert sorted(each.amount for each in counted) == list(range(1, 201))


async def test_values_and_counters_do_not_meet(store: Ephemeral) -> None:
    """The same name may stand for a value and for a counter."""
    await store.put("a", "x", 60, NOW)
    assert await store.count("a", lifetime=5, now=NOW) == Counted(1, NOW + 5)
    assert await store.take("a", NOW) == "x"
    assert await store.count("a", lifetime=5, now=NOW) == Counted(2, NOW + 5)


async def test_a_sweep_deletes_the_dead_only(kind: str, store: Ephemeral) -> None:
    """At most five hundred at a time, none that lives, until nothing dead is left (E-12)."""
    for n in range(SWEEP_ROWS + 50):
        await store.put(f"dead {n}", "x", 10, NOW)
    for n in range(20):
        await store.put(f"alive {n}", "x", 11, NOW)
        await store.count(f"alive {n}", lifetime=11, now=NOW)
    assert await store.sweep(NOW + 9) == 0
    assert [await store.sweep(NOW + 10) for _ in range(3)] == [SWEEP_ROWS, 50, 0]
    for n in range(20):
        assert await store.get(f"alive {n}", NOW + 10) == "x"
        assert await store.count(f"alive {n}", by=0, lifetime=11, now=NOW + 10) == Counted(1, NOW + 11)
    assert await store.sweep(NOW + 11) == (20 if kind in PROGRAMS else 40)


async def test_a_sweep_keeps_a_window_that_opened_again(store: Ephemeral) -> None:
    """A counter that ended and was counted on again is alive, and so is what the sweep must not touch."""
    await store.count("a", lifetime=10, now=NOW)
    await store.count("a", lifetime=10, now=NOW + 10)
    await store.sweep(NOW + 10)
    assert await store.count("a", lifetime=10, now=NOW + 11) == Counted(2, NOW + 20)


async def test_odd_names_and_values(store: Ephemeral) -> None:
    """Whatever the text, it is a name or a value and nothing else (J6)."""
    for text in ("", "'; DROP TABLE ww_ephemeral; --", "value:a", "count:a", "日本語", "x" * 10_000):
        await store.put(text, text, 60, NOW)
        assert await store.get(text, NOW) == text
        assert await store.count(text, lifetime=60, now=NOW) == Counted(1, NOW + 60)


@pytest.fixture
def small() -> MemoryEphemeral:
    """A memory store with room for ten entries of one lifetime."""
    return MemoryEphemeral(capacity=10)


async def test_memory_is_bounded(small: MemoryEphemeral) -> None:
    """A flood of names stays within the room; the newest is kept, the oldest starts afresh."""
    for n in range(1_000):
        await small.count(str(n), lifetime=60, now=NOW)
    assert len(small) == 10
    assert (await small.count("999", lifetime=60, now=NOW)).amount == 2
    assert (await small.count("0", lifetime=60, now=NOW)).amount == 1


async def test_memory_drops_the_ended_before_the_living(small: MemoryEphemeral) -> None:
    """Room comes from what is over: nothing alive is pushed out for it."""
    for n in range(8):
        await small.count(f"old {n}", lifetime=50, now=NOW)
    for n in range(2):
        await small.count(f"alive {n}", lifetime=60, now=NOW)
    for n in range(8):
        await small.count(f"new {n}", lifetime=60, now=NOW + 50)
    for n in range(2):
        assert (await small.count(f"alive {n}", lifetime=60, now=NOW + 50)).amount == 2


async def test_a_flood_of_long_lives_leaves_short_limits_alone(small: MemoryEphemeral) -> None:
    """Filling the store with day-long names does not make a per-minute limit forget."""
    for n in range(100):
        await small.count(f"flood {n}", lifetime=86_400, now=NOW)
        assert (await small.count("victim", lifetime=60, now=NOW)).amount == n + 1


async def test_a_flood_of_one_kind_leaves_the_others_alone(small: MemoryEphemeral) -> None:
    """⚑ Names of accounts, which anybody can make up, do not push out the counters of addresses."""
    await small.count("address:one", lifetime=60, now=NOW)
    await small.put("address:one", "x", 60, NOW)
    for n in range(100):
        await small.count(f"account:{n}:{n}", lifetime=60, now=NOW)
    assert (await small.count("address:one", by=0, lifetime=60, now=NOW)).amount == 1
    assert await small.get("address:one", NOW) == "x"
    assert len(small) == 12


async def test_what_is_refused_or_given_back_pushes_nobody_out(small: MemoryEphemeral) -> None:
    """⚑ Room is taken by what stays counted: not by being refused, and not by an attempt that succeeded."""
    for n in range(9):
        await small.count(f"login:{n}", lifetime=60, now=NOW)
    await small.count("address:full", lifetime=60, now=NOW)
    for n in range(100):
        refused = await small.reserve([Quota(f"login:refused {n}", 60, 1), Quota("address:full", 60, 1)], NOW)
        assert refused == Exhausted(1, NOW + 60)
        await small.give_back(held(await small.reserve([Quota(f"login:good {n}", 60, 1)], NOW)), NOW)
    assert len(small) == 10
    for n in range(9):
        assert (await small.count(f"login:{n}", by=0, lifetime=60, now=NOW)).amount == 1


async def test_memory_takes_constant_time_when_full() -> None:
    """A hundred thousand fresh names into a full store: no search over what is stored."""
    store = MemoryEphemeral(capacity=20_000)
    started = time.perf_counter()
    for n in range(100_000):
        await store.count(str(n), lifetime=60, now=NOW)
    assert time.perf_counter() - started < 60
    assert len(store) == 20_000


async def test_sql_counters_count_together_or_not_at_all(database: SQLite, path: Path) -> None:
    """If one of several counters cannot be counted, none is."""
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(
            "CREATE TRIGGER no BEFORE INSERT ON ww_ephemeral WHEN NEW.name LIKE '%forbidden'"
            " BEGIN SELECT raise(ABORT, 'no'); END"
        )
    store = SQLEphemeral(database)
    with pytest.raises(sqlite3.IntegrityError):
        await store.reserve([Quota("allowed", 60, 9), Quota("forbidden", 60, 9)], NOW)
    assert await store.count("allowed", by=0, lifetime=60, now=NOW) == Counted(0, NOW)


async def test_sql_refuses_without_a_write(database: SQLite, path: Path) -> None:
    """⚑ A claim on a counter that is full costs a read: no transaction, no row, no wait for the disk."""
    store = SQLEphemeral(database)
    await store.reserve([Quota("address", 60, 1)], NOW)
    database._writer._closed = True  # from here on any unit raises
    for n in range(20):
        assert await store.reserve([Quota("address", 60, 1), Quota(f"account {n}", 60, 1)], NOW) == Exhausted(
            0, NOW + 60
        )
        assert not await is_first(store, "address", lifetime=60, now=NOW)
    database._writer._closed = False


async def test_sql_gives_back_in_one_unit(database: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three counters, one wait for the disk."""
    store = SQLEphemeral(database)
    taken = held(await store.reserve([Quota(name, 60, 9) for name in ("a", "b", "c")], NOW))
    units = []
    transact = database.transact
    monkeypatch.setattr(database, "transact", lambda unit, **more: units.append(unit) or transact(unit, **more))
    await store.give_back(taken, NOW)
    assert len(units) == 1
    assert await store.sweep(NOW + 99) == 0
