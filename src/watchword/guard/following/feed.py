"""Following the list of what has been revoked. Pure: it says what to fetch and digests what came.

The rules, in the order in which they decide about a page:

* `reset` with a feed that is not ours: a new list is drafted, and replaces ours when it is complete.
* `reset` with our own feed: its entries are added to our list. Nothing of ours is dropped, because an entry is only
  as old as the tokens it refuses, and because a replica that lags behind must not undo a revocation.
* no `reset`: it continues our list or the draft; if it does not, we ask for the whole list.
* Entries of keys outlive every list.

How old the list is follows from `as_of`, the time at which the service read its database: an answer that comes
promptly from a replica that is cut off is not fresh.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from itertools import islice
from typing import Annotated, Final, NamedTuple

import msgspec

from watchword.guard.following.addresses import ServiceAddress
from watchword.guard.following.exchange import FEED_LIMIT, FEED_SECONDS, Answer, Fetch, FetchFault, check_ok
from watchword.tokens.revocations import NEVER, RevocationSet

CHUNK: Final = 200
"""Entries between two pauses: about a fifth of a millisecond, so that requests are not held up by a long list."""
APART: Final = 0.25
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 1.5
_NOT_TAKEN: Final = frozenset({400, 422})
_NO_KEY: Final = frozenset({401, 403})
_CURSOR = re.compile(r"(?P<feed>.{1,255})\.(?P<seq>[0-9]{1,18})", re.DOTALL)


_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class FeedEntry(msgspec.Struct, gc=False):
    """One thing to refuse. `expires_at` in seconds since 1970; None: never forgotten."""

    kind: str
    subject: _Text
    min_version: _Number | None = None
    expires_at: _Number | None = None


class Page(msgspec.Struct):
    """One answer of the feed."""

    feed_id: _Text
    cursor: str
    as_of: _Number
    reset: bool
    entries: list[FeedEntry]
    more: bool
    keys: Annotated[str, msgspec.Meta(max_length=255)] = ""


class FeedState(NamedTuple):
    """A list and how far it goes: one object, so that a copy of the reference has both of the same moment."""

    feed_id: str
    cursor: str | None
    revocations: RevocationSet


class PageNews(NamedTuple):
    """What follows from a page: whether there is more to read at once, and whether the key set has changed."""

    more: bool
    keys_changed: bool


_decode = msgspec.json.Decoder(Page).decode


class FeedReader:
    """The list at hand, and what to ask for next. Times are monotonic seconds.

    :param guard_key: shown to the service as a bearer token; needed beyond loopback.
    """

    def __init__(self, service: ServiceAddress, guard_key: str | None = None) -> None:
        self._service = service
        self._with_key = guard_key is not None
        shown = () if guard_key is None else (("authorization", f"Bearer {guard_key}"),)
        self._headers = (("accept", "application/json"), ("cache-control", "no-cache"), *shown)
        self.held = FeedState("", None, RevocationSet())
        self._draft: FeedState | None = None
        self._revoked_keys: set[str] = set()
        self._fresh_at: float | None = None  # the monotonic time that corresponds to the newest as_of
        self._as_of: int | None = None
        self._keys_version = ""
        self._new_keys_revoked = False
        self.complete = False
        self.failures = 0

    def fetch(self, *, at_once: bool = False) -> Fetch:
        """What to ask for now, and whether the answer is to come at once, even if there is no news.

        After a failure without the wait for news: whether there are any is what has to be known first, since until
        then the list at hand keeps growing older.
        """
        cursor = (self._draft or self.held).cursor
        url = self._service.feed_url(cursor, keys=self._keys_version, wait=not (self.failures or at_once))
        return Fetch(url, FEED_LIMIT, FEED_SECONDS, self._headers)

    def age(self, now: float) -> float | None:
        """Seconds since the service read its database for the list at hand; None before the first complete list."""
        return None if self._fresh_at is None else max(now - self._fresh_at, 0.0)

    def fresh_until(self, max_stale: float) -> float:
        """The moment from which the list is too old."""
        return float("-inf") if self._fresh_at is None else self._fresh_at + max_stale

    def digest(self, answer: Answer, *, wall: int) -> Generator[None, None, PageNews]:
        """Take a page in and say what it means. Yields between chunks of entries, so that others can work.

        :param wall: seconds since 1970, used for a service that sends no Date.
        :raises FetchFault: not a page, or not one that continues what is at hand. What is at hand stays.
        """
        self._check(answer)
        page = read_page(answer.body)
        target = self._target(page)
        self._new_keys_revoked = False
        for start in range(0, len(page.entries), CHUNK):
            self._add(target.revocations, page.entries[start : start + CHUNK])
            yield
        if not page.more and target is self._draft:
            yield from _keep(self.held.revocations, target.revocations)
        return self._commit(target._replace(cursor=page.cursor), page, answer, wall)

    def pause(self, now: float, *, asked_at: float, more: bool) -> float:
        """Seconds to wait after a page. A service that has no room for waiting polls answers at once: not that fast."""
        return 0.0 if more else max(asked_at + APART - now, 0.0)

    def failed(self, fault: FetchFault, *, jitter: float) -> float:
        """A fetch gave nothing; seconds to wait before the next.

        1.5 s at most: a service that is back after a minute is to be caught up with within two seconds.
        """
        self.failures += 1
        if fault.retry_after is not None:
            return fault.retry_after * (0.5 + 0.5 * jitter)
        return float(min(_FIRST_PAUSE * 2 ** min(self.failures - 1, 10), _LONGEST_PAUSE)) * (0.5 + 0.5 * jitter)

    def sweep(self, wall: int) -> None:
        """Forget entries whose tokens have all expired: copies the list, so not at every poll.

        By the clock that is behind. What is forgotten is never sent again: were our clock an hour ahead for a while,
        live entries would be lost for good.
        """
        if self._as_of is not None:
            self.held.revocations.sweep(min(wall, self._as_of))

    def drop_draft(self) -> None:
        """Forget a list that is half read: after a fork no one reads it to the end."""
        self._draft = None

    def _check(self, answer: Answer) -> None:
        cursor = (self._draft or self.held).cursor
        if answer.status in _NOT_TAKEN and cursor is not None:
            self._start_over()
            raise FetchFault(f"status {answer.status}: our cursor is not taken; the whole list is asked for")
        if answer.status in _NO_KEY:
            shown = "was not accepted: it was revoked, or it is another service's" if self._with_key else "is missing"
            raise FetchFault(f"status {answer.status}: the guard key {shown}; make one with `watchword guards create`")
        check_ok(answer)

    def _start_over(self) -> None:
        """Ask for the whole list. Ours stays in force meanwhile."""
        self._draft = None
        self.held = self.held._replace(cursor=None)

    def _target(self, page: Page) -> FeedState:
        """Which list the page belongs to."""
        if page.reset and page.feed_id == self.held.feed_id:
            self._draft = None
            return self.held
        if page.reset and (self._draft is None or self._draft.feed_id != page.feed_id):
            self._draft = FeedState(page.feed_id, None, self._new_list())
        current = self._draft or self.held
        if not page.reset and not _continues(current, page):
            self._start_over()
            raise FetchFault("a page that does not continue the list")
        if page.more and (not page.entries or page.cursor == current.cursor):
            raise FetchFault("a page that promises more and leads nowhere")
        return current

    def _new_list(self) -> RevocationSet:
        revocations = RevocationSet()
        for kid in self._revoked_keys:
            revocations.add("key", kid, 0, NEVER)
        return revocations

    def _add(self, revocations: RevocationSet, entries: list[FeedEntry]) -> None:
        for entry in entries:
            kind, subject = entry.kind, entry.subject
            if kind in ("session", "user"):
                until = NEVER if entry.expires_at is None else entry.expires_at
                revocations.add(kind, subject, entry.min_version or 0, until)  # type: ignore[arg-type]
            elif kind == "key":
                self._new_keys_revoked = self._new_keys_revoked or subject not in self._revoked_keys
                self._revoked_keys.add(subject)
                # At once and in the list that is in force, also while another one is being drafted.
                self.held.revocations.add("key", subject, 0, NEVER)
                revocations.add("key", subject, 0, NEVER)
            # A kind that a later version of the service knows is passed over: refusing the page would lose the rest.

    def _commit(self, reached: FeedState, page: Page, answer: Answer, wall: int) -> PageNews:
        self.failures = 0
        # The first version that is heard of is that of the keys that are being fetched anyway.
        version_changed = page.keys != "" and self._keys_version not in {"", page.keys}
        self._keys_version = page.keys or self._keys_version
        news = PageNews(page.more, self.complete and (version_changed or self._new_keys_revoked))
        if page.more:
            if self._draft is None:
                self.held = reached
            else:
                self._draft = reached
            return news
        self.held, self._draft, self.complete = reached, None, True
        # The lag is measured on the service's own clock, so ours may differ from it by hours. A list never gets
        # younger by an older answer, and never older: whatever is in it stays in it.
        self._as_of = page.as_of if self._as_of is None else max(self._as_of, page.as_of)
        lag = max(server_time(answer, wall) - page.as_of, 0)
        fresh_at = answer.arrived - lag
        self._fresh_at = fresh_at if self._fresh_at is None else max(self._fresh_at, fresh_at)
        return news


def _keep(old: RevocationSet, new: RevocationSet) -> Generator[None, None, None]:
    """Go on refusing what the former list refused. Another database may never have heard of it, as one from a backup;
    but ids never come back, and users who do have far higher versions then, so no one is refused wrongly.
    """
    entries = old.passing()
    while chunk := list(islice(entries, CHUNK)):
        new.add_marks(chunk)
        yield


def read_page(body: bytes) -> Page:
    """Read a page. :raises FetchFault: not of the right shape, or with values that no page has."""
    try:
        page = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FetchFault("the feed's answer is not a page") from error
    found = _CURSOR.fullmatch(page.cursor)
    if found is None or found["feed"] != page.feed_id:
        raise FetchFault("the feed's cursor is not one")
    return page


def server_time(answer: Answer, wall: int) -> int:
    """The time at which the answer was made, by the clock of the one who made it: its Date header."""
    from email.utils import parsedate_to_datetime  # costs 20 ms at import, and is needed after the first answer only

    try:
        return int(parsedate_to_datetime(answer.headers.get("date", "")).timestamp())
    except (TypeError, ValueError, OverflowError):
        return wall


def _continues(current: FeedState, page: Page) -> bool:
    if current.cursor is None or current.feed_id != page.feed_id:
        return False
    return _seq(page.cursor) >= _seq(current.cursor)


def _seq(cursor: str) -> int:
    return int(cursor.rpartition(".")[2])
