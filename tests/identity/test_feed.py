"""What guards elsewhere read: every entry once, in the order of the commits, soon, and for many at the price of one."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from tests.identity.scenes import Opener, claims_of, join, log_in, meddle, operator
from tests.identity.starting import at_once
from watchword.clock import FixedClock
from watchword.errors import InvalidInput, StorageUnavailable
from watchword.identity import feed as feed_module
from watchword.identity import revocation, sweeping
from watchword.identity.feed import Cursor, FeedPage, read_cursor
from watchword.identity.kernel import Kernel
from watchword.identity.revocation import Entry, Published
from watchword.storage.database import Database, Row, T, Tx, Unit, Value

FAR = 2**40


async def publish(kernel: Kernel, *subjects: str, until: int = FAR) -> None:
    """A unit that does nothing but publish."""

    async def unit(_: Tx) -> tuple[None, Published]:
        return None, [Entry("session", subject, None, until) for subject in subjects]

    await kernel.revocations.commit(unit)


async def start(kernel: Kernel) -> Cursor:
    """Where a reader is that has seen everything so far."""
    return cursor_of(await kernel.feed.page(None))


def cursor_of(page: FeedPage) -> Cursor:
    cursor = read_cursor(page.cursor)
    assert cursor is not None
    return cursor


def subjects(page: FeedPage) -> list[str]:
    return [entry.subject for entry in page.entries]


class Slow:
    """The real database as the feed sees it: counted, and its answer may be on its way until it is let go, or fail."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.held: list[asyncio.Event] = []
        self.fault: Exception | None = None
        self.looks = 0

    async def one(self, sql: str, /, **values: Value) -> Row | None:
        self.looks += 1
        row = await self._database.one(sql, **values)
        if self.held:
            await self.held.pop().wait()
        if self.fault is not None:
            raise self.fault
        return row

    async def all(self, sql: str, /, **values: Value) -> list[Row]:
        return await self._database.all(sql, **values)

    scan = all

    async def transact(self, unit: Unit[T]) -> T:
        return await self._database.transact(unit)


def watched(kernel: Kernel) -> Slow:
    """Put it between the feed and its database."""
    kernel.feed._database = slow = Slow(kernel.database)  # type: ignore[assignment]
    return slow


async def waiting(kernel: Kernel, number: int) -> None:
    """Until so many readers wait."""
    for _ in range(200):
        if kernel.feed._waiting == number:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(kernel.feed._waiting)


async def woken(kernel: Kernel) -> None:
    """Until the wake that was announced has been."""
    for _ in range(200):
        if kernel.feed._wake_planned is None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it was not")


# What is in a page ---------------------------------------------------------------------------------------------------


async def test_the_whole_list_and_then_what_comes_after(kernel: Kernel, clock: FixedClock) -> None:
    """Without a cursor everything, marked `reset`; with one only what is newer, in order, and no mark."""
    await publish(kernel, "a", "b")
    first = await kernel.feed.page(None)
    assert (first.reset, first.more, first.as_of, subjects(first)) == (True, False, clock.now(), ["a", "b"])
    assert first.keys == kernel.keys.ring.version
    assert first.cursor == f"{first.feed_id}.2"
    await publish(kernel, "c")
    second = await kernel.feed.page(cursor_of(first))
    assert (second.reset, subjects(second), second.cursor) == (False, ["c"], f"{first.feed_id}.3")
    third = await kernel.feed.page(cursor_of(second), wait=False)
    assert (third.reset, third.entries, third.cursor) == (False, (), second.cursor)


async def test_an_entry_says_all_that_a_guard_needs(kernel: Kernel) -> None:
    """The three kinds; a key's never expires."""
    user = await join(kernel)
    claims = claims_of(kernel, await log_in(kernel))
    await operator(kernel).disable(user.id)

    async def unit(_: Tx) -> tuple[None, Published]:
        return None, [Entry("key", claims.kid, None, None)]

    await kernel.revocations.commit(unit)
    of_user, key = (await kernel.feed.page(None)).entries
    await publish(kernel, "s")
    session = (await kernel.feed.page(None)).entries[-1]
    assert (session.kind, session.subject, session.min_version, session.expires_at) == ("session", "s", None, FAR)
    assert (of_user.kind, of_user.subject, of_user.min_version) == ("user", user.id, (claims.ver or 0) + 1)
    assert of_user.expires_at == claims.exp + revocation.SKEW
    assert (key.kind, key.subject, key.expires_at) == ("key", claims.kid, None)


