"""Group commit: who shares a commit, who is answered when, and what one unit can do to another."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from watchword.errors import StorageUnavailable
from watchword.storage import sqlite_units
from watchword.storage.database import Tx
from watchword.storage.migrate import migrate
from watchword.storage.sqlite import SQLite

pytestmark = pytest.mark.anyio

PUT = "INSERT INTO ww_meta (name, value) VALUES (:name, 'x')"
NAMES = "SELECT name FROM ww_meta ORDER BY name"


async def names(database: SQLite) -> list[object]:
    """What is stored."""
    return [row["name"] for row in await database.scan(NAMES)]


def writing(database: SQLite) -> sqlite3.Connection:
    """The connection under the writer, to look at or to hold up."""
    connection = database._writer._connection
    assert connection is not None
    return connection


@contextmanager
def statements(database: SQLite) -> Iterator[list[str]]:
    """What the writer tells SQLite, as SQLite hears it."""
    heard: list[str] = []
    connection = writing(database)
    connection.set_trace_callback(heard.append)
    yield heard
    connection.set_trace_callback(None)


class Held:
    """A commit that is held up: it sets `arrived` and waits for `go_on`."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.go_on = threading.Event()
        self.commits = 0

    def hear(self, sql: str) -> None:
        """Called by SQLite in the thread that runs the statement."""
        if sql == "COMMIT":
            self.commits += 1
            self.arrived.set()
            self.go_on.wait(5)


@contextmanager
def commit_held_up(database: SQLite) -> Iterator[Held]:
    """COMMIT waits in its thread until `go_on` is set."""
    held = Held()
    connection = writing(database)
    connection.set_trace_callback(held.hear)
    try:
        yield held
    finally:
        held.go_on.set()
        with suppress(sqlite3.ProgrammingError):  # the database has opened another meanwhile
            connection.set_trace_callback(None)


async def until(event: threading.Event) -> None:
    """Wait on the loop."""
    assert await asyncio.to_thread(event.wait, 5)


async def test_thirty_two_at_once_share_one_commit(database: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that arrive in the same turn of the loop cost one commit, not thirty-two."""
    monkeypatch.setattr(sqlite_units, "GROUP_SECONDS", 10)  # on a busy machine they would be two groups
    with statements(database) as heard:
        await asyncio.gather(*[database.run(PUT, name=str(n)) for n in range(32)])
    assert heard.count("COMMIT") == 1
    assert len(await names(database)) == 32


async def test_what_arrives_during_a_commit_shares_the_next(database: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody touches the writer while the disk works; the twenty who came meanwhile are one group."""
    monkeypatch.setattr(sqlite_units, "GROUP_SECONDS", 10)  # on a busy machine they would be two groups
    with commit_held_up(database) as held:
        first = asyncio.ensure_future(database.run(PUT, name="first"))
        await until(held.arrived)
        rest = [asyncio.ensure_future(database.run(PUT, name=f"later {n}")) for n in range(20)]
        await asyncio.sleep(0.05)
        assert not first.done()
        assert not any(task.done() for task in rest)
        held.go_on.set()
        await asyncio.gather(first, *rest)
    assert held.commits == 2


async def test_nobody_is_answered_before_the_commit(database: SQLite) -> None:
    """Neither the unit that succeeded nor the one that failed: what it saw might not come to be."""

    async def fails(tx: Tx) -> None:
        assert await tx.one("SELECT 1 FROM ww_meta WHERE name = 'first'")
        raise LookupError

    with commit_held_up(database) as held:
        first = asyncio.ensure_future(database.run(PUT, name="first"))
        second = asyncio.ensure_future(database.transact(fails))
        await until(held.arrived)
        await asyncio.sleep(0.03)
        assert not first.done()
        assert not second.done()
        assert await names(database) == []
        held.go_on.set()
        assert await first == 1
        with pytest.raises(LookupError):
            await second


async def test_a_reader_is_not_held_up_by_a_commit(database: SQLite) -> None:
    """Look-ups and scans answer with the state before, while a commit waits for the disk."""
    with commit_held_up(database) as held:
        first = asyncio.ensure_future(database.run(PUT, name="first"))
        await until(held.arrived)
        for _ in range(100):
            assert await database.one(NAMES) is None
        await database.scan(NAMES)
        assert not first.done()
        held.go_on.set()
        await first


async def test_a_cancelled_requester_strands_nobody(database: SQLite) -> None:
    """The one who gives up during the commit only stops waiting: his neighbours are answered, the next are served."""
    with commit_held_up(database) as held:
        tasks = [asyncio.ensure_future(database.run(PUT, name=str(n))) for n in range(3)]
        await until(held.arrived)
        queued = asyncio.ensure_future(database.run(PUT, name="queued"))
        await asyncio.sleep(0)
        tasks[0].cancel()
        queued.cancel()
        await asyncio.sleep(0.01)
        held.go_on.set()
        assert await asyncio.gather(*tasks[1:]) == [1, 1]
    assert tasks[0].cancelled()
    assert queued.cancelled()
    await database.run(PUT, name="next")
    assert await names(database) == ["0", "1", "2", "next"]


async def test_every_requester_cancelled_and_the_database_still_works(database: SQLite) -> None:
    """Even if the whole group leaves, its commit ends in order and the next unit is served."""
    with commit_held_up(database) as held:
        tasks = [asyncio.ensure_future(database.run(PUT, name=str(n))) for n in range(3)]
        await until(held.arrived)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)
        held.go_on.set()
        await database.run(PUT, name="next")
    assert await names(database) == ["0", "1", "2", "next"]


