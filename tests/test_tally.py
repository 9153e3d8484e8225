"""Storms in the log: a line a second at most, and no event is lost from the count."""

from __future__ import annotations

import pytest

from tests.web.asking import Silent, dispatcher, raising, route
from watchword import tally
from watchword.errors import Overloaded, StorageUnavailable
from watchword.tally import Faults, Tally


class Time:
    """Seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    stands = Time()
    monkeypatch.setattr(tally, "monotonic", stands)
    return stands


def test_the_first_is_told_at_once(time: Time) -> None:
    log = Silent()
    Tally(log, "overloaded").add(route="/login", request_id="r1")
    assert log.lines == [("overloaded", {"count": 1, "route": "/login", "request_id": "r1"})]


def test_a_storm_is_a_line_a_second(time: Time) -> None:
    """Ten seconds of a hundred each: ten lines, and every event but the last second's is in them."""
    log = Silent()
    counted = Tally(log, "overloaded")
    for number in range(1000):
        counted.add(request_id=str(number))
        time.now += 0.01
    lines = [details for _, details in log.lines]
    assert 9 <= len(lines) <= 11
    assert all(details["count"] <= 102 for details in lines)
    assert 890 <= sum(details["count"] for details in lines) <= 1000


def test_what_was_left_of_a_storm_is_told_with_the_next_event(time: Time) -> None:
    """And how long ago it may have been."""
    log = Silent()
    counted = Tally(log, "overloaded")
    for _ in range(8):
        counted.add()
    time.now += 3600
    counted.add()
    assert [details for _, details in log.lines] == [{"count": 1}, {"count": 8, "within": 3600}]


def test_overloads_of_a_dispatcher_are_counted_together(time: Time) -> None:
    """Each is answered with its own request id; the log has a line for them all."""
    log = Silent()
    asked = dispatcher(route("GET", "/x", raising(Overloaded("busy", retry_after=1))), log=log)
    answers = [asked("GET", "/x") for _ in range(50)]
    assert {(answer.status, answer["retry-after"]) for answer in answers} == {(503, "1")}
    assert len({answer["x-request-id"] for answer in answers}) == 50
    time.now += 1
    asked("GET", "/x")
    assert [(event, details["count"], details["route"]) for event, details in log.lines] == [
        ("overloaded", 1, "/x"),
        ("overloaded", 50, "/x"),
    ]


def lost(cause: str) -> StorageUnavailable:
    """What a request meets when the database is away; a new object each time."""
    error = StorageUnavailable("The database is not available.")
    error.__cause__ = OSError(cause)
    return error


def test_M3_a_cause_has_its_traceback_once_a_minute(time: Time) -> None:
    """⚑ A full disk fails every request: ten minutes of a hundred a second are a line a second and ten tracebacks."""
    log = Silent()
    faults = Faults(log)
    for number in range(60_000):
        faults.add("request_failed", lost("disk full"), request_id=str(number))
        time.now += 0.01
    lines = [details for _, details in log.lines]
    assert 590 <= len(lines) <= 601
    assert 9 <= sum("exc_info" in details for details in lines) <= 11
    assert "exc_info" in lines[0]
    assert lines[1]["fault"] == "StorageUnavailable"
    assert sum(details["count"] for details in lines) > 59_000


def test_causes_are_told_apart_and_bounded(time: Time) -> None:
    """Another cause does not hide behind the first; causes without end do not fill the memory."""
    log = Silent()
    faults = Faults(log)
    for cause in ("disk full", "locked", "disk full"):
        faults.add("request_failed", lost(cause))
    assert ["exc_info" in details for _, details in log.lines] == [True, True]
    for number in range(1000):
        faults.add("request_failed", lost(str(number)))
    assert len(faults._causes) <= 64


def test_failed_requests_of_a_dispatcher_are_counted_by_cause(time: Time) -> None:
    """⚑ Each 503 was a full traceback; each is still answered."""
    log = Silent()
    asked = dispatcher(route("GET", "/x", raising(StorageUnavailable("gone"))), log=log)
    assert {asked("GET", "/x").status for _ in range(50)} == {503}
    assert [(event, "exc_info" in details) for event, details in log.lines] == [("request_failed", True)]
