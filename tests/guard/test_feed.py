"""The rules of the feed by table: pages in, list and next request out. No sockets, no clock."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from watchword.guard.following.addresses import ServiceAddress
from watchword.guard.following.exchange import Answer, FetchFault
from watchword.guard.following.feed import CHUNK, FeedReader, PageNews
from watchword.tokens.revocations import mark_of

SERVICE = ServiceAddress.checked("https://auth.example")
NOW = 1_800_000_000
URL = "https://auth.example/revocations"


def answer(page: Any, *, arrived: float = 0.0, date: int | None = NOW, status: int = 200, **headers: str) -> Answer:
    body = page if isinstance(page, bytes) else msgspec.json.encode(page)
    told = {} if date is None else {"date": format_datetime(datetime.fromtimestamp(date, UTC), usegmt=True)}
    return Answer(status, told | headers, body, arrived)


def page(seq: int, *entries: tuple[Any, ...], feed: str = "a", **changed: Any) -> dict[str, Any]:
    names = ("kind", "subject", "min_version", "expires_at")
    listed = [dict(zip(names, (*entry, *(None, NOW + 900)[len(entry) - 2 :]), strict=True)) for entry in entries]
    return {"feed_id": feed, "cursor": f"{feed}.{seq}", "as_of": NOW, "keys": "v1", "reset": False, "entries": listed,
            "more": False} | changed  # fmt: skip


def take(feed: FeedReader, *pages: dict[str, Any], **how: Any) -> PageNews:
    news = None
    for each in pages:
        digest = feed.digest(answer(each, **how), wall=NOW)
        try:
            while True:
                next(digest)
        except StopIteration as end:
            news = end.value
    assert news is not None
    return news


def sessions(feed: FeedReader) -> set[str]:
    known = {mark_of(name): name for name in "abcdefghij"}
    return {known[mark] for mark in feed.in_force.revocations._sessions}


def s(*names: str) -> list[tuple[str, str]]:
    return [("session", name) for name in names]


FIRST = page(2, *s("a", "b"), reset=True)

# name: pages after the first list, sessions then refused, next request
SEQUENCES: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "nothing new": ([page(2)], "ab", "?after=a.2"),
    "one more": ([page(3, *s("c"))], "abc", "?after=a.3"),
    "a gap in the numbers is none": ([page(9, *s("c"))], "abc", "?after=a.9"),
    "two pages": ([page(3, *s("c"), more=True), page(4, *s("d"))], "abcd", "?after=a.4"),
    "the same page twice": ([page(3, *s("c")), page(3, *s("c"))], "abc", "?after=a.3"),
    "reset of our own feed drops nothing": ([page(1, *s("c"), reset=True)], "abc", "?after=a.1"),
    "reset of another feed keeps sessions": ([page(7, *s("c"), feed="b", reset=True)], "abc", "?after=b.7"),
    "replaces only when it is complete": (
        [page(7, *s("c"), feed="b", reset=True, more=True)], "ab", "?after=b.7"),
    "replaces with all pages": (
        [page(7, *s("c"), feed="b", reset=True, more=True), page(8, *s("d"), feed="b")], "abcd", "?after=b.8"),
    "continuation pages marked reset too": (
        [page(7, *s("c"), feed="b", reset=True, more=True), page(8, *s("d"), feed="b", reset=True)],
        "abcd", "?after=b.8"),
    "a draft given up for a third feed": (
        [page(7, *s("c"), feed="b", reset=True, more=True), page(1, *s("d"), feed="c", reset=True)],
        "abd", "?after=c.1"),
    "a draft given up for our own feed": (
        [page(7, *s("c"), feed="b", reset=True, more=True), page(3, *s("d"), reset=True)], "abd", "?after=a.3"),
    "a dot in the feed's name": ([page(7, *s("c"), feed="x.y", reset=True)], "abc", "?after=x.y.7"),
    "a name that needs quoting": ([page(7, *s("c"), feed="x&y=/", reset=True)], "abc", "?after=x%26y%3D%2F.7"),
    "an unknown kind is passed over": ([page(3, ("client", "x"), *s("c"))], "abc", "?after=a.3"),
    "an unknown member is passed over": ([page(3, *s("c"), later=1)], "abc", "?after=a.3"),
}  # fmt: skip


@pytest.mark.parametrize(("pages", "refused", "after"), SEQUENCES.values(), ids=SEQUENCES)
def test_what_pages_do(pages: list[dict[str, Any]], refused: str, after: str) -> None:
    """The list afterwards, and what is asked for next."""
    feed = FeedReader(SERVICE)
    assert feed.fetch().url == URL
    take(feed, FIRST, *pages)
    assert sessions(feed) == set(refused)
    assert feed.fetch().url == f"{URL}{after}&keys=v1"


REFUSED: dict[str, Any] = {
    "older than ours": page(1, *s("c")),
    "another feed without reset": page(3, *s("c"), feed="b"),
    "not JSON": b"{",
    "not UTF-8": b'"\xff"',
    "not an object": b"[]",
    "no cursor": b'{"feed_id":"a","as_of":1,"reset":false,"entries":[],"more":false}',
    "cursor of another feed": page(3) | {"cursor": "b.3"},
    "negative cursor": page(3) | {"cursor": "a.-3"},
    "huge cursor": page(3) | {"cursor": "a." + "9" * 19},
    "a cursor in other digits": page(3) | {"cursor": "a.\u0663"},
    "more, and no entries": page(3, more=True),
    "more, and the same cursor": page(2, *s("c"), more=True),
    "line break in the cursor": page(3) | {"cursor": "a.3\n"},
    "empty feed": page(3, feed=""),
    "a long version of the keys": page(3, keys="v" * 256),
    "as_of is no integer": page(3) | {"as_of": "now"},
    "as_of is negative": page(3) | {"as_of": -1},
    "huge expiry": page(3, ("session", "c", None, 2**60)),
    "subject is empty": page(3, ("session", "")),
    "subject is long": page(3, ("session", "x" * 256)),
    "entries are no list": page(3) | {"entries": {}},
}


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED)
def test_what_is_no_page(bad: Any) -> None:
    """A fault, and the list is what it was."""
    feed = FeedReader(SERVICE)
    take(feed, FIRST)
    with pytest.raises(FetchFault):
        next(feed.digest(answer(bad), wall=NOW))
    assert sessions(feed) == set("ab")
    assert feed.complete


def test_a_page_that_does_not_continue_makes_us_ask_for_everything() -> None:
    feed = FeedReader(SERVICE)
    take(feed, FIRST)
    with pytest.raises(FetchFault):
        next(feed.digest(answer(page(1)), wall=NOW))
    assert feed.fetch().url == URL
    take(feed, page(3, *s("c"), reset=True))
    assert sessions(feed) == set("abc")


def test_what_was_refused_is_refused_as_long_under_another_feed() -> None:
    """Also users, of whom a backup may know nothing: those whom it knows have versions above a million then."""
    feed = FeedReader(SERVICE)
    take(feed, page(2, ("user", "u", 7), ("session", "a", None, NOW + 60), reset=True))
    take(feed, page(1, ("session", "a", None, NOW + 30), feed="b", reset=True))
    assert feed.in_force.revocations._users == {mark_of("u"): (7, NOW + 900)}
    assert feed.in_force.revocations._sessions[mark_of("a")] == (0, NOW + 60)
    feed.sweep(NOW + 61)
    take(feed, page(2, feed="b") | {"as_of": NOW + 61})
    feed.sweep(NOW + 61)
    assert not sessions(feed)
    take(feed, page(3, ("user", "u", 9), feed="b"))
    assert feed.in_force.revocations._users == {mark_of("u"): (9, NOW + 900)}


def test_a_long_list_is_kept_in_chunks() -> None:
    feed = FeedReader(SERVICE)
    take(feed, page(2, *(("session", str(number)) for number in range(3 * CHUNK)), reset=True))
    pauses = list(feed.digest(answer(page(1, feed="b", reset=True)), wall=NOW))
    assert len(pauses) == 3
    assert len(feed.in_force.revocations) == 3 * CHUNK


@pytest.mark.parametrize("status", [400, 422])
def test_a_cursor_that_is_not_taken_is_given_up(status: int) -> None:
    """The list stays in force; asking the same for ever would be never to hear of a log-out again."""
    feed = FeedReader(SERVICE)
    take(feed, FIRST)
    with pytest.raises(FetchFault, match="whole list"):
        next(feed.digest(answer(b"", status=status), wall=NOW))
    assert sessions(feed) == set("ab")
    assert feed.fetch().url == URL
    with pytest.raises(FetchFault, match=f"^status {status}$"):
        next(feed.digest(answer(b"", status=status), wall=NOW))


def test_what_is_swept_has_expired_by_both_clocks() -> None:
    """Our clock was an hour ahead for a while: what it had thrown away would never come again."""
    feed = FeedReader(SERVICE)
    take(feed, FIRST)
    feed.sweep(NOW + 3600)
    assert sessions(feed) == set("ab")
    take(feed, page(3) | {"as_of": NOW + 3600})
    feed.sweep(NOW)
    assert sessions(feed) == set("ab")
    feed.sweep(NOW + 3600)
    assert not sessions(feed)


def test_not_complete_before_the_last_page() -> None:
    """A guard must not begin to accept with half a list."""
    feed = FeedReader(SERVICE)
    take(feed, page(2, *s("a"), reset=True, more=True))
    assert (feed.complete, feed.age(0.0)) == (False, None)
    take(feed, page(4, *s("b")))
    assert (feed.complete, feed.age(0.0)) == (True, 0.0)
    assert sessions(feed) == set("ab")


def test_keys_outlive_every_list_and_count_at_once() -> None:
    """⚑ A revoked key's entry is never dropped, and is in force while another list is being drafted."""
    feed = FeedReader(SERVICE)
    take(feed, FIRST, page(3, ("key", "k1")))
    take(feed, page(1, ("key", "k2"), feed="b", reset=True, more=True))
    assert set(feed.in_force.revocations._keys) == {mark_of("k1"), mark_of("k2")}
    take(feed, page(2, feed="b"))
    assert set(feed.in_force.revocations._keys) == {mark_of("k1"), mark_of("k2")}
    feed.sweep(2**40)
    assert set(feed.in_force.revocations._keys) == {mark_of("k1"), mark_of("k2")}