@pytest.mark.parametrize("where", ["other feed", "ahead", "far ahead"])
async def test_a_cursor_that_does_not_fit_starts_again(kernel: Kernel, where: str) -> None:
    """Another database, or this one restored to an older state: the whole list, at once, marked `reset`."""
    await publish(kernel, "a", "b")
    here = await start(kernel)
    cursor = {
        "other feed": Cursor("elsewhere", here.seq),
        "ahead": Cursor(here.feed_id, here.seq + 1),
        "far ahead": Cursor(here.feed_id, 10**17),
    }[where]
    page = await kernel.feed.page(cursor)
    assert (page.reset, subjects(page), cursor_of(page)) == (True, ["a", "b"], here)


@pytest.mark.parametrize(
    "text", ["a", ".", "a.", ".1", "a.b", "a.-1", "a.+1", "a. 1", "a.1 ", "a.1.", "a.1_0", "a.٣", "a." + "9" * 19, "1"]
)
def test_what_is_no_cursor(text: str) -> None:
    """One field at fault."""
    with pytest.raises(InvalidInput) as caught:
        read_cursor(text)
    assert [(error.field, error.code) for error in caught.value.errors] == [("after", "cursor")]


def test_no_cursor_is_the_beginning() -> None:
    assert read_cursor(None) is None
    assert read_cursor("") is None
    assert read_cursor("a.b.12") == Cursor("a.b", 12)


@pytest.mark.sqlite
@pytest.mark.parametrize(("entries", "sizes"), [(25_000, [10_000, 10_000, 5_000]), (10_000, [10_000]), (0, [0])])
async def test_a_long_list_comes_in_pages(kernel: Kernel, entries: int, sizes: list[int]) -> None:
    """10,000 to a page, `more` until the last; only the first is a `reset`; nothing twice, nothing left out."""
    meddle(kernel, _many(entries))
    pages = [await kernel.feed.page(None)]
    while pages[-1].more:
        pages.append(await kernel.feed.page(cursor_of(pages[-1]), wait=False))
    assert [len(page.entries) for page in pages] == sizes
    assert [page.reset for page in pages] == [True] + [False] * (len(sizes) - 1)
    assert [name for page in pages for name in subjects(page)] == [f"s{n}" for n in range(1, entries + 1)]
    assert cursor_of(pages[-1]).seq == entries


def _many(entries: int) -> str:
    return f"""
    INSERT INTO ww_revocations WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {entries})
        SELECT 'r' || i, i, 'session', 's' || i, NULL, {FAR} FROM n WHERE i <= {entries};
    UPDATE ww_feed SET head = {entries};
    """


async def test_what_has_expired_is_left_out(kernel: Kernel, clock: FixedClock) -> None:
    """Swept or not; on the very second (J15). The cursor goes past it all the same."""
    await publish(kernel, "short", until=clock.now() + 10)
    await publish(kernel, "long", until=clock.now() + 11)
    clock.advance(9)
    assert subjects(await kernel.feed.page(None)) == ["short", "long"]
    clock.advance(1)
    page = await kernel.feed.page(None)
    assert (subjects(page), cursor_of(page).seq) == (["long"], 2)
    clock.advance(1)
    page = await kernel.feed.page(None)
    assert (subjects(page), cursor_of(page).seq) == ([], 2)


async def test_E12_sweeping_never_takes_a_live_entry_from_a_reader(kernel: Kernel, clock: FixedClock) -> None:
    """A slow reader, one page in four turns, while entries of many lives come, expire and are swept."""
    seen: set[str] = set()
    live: dict[str, int] = {}
    cursor: Cursor | None = None
    for turn in range(60):
        for number, life in enumerate((2, 7, 30)):
            name = f"{turn}-{number}"
            live[name] = clock.now() + life
            await publish(kernel, name, until=live[name])
        clock.advance(1)
        await sweeping.sweep(kernel.database, clock.now())
        if turn % 4 == 0:
            page = await kernel.feed.page(cursor, wait=False)
            assert page.reset == (cursor is None)
            seen, cursor = seen | set(subjects(page)), cursor_of(page)
            missed = {name for name, until in live.items() if until > clock.now()} - seen
            assert missed == set(), turn


MOMENT = 20  # seconds, less than a reader waits for news


# Waiting -------------------------------------------------------------------------------------------------------------


