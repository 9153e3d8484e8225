"""Reads the list of revocations. Pure: it does no I/O.

The rules for a page, in order:

* `reset` with another feed: a new list is drafted, and replaces ours when complete.
* `reset` with our feed: entries are only added, so that a replica that lags undoes no revocation.
* no `reset`: the page continues our list or the draft; otherwise the whole list is fetched.
* Entries of keys outlive every list.

Age counts from `as_of`, when the service read its database: a replica may be cut off.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from itertools import islice
from typing import Annotated, Final, NamedTuple

import msgspec

from watchword.guard.following.addresses import ServiceAddress
from watchword.guard.following.exchange import FEED_LIMIT, FEED_SECONDS, Answer, Fetch, FetchFault, check_ok
from watchword.guard.watching import Watches
from watchword.tokens.revocations import NEVER, RevocationSet

CHUNK: Final = 200
"""Entries between two pauses, so that a long list does not delay requests."""
APART: Final = 0.25
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 1.5
_NOT_TAKEN: Final = frozenset({400, 422})
_NO_KEY: Final = frozenset({401, 403})
_PASSING: Final = frozenset(("session", "user", "scope", "audience"))
_CURSOR = re.compile(r"(?P<feed>.{1,255})\.(?P<seq>[0-9]{1,18})", re.DOTALL)


_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class FeedEntry(msgspec.Struct, gc=False):
    """Names a session, user or key to refuse. `expires_at`: seconds since 1970; None: never forgotten."""

    kind: str
    subject: _Text
    min_version: _Number | None = None
    expires_at: _Number | None = None


class Page(msgspec.Struct):
    """Describes one answer of the feed."""

    feed_id: _Text
    cursor: str
    as_of: _Number
    reset: bool
    entries: list[FeedEntry]
    more: bool
    keys: Annotated[str, msgspec.Meta(max_length=255)] = ""


class FeedState(NamedTuple):
    """Holds a list and its cursor, exchanged together."""

    feed_id: str
    cursor: str | None
    revocations: RevocationSet


class PageNews(NamedTuple):
    """Says whether more follows at once, and whether the key set has changed."""

    more: bool
    keys_changed: bool


_decode = msgspec.json.Decoder(Page).decode


class FeedReader:
    """Keeps the list in force, and says what to fetch. Times are monotonic seconds.

    :param guard_key: a bearer token for the service; needed beyond loopback.
    """

    def __init__(self, service: ServiceAddress, guard_key: str | None = None) -> None:
        self._service = service
        self._with_key = guard_key is not None
        key = () if guard_key is None else (("authorization", f"Bearer {guard_key}"),)
        self._headers = (("accept", "application/json"), ("cache-control", "no-cache"), *key)
        self.in_force = FeedState("", None, RevocationSet())
        self._draft: FeedState | None = None
        self._revoked_keys: set[str] = set()
        self._fresh_at: float | None = None  # the newest as_of, as monotonic time
        self._as_of: int | None = None
        self._keys_version = ""
        self._new_keys_revoked = False
        self.complete = False
        self.failures = 0

    def listen(self, watches: Watches) -> None:
        """Let these hear of each entry, in this list and in those that replace it."""
        watches.listen(self.in_force.revocations)

    def fetch(self, *, at_once: bool = False) -> Fetch:
        """Return what to fetch.

        :param at_once: whether the service must not wait for news. After a failure it never does.
        """
        cursor = (self._draft or self.in_force).cursor
        url = self._service.feed_url(cursor, keys=self._keys_version, wait=not (self.failures or at_once))
        return Fetch(url, FEED_LIMIT, FEED_SECONDS, self._headers)

    def age(self, now: float) -> float | None:
        """Return the list's age in seconds; None before the first complete one."""
        return None if self._fresh_at is None else max(now - self._fresh_at, 0.0)

    def fresh_until(self, max_stale: float) -> float:
        """Return when the list becomes too old."""
        return float("-inf") if self._fresh_at is None else self._fresh_at + max_stale

    def digest(self, answer: Answer, *, wall: int) -> Generator[None, None, PageNews]:
        """Add a page and return what it means. Yields between chunks of entries.

        :param wall: seconds since 1970, for a service that sends no Date.
        :raises FetchFault: no page, or not the next one. The list in force stays.
        """
        self._check(answer)
        page = read_page(answer.body)
        target = self._target(page)
        self._new_keys_revoked = False
        for start in range(0, len(page.entries), CHUNK):
            self._add(target.revocations, page.entries[start : start + CHUNK])
            yield
        if not page.more and target is self._draft:
            yield from _keep(self.in_force.revocations, target.revocations)
        return self._commit(target._replace(cursor=page.cursor), page, answer, wall)

    def pause(self, now: float, *, asked_at: float, more: bool) -> float:
        """Return the seconds to wait after a page: an overloaded service answers at once."""
        return 0.0 if more else max(asked_at + APART - now, 0.0)

    def failed(self, fault: FetchFault, *, jitter: float) -> float:
        """Count a failed fetch, and return the seconds to wait: news must arrive within 2 s of a recovery."""
        self.failures += 1
        if fault.retry_after is not None:
            return fault.retry_after * (0.5 + 0.5 * jitter)
        return float(min(_FIRST_PAUSE * 2 ** min(self.failures - 1, 10), _LONGEST_PAUSE)) * (0.5 + 0.5 * jitter)

    def sweep(self, wall: int) -> None:
        """Forget the entries that no live token needs. It copies the list, so not at every poll.

        The clock that is behind decides: an entry that a fast clock dropped would never come again.
        """
        if self._as_of is not None:
            self.in_force.revocations.sweep(min(wall, self._as_of))

    def drop_draft(self) -> None:
        """Forget a half-read list, after a fork."""
        self._draft = None

    def _check(self, answer: Answer) -> None:
        cursor = (self._draft or self.in_force).cursor
        if answer.status in _NOT_TAKEN and cursor is not None:
            self._start_over()
            raise FetchFault(f"status {answer.status}: our cursor is not taken; the whole list is asked for")
        if answer.status in _NO_KEY:
            fault = "was not accepted: it was revoked, or it is another service's" if self._with_key else "is missing"
            raise FetchFault(f"status {answer.status}: the guard key {fault}; make one with `watchword guards create`")
        check_ok(answer)

    def _start_over(self) -> None:
        self._draft = None
        self.in_force = self.in_force._replace(cursor=None)

    def _target(self, page: Page) -> FeedState:
        if page.reset and page.feed_id == self.in_force.feed_id:
            self._draft = None
            return self.in_force
        if page.reset and (self._draft is None or self._draft.feed_id != page.feed_id):
            self._draft = FeedState(page.feed_id, None, self._new_list())
        current = self._draft or self.in_force
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
        revocations.listeners = self.in_force.revocations.listeners
        return revocations

    def _add(self, revocations: RevocationSet, entries: list[FeedEntry]) -> None:
        for entry in entries:
            kind, subject = entry.kind, entry.subject
            if kind in _PASSING:
                until = NEVER if entry.expires_at is None else entry.expires_at
                revocations.add(kind, subject, entry.min_version or 0, until)  # type: ignore[arg-type]
            elif kind == "key":
                self._new_keys_revoked = self._new_keys_revoked or subject not in self._revoked_keys
                self._revoked_keys.add(subject)
                # At once, also while another list is drafted.
                self.in_force.revocations.add("key", subject, 0, NEVER)
                revocations.add("key", subject, 0, NEVER)
            # Skip an unknown kind of a later version: refusing the page would lose the rest.

    def _commit(self, reached: FeedState, page: Page, answer: Answer, wall: int) -> PageNews:
        self.failures = 0
        # The first version is that of the keys being fetched.
        version_changed = page.keys != "" and self._keys_version not in {"", page.keys}
        self._keys_version = page.keys or self._keys_version
        news = PageNews(page.more, self.complete and (version_changed or self._new_keys_revoked))
        if page.more:
            if self._draft is None:
                self.in_force = reached
            else:
                self._draft = reached
            return news
        self.in_force, self._draft, self.complete = reached, None, True
        # The lag by the service's clock, since ours may differ. An older answer changes no age.
        self._as_of = page.as_of if self._as_of is None else max(self._as_of, page.as_of)
        lag = max(server_time(answer, wall) - page.as_of, 0)
        fresh_at = answer.arrived - lag
        self._fresh_at = fresh_at if self._fresh_at is None else max(self._fresh_at, fresh_at)
        return news


def _keep(old: RevocationSet, new: RevocationSet) -> Generator[None, None, None]:
    """Go on refusing what the former list refused: a restored database may not know it.

    No one is refused wrongly: ids are never reused, and versions are far higher after a restore.
    """
    entries = old.passing()
    while chunk := list(islice(entries, CHUNK)):
        new.add_marks(chunk)
        yield


def read_page(body: bytes) -> Page:
    """Read a page. :raises FetchFault: it has another shape, or impossible values."""
    try:
        page = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FetchFault("the feed's answer is not a page") from error
    found = _CURSOR.fullmatch(page.cursor)
    if found is None or found["feed"] != page.feed_id:
        raise FetchFault("the feed's cursor is not one")
    return page


def server_time(answer: Answer, wall: int) -> int:
    """Return the time of an answer by the service's clock: its Date header."""
    from email.utils import parsedate_to_datetime  # 20 ms at import

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