NEWS: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "the first version is no news": ([page(1, reset=True)], False),
    "the same version": ([FIRST, page(2)], False),
    "another version": ([FIRST, page(2, keys="v2")], True),
    "another version once": ([FIRST, page(2, keys="v2"), page(2, keys="v2")], False),
    "no version": ([FIRST, page(2, keys="")], False),
    "a revoked key": ([FIRST, page(3, ("key", "k"))], True),
    "a revoked key that is known": ([FIRST, page(3, ("key", "k")), page(4, ("key", "k"))], False),
    "keys revoked before we came": ([page(1, ("key", "k"), reset=True)], False),
    "a version on a page of several": ([FIRST, page(3, *s("c"), keys="v2", more=True)], True),
}


@pytest.mark.parametrize(("pages", "news"), NEWS.values(), ids=NEWS)
def test_when_the_keys_are_news(pages: list[dict[str, Any]], news: bool) -> None:
    assert take(FeedReader(SERVICE), *pages).keys_changed is news


# (as_of, Date, monotonic arrival) of each answer; monotonic now; age
AGES: dict[str, tuple[list[tuple[int, int | None, float]], float, float]] = {
    "fresh": ([(NOW, NOW, 100.0)], 100.0, 0.0),
    "time passes": ([(NOW, NOW, 100.0)], 107.5, 7.5),
    "the replica lags": ([(NOW - 40, NOW, 100.0)], 100.0, 40.0),
    "as_of stands still": ([(NOW, NOW, 100.0), (NOW, NOW + 10, 110.0), (NOW, NOW + 20, 120.0)], 120.0, 20.0),
    "as_of goes back": ([(NOW, NOW, 100.0), (NOW - 50, NOW + 10, 110.0)], 110.0, 10.0),
    "as_of moves on": ([(NOW, NOW, 100.0), (NOW + 10, NOW + 10, 110.0)], 111.0, 1.0),
    "a clock an hour ahead": ([(NOW + 3600, NOW + 3600, 100.0)], 101.0, 1.0),
    "as_of in the future": ([(NOW + 5, NOW, 100.0)], 100.0, 0.0),
    "no Date": ([(NOW - 3, None, 100.0)], 100.0, 3.0),
    "a slow answer": ([(NOW, NOW, 100.0)], 110.0, 10.0),
}