async def test_a_reader_that_waits_is_answered_by_the_news(kernel: Kernel) -> None:
    """From the commit to the answer, eight times in a row; without news it goes on waiting."""
    cursor = await start(kernel)
    for turn in range(8):
        asking = asyncio.create_task(kernel.feed.page(cursor))
        await asyncio.sleep(0.03)
        assert not asking.done()
        await publish(kernel, f"{turn}")
        page = await asyncio.wait_for(asking, MOMENT)
        assert subjects(page) == [f"{turn}"]
        cursor = cursor_of(page)


async def test_E7_a_log_out_in_another_process_reaches_a_reader_here(open_kernel: Opener) -> None:
    """Nothing between the two but the file."""
    async with open_kernel() as here, open_kernel() as there:
        cursor = await start(there)
        asking = asyncio.create_task(there.feed.page(cursor))
        await waiting(there, 1)
        await publish(here, "logged-out")
        await there.revocations.poll()
        assert subjects(await asyncio.wait_for(asking, MOMENT)) == ["logged-out"]


@pytest.mark.sqlite  # elsewhere there is news whenever the reader looks
async def test_a_storm_of_log_outs_loses_nothing(kernel: Kernel) -> None:
    """A reader that comes back hears of each once, in order, in fewer answers than there are log-outs."""
    cursor, answers, got = await start(kernel), 0, []
    done = asyncio.Event()

    async def read() -> None:
        nonlocal cursor, answers
        while len(got) < 100:
            page = await kernel.feed.page(cursor)
            answers += 1
            got.extend(subjects(page))
            cursor = cursor_of(page)
            # As a guard does: what has come since the last wake is read in one piece with what comes until the next.
            await asyncio.sleep(0.25)
        done.set()

    reading = asyncio.create_task(read())
    await waiting(kernel, 1)
    for number in range(100):
        await publish(kernel, f"{number}")
        await asyncio.sleep(0.012)
    await asyncio.wait_for(done.wait(), 60)
    await reading
    assert got == [f"{number}" for number in range(100)]
    assert answers < 100


async def test_wakes_are_half_a_second_apart(kernel: Kernel) -> None:
    """Counted where they happen: 1.3 s of news every 10 ms are three wakes."""
    wakes = []
    wake = kernel.feed._wake

    def counted() -> None:
        wakes.append(time.monotonic())
        wake()

    kernel.feed._wake = counted  # type: ignore[method-assign]
    for _ in range(130):
        kernel.feed.announce()
        await asyncio.sleep(0.01)
    assert 2 <= len(wakes) <= 2 + (wakes[-1] - wakes[0]) / 0.49
    assert all(later - earlier >= 0.49 for earlier, later in pairwise(wakes))


async def test_many_readers_share_one_read_and_one_body(kernel: Kernel) -> None:
    """500 at one place: one look at the database when they ask, one when there is news, one encoded answer."""
    cursor, slow = await start(kernel), watched(kernel)
    asking = [asyncio.create_task(kernel.feed.page(cursor)) for _ in range(500)]
    await waiting(kernel, 500)
    assert slow.looks == 1
    await publish(kernel, "news")
    pages = await asyncio.wait_for(asyncio.gather(*asking), MOMENT)
    assert slow.looks == 2
    assert {id(page) for page in pages} == {id(pages[0])}
    assert pages[0].encoded is pages[499].encoded
    assert b'"subject":"news"' in pages[0].encoded