@pytest.mark.parametrize("seconds", [0, 0.01])
async def test_a_unit_that_sleeps_is_a_programming_error(database: SQLite, seconds: float) -> None:
    """A unit may not suspend, since the whole group stands behind it; it is told so and leaves nothing."""

    async def sleeps(tx: Tx) -> None:
        await tx.run(PUT, name="mine")
        await asyncio.sleep(seconds)
        await tx.run(PUT, name="mine too")

    neighbour = asyncio.ensure_future(database.run(PUT, name="neighbour"))
    with pytest.raises(RuntimeError, match=r"awaited something other than tx\.one"):
        await database.transact(sleeps)
    await neighbour
    assert await names(database) == ["neighbour"]


async def test_a_unit_that_calls_the_database_is_a_programming_error(database: SQLite) -> None:
    """Whatever goes past `tx` would not see the unit's rows, or wait for the unit to end."""

    async def reads(tx: Tx) -> None:
        await database.one(NAMES)

    async def nests(tx: Tx) -> None:
        await database.run(PUT, name="inner")

    for unit in (reads, nests):
        with pytest.raises(RuntimeError, match="called the database directly"):
            await database.transact(unit)


async def test_a_tx_that_is_kept_is_of_no_use(database: SQLite) -> None:
    """After its unit has ended, a `tx` refuses: its statement would belong to somebody else's unit."""
    kept: list[Tx] = []

    async def unit(tx: Tx) -> None:
        kept.append(tx)

    await database.transact(unit)
    with pytest.raises(RuntimeError, match="this unit has ended"):
        await kept[0].run(PUT, name="late")


async def test_a_unit_that_refuses_to_close_still_fails(database: SQLite) -> None:
    """A unit that awaits again while it is being thrown out is thrown out, and what it writes on its way is gone."""

    async def stubborn(tx: Tx) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            await tx.run(PUT, name="on the way out")

    async def deaf(tx: Tx) -> None:
        try:
            await asyncio.sleep(0)
        except GeneratorExit:
            await asyncio.sleep(0)

    for unit in (stubborn, deaf):
        with pytest.raises(RuntimeError, match="awaited something other"):
            await database.transact(unit)
    assert await names(database) == []


async def test_neighbours_of_failing_units_keep_theirs(database: SQLite) -> None:
    """Of a hundred units in one group every third fails after writing twice; exactly the others are stored."""

    async def ask(n: int) -> None:
        async def unit(tx: Tx) -> None:
            await tx.run(PUT, name=f"{n:03}")
            await tx.run("UPDATE ww_meta SET value = value || :n", n=str(n))
            if n % 3 == 0:
                raise LookupError(n)

        await database.transact(unit)

    with statements(database) as heard:
        answers = await asyncio.gather(*[ask(n) for n in range(100)], return_exceptions=True)
    assert heard.count("COMMIT") < 20
    assert [isinstance(answer, LookupError) for answer in answers] == [n % 3 == 0 for n in range(100)]
    assert [int(str(name)) for name in await names(database)] == [n for n in range(100) if n % 3]
    row = await database.one("SELECT value FROM ww_meta WHERE name = '098'")
    assert row is not None
    assert row[0] == "x98"


async def test_units_run_one_after_the_other(database: SQLite) -> None:
    """A counter read and written in two statements loses no count: units never interleave."""
    await database.run("INSERT INTO ww_meta (name, value) VALUES ('n', '0')")

    async def unit(tx: Tx) -> None:
        row = await tx.one("SELECT value FROM ww_meta WHERE name = 'n'")
        assert row is not None
        await tx.run("UPDATE ww_meta SET value = :n WHERE name = 'n'", n=str(int(str(row[0])) + 1))

    await asyncio.gather(*[database.transact(unit) for _ in range(500)])
    row = await database.one("SELECT value FROM ww_meta WHERE name = 'n'")
    assert row is not None
    assert row[0] == "500"