@pytest.mark.parametrize(("answers", "now", "age"), AGES.values(), ids=AGES)
def test_how_old_the_list_is(answers: list[tuple[int, int | None, float]], now: float, age: float) -> None:
    """Measured on the service's clock at arrival, on ours since then; promptness makes nothing fresh."""
    feed = FeedReader(SERVICE)
    for as_of, date, arrived in answers:
        take(feed, page(1, reset=True) | {"as_of": as_of}, arrived=arrived, date=date)
    assert feed.age(now) == pytest.approx(age)
    assert feed.fresh_until(30) == pytest.approx(now - age + 30)


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Foo 2026 25:61:61 GMT", "1"])
def test_a_date_that_is_none(date: str) -> None:
    feed = FeedReader(SERVICE)
    take(feed, FIRST)
    odd = answer(page(2), date=None)._replace(headers={"date": date})
    assert list(feed.digest(odd, wall=NOW)) == []
    assert feed.age(0.0) == 0.0


def test_pauses() -> None:
    """After pages: at once if there is more, else four a second. After failures: more and more, up to 1.5 s."""
    feed = FeedReader(SERVICE)
    assert feed.pause(10.0, asked_at=9.0, more=True) == 0.0
    assert feed.pause(10.0, asked_at=9.9, more=False) == pytest.approx(0.15)
    assert feed.pause(20.0, asked_at=10.0, more=False) == 0.0
    fault = FetchFault("down")
    assert [feed.failed(fault, jitter=1.0) for _ in range(5)] == [0.25, 0.5, 1.0, 1.5, 1.5]
    assert feed.failed(fault, jitter=0.0) == 0.75
    assert feed.failed(FetchFault("busy", retry_after=4.0), jitter=1.0) == 4.0
    take(feed, FIRST)
    assert feed.failed(fault, jitter=1.0) == 0.25


