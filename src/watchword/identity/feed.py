"""The feed, by which guards in other processes refuse revoked tokens without asking.

A cursor is `<feed_id>.<seq>`. A reader that has seen n has seen all up to n (see `revocation`). `as_of` is when the
database was read: everything committed before is in the pages up to that one. A service that is cut off from its
database answers late or not at all, but never looks fresh.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import msgspec

from watchword.clock import Clock, monotonic
from watchword.errors import FieldError, InvalidInput
from watchword.identity.revocation import find_place
from watchword.storage.database import Database, Row

PAGE = 10_000
WAIT_SECONDS = 10.0
WAKE_SECONDS = 0.5
MAX_WAITING = 1_000
FEW = 500
"""As many entries as are read on the event loop; more are read in a thread."""


class FeedEntry(msgspec.Struct, frozen=True):
    """One thing to refuse. `expires_at` is a NumericDate; null for a key, which stays refused."""

    kind: str
    subject: str
    min_version: int | None
    expires_at: int | None


class FeedPage(msgspec.Struct, frozen=True, dict=True):
    """What came after a cursor.

    :param as_of: NumericDate of the database read.
    :param keys: version of the key set; fetch the key set at once when it changes.
    :param reset: this begins the whole live list, which replaces the reader's.
    :param more: there is another page; ask again with this cursor at once.
    """

    feed_id: str
    cursor: str
    as_of: int
    keys: str
    reset: bool
    entries: tuple[FeedEntry, ...]
    more: bool

    @cached_property
    def encoded(self) -> bytes:
        """Return the page as JSON, one object for all readers."""
        return msgspec.json.encode(self)


class Cursor(NamedTuple):
    """A reader's place."""

    feed_id: str
    seq: int


def read_cursor(text: str | None) -> Cursor | None:
    """Read an earlier page's cursor; None for none. Raises `InvalidInput`."""
    if not text:
        return None
    feed_id, dot, digits = text.rpartition(".")
    if not dot or not feed_id or not digits.isascii() or not digits.isdigit() or len(digits) > 18:  # noqa: PLR2004
        raise InvalidInput(FieldError("after", "cursor", "This is not a cursor that an earlier answer gave."))
    return Cursor(feed_id, int(digits))


class RevocationLog:
    """Answers readers. Those waiting at one place are woken together and share one page.

    :param keys_version: returns the current version of the key set.
    :param max_waiting: readers that may wait at once; others are answered without waiting.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keys_version: Callable[[], str],
        *,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._database = database
        self._clock = clock
        self._keys_version = keys_version
        self._max_waiting = max_waiting
        self._waiting = 0
        self._news = asyncio.Event()
        self._woken_at = float("-inf")
        self._wake_planned: asyncio.TimerHandle | None = None
        self._stopping = False
        self._reading: dict[Cursor | None, asyncio.Task[FeedPage]] = {}

    def announce(self) -> None:
        """Wake waiting readers, at most every half second: something may have changed."""
        if self._wake_planned is not None:
            return
        delay = max(0.0, self._woken_at + WAKE_SECONDS - monotonic())
        self._wake_planned = asyncio.get_running_loop().call_later(delay, self._wake)

    def stop(self) -> None:
        """Answer everyone now; let no one wait again: the process is ending."""
        self._stopping = True
        if self._wake_planned is not None:
            self._wake_planned.cancel()
        self._wake()

    def _wake(self) -> None:
        self._wake_planned = None
        self._woken_at = monotonic()
        # A read from before the news is not shared with later readers.
        self._reading = {}
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def page(self, cursor: Cursor | None, *, known_keys: str | None = None, wait: bool = True) -> FeedPage:
        """Return what came after the cursor; wait up to ten seconds for it.

        :param known_keys: the reader's version of the key set, if sent.
        :param wait: False to be answered at once.
        :raises StorageUnavailable: the database did not answer; an old page is never sent.
        """
        known_keys = known_keys or self._keys_version()
        give_up_at = monotonic() + WAIT_SECONDS
        while True:
            news = self._news  # before the read: what comes during it is not missed
            page = await self._read_shared(cursor)
            if page.entries or page.reset or page.keys != known_keys:
                return page
            left = give_up_at - monotonic()
            if not wait or left <= 0 or self._stopping or self._waiting >= self._max_waiting:
                return page
            await self._wait(news, left)

    async def _wait(self, news: asyncio.Event, seconds: float) -> None:
        self._waiting += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await news.wait()
        finally:
            self._waiting -= 1

    async def _read_shared(self, cursor: Cursor | None) -> FeedPage:
        """Share one read between all who ask for one place."""
        reading = self._reading
        task = reading.get(cursor)
        if task is None:
            task = reading[cursor] = asyncio.create_task(self._read(cursor))
            task.add_done_callback(lambda done: _let_go(reading, cursor, done))
        return await asyncio.shield(task)

    async def _read(self, cursor: Cursor | None) -> FeedPage:
        as_of = self._clock.now()  # before the read: the answer is at least this fresh
        feed_id, head = await find_place(self._database)
        reset = cursor is None or cursor.feed_id != feed_id or cursor.seq > head
        after = 0 if cursor is None or reset else cursor.seq
        rows = await self._rows(after, head, as_of)
        more = len(rows) > PAGE
        entries = tuple(FeedEntry(*(row[column] for column in range(1, 5))) for row in rows[:PAGE])
        reached = rows[PAGE - 1][0] if more else head
        return FeedPage(feed_id, f"{feed_id}.{reached}", as_of, self._keys_version(), reset, entries, more)

    async def _rows(self, after: int, head: int, now: int) -> list[Row]:
        if after == head:
            return []
        read = self._database.all if head - after <= FEW else self._database.scan
        return await read(
            "SELECT seq, kind, subject, min_version, expires_at FROM ww_revocations WHERE seq > :after"
            " AND seq <= :head AND (expires_at IS NULL OR expires_at > :now) ORDER BY seq LIMIT :rows",
            after=after,
            head=head,
            now=now,
            rows=PAGE + 1,
        )


def _let_go(
    reading: dict[Cursor | None, asyncio.Task[FeedPage]], cursor: Cursor | None, done: asyncio.Task[FeedPage]
) -> None:
    """Forget a finished read, and mark its failure as retrieved: no reader may be left."""
    del reading[cursor]
    if not done.cancelled():
        done.exception()