async def test_a_long_queue_does_not_hold_the_loop(database: SQLite) -> None:
    """Units of three milliseconds each: a group ends after five, so the loop gets its turn after every second one."""
    beats, seen = 0, set()

    async def slow(tx: Tx) -> None:
        time.sleep(0.003)  # noqa: ASYNC251 - stands for a unit that takes long
        seen.add(beats)

    async def heart() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    beating = asyncio.ensure_future(heart())
    await asyncio.gather(*[database.transact(slow) for _ in range(60)])
    beating.cancel()
    assert len(seen) >= 20, "all sixty at once would see one"


async def test_a_group_has_an_upper_bound(database: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six hundred quick units need three commits, however much time there is."""
    monkeypatch.setattr(sqlite_units, "GROUP_SECONDS", 10)
    with statements(database) as heard:
        await asyncio.gather(*[database.run(PUT, name=str(n)) for n in range(600)])
    assert heard.count("COMMIT") == 3


async def test_close_finishes_what_is_under_way(database: SQLite, path: Path) -> None:
    """Whoever was queued before `close` is answered and stored; whoever comes later is refused."""
    tasks = [asyncio.ensure_future(database.run(PUT, name=str(n))) for n in range(3)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*tasks) == [1, 1, 1]
    for late in (database.run(PUT, name="late"), database.one(NAMES), database.scan(NAMES)):
        with pytest.raises(StorageUnavailable, match="closed"):
            await late
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM ww_meta").fetchone() == (3,)


async def test_a_cancelled_writer_task_strands_nobody(database: SQLite) -> None:
    """If the loop cancels the writer's own task, those who wait are told, and a later unit works."""
    with commit_held_up(database) as held:
        waiting = asyncio.ensure_future(database.run(PUT, name="first"))
        await until(held.arrived)
        task = database._writer._task
        assert task is not None
        task.cancel()
        with pytest.raises(StorageUnavailable):
            await waiting
        held.go_on.set()
        await database.run(PUT, name="second")
    assert "second" in await names(database)


async def test_reads_refuse_to_write(database: SQLite) -> None:
    """A write outside a unit would wait for the disk on the loop; it is refused as the programming error it is."""
    for read in (database.one, database.all, database.scan):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await read("UPDATE ww_meta SET value = 'y' RETURNING name")


async def test_programming_errors_escape_as_they_are(database: SQLite) -> None:
    """No such table, a missing value: not dressed up as an outage, and the next unit works."""
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.run("DELETE FROM nowhere")
    with pytest.raises(sqlite3.ProgrammingError, match="name"):
        await database.run(PUT)
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        await database.run("INSERT INTO ww_meta (name, value) VALUES ('a', NULL)")
    await database.run(PUT, name="fine")


async def test_a_storm_of_everything_keeps_the_account(database: SQLite) -> None:
    """Successes, failures, sleepers and cancellations mixed: acknowledged is stored, failed is not, nobody hangs."""
    chance = random.Random(7)
    acknowledged: set[str] = set()
    failed: set[str] = set()

    async def ask(name: str, kind: str) -> None:
        async def unit(tx: Tx) -> None:
            await tx.run(PUT, name=name)
            if kind == "raises":
                raise LookupError
            if kind == "sleeps":
                await asyncio.sleep(0)

        try:
            await database.transact(unit)
        except (LookupError, RuntimeError):
            failed.add(name)
        else:
            acknowledged.add(name)

    kinds = chance.choices(["succeeds", "raises", "sleeps"], weights=[6, 2, 1], k=2_000)
    tasks = []
    for n, kind in enumerate(kinds):
        tasks.append(asyncio.ensure_future(ask(str(n), kind)))
        if chance.random() < 0.1:
            chance.choice(tasks).cancel()
        if chance.random() < 0.1:
            await asyncio.sleep(chance.choice([0, 0.001]))
    await asyncio.wait(tasks, timeout=120)
    assert all(task.done() for task in tasks)
    stored = {str(name) for name in await names(database)}
    assert acknowledged <= stored
    assert not failed & stored
    assert stored <= {str(n) for n, kind in enumerate(kinds) if kind == "succeeds"}
    assert len(acknowledged) > 500


@pytest.mark.parametrize(("processes", "pauses"), [(1, False), (2, True)])
async def test_a_writer_with_neighbours_pauses(
    path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, pauses: bool
) -> None:
    """With several processes the lock lies free after each group, even if a queue waits; alone it does not."""
    monkeypatch.setattr(sqlite_units, "PAUSE", 0.05)
    monkeypatch.setattr(sqlite_units, "GROUP_UNITS", 1)
    database = await SQLite.open(path, processes=processes)
    await migrate(database, now=1)
    sleep, slept = time.sleep, []
    monkeypatch.setattr(time, "sleep", lambda seconds: (slept.append(seconds), sleep(seconds)))
    await asyncio.gather(*[database.run(PUT, name=str(n)) for n in range(4)])
    assert (slept.count(0.05) >= 3) == pauses
    await database.close()