def test_after_a_failure_it_is_not_waited_for_news() -> None:
    """Until the service has answered, the list at hand grows older; so it is asked to answer at once."""
    feed = FeedReader(SERVICE)
    take(feed, FIRST)
    feed.failed(FetchFault("down"), jitter=1.0)
    assert feed.fetch().url == f"{URL}?after=a.2&keys=v1&wait=0"
    take(feed, page(2))
    assert feed.fetch().url == f"{URL}?after=a.2&keys=v1"


def test_the_version_of_the_keys_is_told() -> None:
    """The last one heard of, so that another is answered at once; a service that names none is told none."""
    feed = FeedReader(SERVICE)
    take(feed, FIRST | {"keys": ""})
    assert feed.fetch().url == f"{URL}?after=a.2"
    assert not take(feed, page(2, keys="v&1")).keys_changed
    assert feed.fetch().url == f"{URL}?after=a.2&keys=v%261"
    assert take(feed, page(2, keys="v2")).keys_changed
    assert feed.fetch().url == f"{URL}?after=a.2&keys=v2"


@pytest.mark.parametrize(
    ("status", "headers", "after"),
    [(503, {"retry-after": "2"}, 2.0), (503, {"retry-after": "3600"}, 5.0), (503, {"retry-after": "soon"}, None),
     (401, {}, None), (302, {"location": "/"}, None), (204, {}, None)],
)  # fmt: skip
def test_other_statuses(status: int, headers: dict[str, str], after: float | None) -> None:
    with pytest.raises(FetchFault) as caught:
        next(FeedReader(SERVICE).digest(answer(b"", status=status, **headers), wall=NOW))
    assert caught.value.retry_after == after


def test_it_pauses_between_chunks() -> None:
    """So that requests are served while a long list is taken in."""
    feed = FeedReader(SERVICE)
    entries = [("session", f"{number}") for number in range(CHUNK * 3 + 1)]
    assert len(list(feed.digest(answer(page(1, *entries, reset=True)), wall=NOW))) == 4


def test_after_a_fork_a_half_read_list_is_begun_again() -> None:
    feed = FeedReader(SERVICE)
    take(feed, FIRST, page(7, *s("c"), feed="b", reset=True, more=True))
    feed.drop_draft()
    assert feed.fetch().url == f"{URL}?after=a.2&keys=v1"
    assert sessions(feed) == set("ab")