async def test_above_the_cap_nobody_waits(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fourth of three is answered at once, truthfully; when a place is free, the next one waits again."""
    monkeypatch.setattr(kernel.feed, "_max_waiting", 3)
    cursor = await start(kernel)
    asking = [asyncio.create_task(kernel.feed.page(cursor)) for _ in range(3)]
    await waiting(kernel, 3)
    page = await asyncio.wait_for(kernel.feed.page(cursor), MOMENT)
    assert (page.entries, page.reset) == ((), False)
    asking.pop().cancel()
    await waiting(kernel, 2)
    asking.append(asyncio.create_task(kernel.feed.page(cursor)))
    await waiting(kernel, 3)
    await publish(kernel, "news")
    assert [len(page.entries) for page in await asyncio.gather(*asking)] == [1, 1, 1]
    assert kernel.feed._waiting == 0


async def test_a_storm_of_readers_is_bounded(kernel: Kernel) -> None:
    """2,000 at once, at ten places: a thousand wait, the others are answered, with few reads."""
    cursor = await start(kernel)
    places = [cursor, *(Cursor(cursor.feed_id + "x", n) for n in range(9))]
    slow = watched(kernel)
    asking = [asyncio.create_task(kernel.feed.page(places[n % 10] if n < 500 else cursor)) for n in range(2_000)]
    await waiting(kernel, feed_module.MAX_WAITING)
    async with asyncio.timeout(60):
        while sum(one.done() for one in asking) < 1_000:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert sum(one.done() for one in asking) == 1_000
    assert slow.looks == 10
    await publish(kernel, "news")
    await asyncio.wait_for(asyncio.gather(*asking), MOMENT)
    assert kernel.feed._waiting == 0
    assert kernel.feed._reading == {}


async def test_wait_0_is_answered_at_once(kernel: Kernel) -> None:
    cursor = await start(kernel)
    assert (await asyncio.wait_for(kernel.feed.page(cursor, wait=False), 0.2)).entries == ()


async def test_after_ten_seconds_the_answer_is_of_now(
    kernel: Kernel, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`as_of` is of a read at the end of the wait: a reader knows that until then there was nothing."""
    assert feed_module.WAIT_SECONDS == 10.0
    monkeypatch.setattr(feed_module, "WAIT_SECONDS", 0.2)
    cursor = await start(kernel)
    asking = asyncio.create_task(kernel.feed.page(cursor))
    await waiting(kernel, 1)
    clock.advance(10)
    page = await asyncio.wait_for(asking, MOMENT)
    assert (page.entries, page.as_of) == ((), clock.now())


async def test_another_version_of_the_keys_is_told_at_once(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a reader that names the one it has, or that waits while they change."""
    cursor, version = await start(kernel), kernel.keys.ring.version
    page = await asyncio.wait_for(kernel.feed.page(cursor, known_keys="old"), 0.2)
    assert (page.entries, page.keys) == ((), version)
    asking = [asyncio.create_task(kernel.feed.page(cursor, known_keys=known)) for known in (version, None)]
    await waiting(kernel, 2)
    monkeypatch.setattr(kernel.feed, "_keys_version", lambda: "new")
    kernel.feed.announce()
    assert [page.keys for page in await asyncio.wait_for(asyncio.gather(*asking), 1)] == ["new", "new"]


async def test_stopping_answers_everybody(kernel: Kernel) -> None:
    """A server that ends is not held up for ten seconds, and nobody waits from then on."""
    cursor = await start(kernel)
    asking = [asyncio.create_task(kernel.feed.page(cursor)) for _ in range(50)]
    await waiting(kernel, 50)
    kernel.feed.announce()  # a wake that is planned is no obstacle
    kernel.feed.stop()
    kernel.feed.stop()
    pages = await asyncio.wait_for(asyncio.gather(*asking), 0.5)
    assert {page.cursor for page in pages} == {f"{cursor.feed_id}.{cursor.seq}"}
    await asyncio.wait_for(kernel.feed.page(cursor), MOMENT)


# Truth under faults --------------------------------------------------------------------------------------------------


async def test_a_read_from_before_the_news_is_not_shared_with_who_asks_after(kernel: Kernel) -> None:
    """⚑ The first reader's answer is on its way when somebody logs out. Who asks after that must not get it too: there
    may be no further news for ten seconds."""
    cursor = await start(kernel)
    slow = watched(kernel)
    on_its_way = asyncio.Event()
    slow.held.append(on_its_way)
    before = asyncio.create_task(kernel.feed.page(cursor, wait=False))
    await asyncio.sleep(0.01)
    await publish(kernel, "news")
    await woken(kernel)
    after = asyncio.create_task(kernel.feed.page(cursor))
    await asyncio.sleep(0.01)
    on_its_way.set()
    assert subjects(await before) == []
    assert subjects(await asyncio.wait_for(after, 1)) == ["news"]


async def test_news_during_a_read_is_not_slept_through(kernel: Kernel) -> None:
    """Read, then news, then waiting: the wait that follows is over at once."""
    cursor = await start(kernel)
    slow = watched(kernel)
    on_its_way = asyncio.Event()
    slow.held.append(on_its_way)
    asking = asyncio.create_task(kernel.feed.page(cursor))
    await asyncio.sleep(0.01)
    await publish(kernel, "news")
    await woken(kernel)
    on_its_way.set()
    assert subjects(await asyncio.wait_for(asking, MOMENT)) == ["news"]


async def test_C7_a_database_that_fails_is_no_old_page(kernel: Kernel) -> None:
    """Neither for who asks nor for who has been waiting."""
    cursor = await start(kernel)
    slow = watched(kernel)
    asking = asyncio.create_task(kernel.feed.page(cursor))
    await waiting(kernel, 1)
    slow.fault = StorageUnavailable("injected")
    await publish(kernel, "news")
    for answer in (asking, kernel.feed.page(cursor), kernel.feed.page(None), kernel.feed.page(cursor, wait=False)):
        with pytest.raises(StorageUnavailable):
            await asyncio.wait_for(answer, 1)
    slow.fault = None
    assert subjects(await kernel.feed.page(cursor)) == ["news"]


async def test_a_failure_that_nobody_is_left_to_hear_of_is_quiet(kernel: Kernel) -> None:
    """The reader hung up; its read fails afterwards."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    slow = watched(kernel)
    on_its_way, slow.fault = asyncio.Event(), StorageUnavailable("injected")
    slow.held.append(on_its_way)
    asking = asyncio.create_task(kernel.feed.page(None))
    await asyncio.sleep(0.01)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    on_its_way.set()
    await asyncio.sleep(0.01)
    gc.collect()
    assert complaints == []
    assert kernel.feed._reading == {}


@pytest.mark.sqlite
async def test_a_transaction_held_open_hides_nothing_from_a_reader(open_kernel: Opener) -> None:
    """⚑ A unit of another process has drawn its number and does not commit, while others want to: no reader ever sees
    a later number before it, so none goes past it."""
    async with open_kernel(workers=2) as here, open_kernel(workers=2) as there:
        cursor = await start(there)
        holding = await asyncio.create_subprocess_exec(
            *_HOLD, str(here.settings.database_path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert holding.stdin is not None
        assert holding.stdout is not None
        assert await holding.stdout.readline() == b"held\n"
        others = [asyncio.create_task(publish(kernel, f"other-{n}")) for n in range(5) for kernel in (here, there)]
        seen: list[str] = []
        for turn in range(40):
            if turn == 20:
                holding.stdin.write(b"commit\n")
                await holding.stdin.drain()
            page = await there.feed.page(cursor, wait=False)
            seen, cursor = seen + subjects(page), cursor_of(page)
            await asyncio.sleep(0.01)
        await asyncio.gather(*others)
        await holding.wait()
        seen += subjects(await there.feed.page(cursor, wait=False))
        assert seen[0] == "held-open"
        assert sorted(seen) == sorted(["held-open", *(f"other-{n}" for n in range(5) for _ in range(2))])


_HOLD = [
    sys.executable,
    "-c",
    """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
(seq,) = db.execute("UPDATE ww_feed SET head = head + 1 RETURNING head").fetchone()
db.execute("INSERT INTO ww_revocations VALUES ('held', ?, 'session', 'held-open', NULL, 1099511627776)", (seq,))
print("held", flush=True)
sys.stdin.readline()
db.execute("COMMIT")
""",
]


@pytest.mark.sqlite
async def test_no_reader_misses_an_entry_of_several_processes(open_kernel: Opener) -> None:
    """Three processes publish 150 entries each as fast as they can; a reader here ends with every one, once."""
    async with open_kernel(workers=2) as kernel:
        cursor, seen = await start(kernel), list[str]()
        path = str(kernel.settings.database_path)
        publishing = asyncio.create_task(asyncio.to_thread(at_once, _PUBLISH, path, processes=3))
        while not publishing.done():
            page = await kernel.feed.page(cursor, wait=False)
            seen, cursor = seen + subjects(page), cursor_of(page)
            await asyncio.sleep(0.002)
        await publishing
        seen += subjects(await kernel.feed.page(cursor, wait=False))
        assert len(seen) == len(set(seen)) == 450


_PUBLISH = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
ready()
for number in range(150):
    db.execute("BEGIN IMMEDIATE")
    (seq,) = db.execute("UPDATE ww_feed SET head = head + 1 RETURNING head").fetchone()
    name = f"{os.getpid()}-{number}"
    db.execute("INSERT INTO ww_revocations VALUES (?, ?, 'session', ?, NULL, 1099511627776)", (name, seq, name))
    db.execute("COMMIT")
"""


def test_a_feed_belongs_to_no_settings() -> None:
    """The numbers that `docs/features/revocations.md` states."""
    assert (feed_module.PAGE, feed_module.WAKE_SECONDS, feed_module.MAX_WAITING) == (10_000, 0.5, 1_000)
    assert feed_module.RevocationLog.__init__.__kwdefaults__ == {"max_waiting": 1_000}
