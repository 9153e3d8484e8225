"""The clocks: whole seconds, one that runs and one that stands still."""

from __future__ import annotations

import time

from watchword.clock import FixedClock, SystemClock, monotonic, rfc3339


def test_the_machines_clock_tells_whole_seconds() -> None:
    """NumericDate without a fraction, rounded down: a token is never issued in the future."""
    before = time.time()
    now = SystemClock().now()
    assert type(now) is int
    assert int(before) <= now <= time.time()


def test_the_fixed_clock_stands_still_until_it_is_told_to_move() -> None:
    """Forwards and backwards."""
    clock = FixedClock(100)
    assert (clock.now(), clock.now()) == (100, 100)
    clock.advance(50)
    assert clock.now() == 150
    clock.advance(-60)
    assert clock.now() == 90


def test_durations_are_measured_on_a_clock_that_never_goes_back() -> None:
    """Whatever happens to the date."""
    readings = [monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_times_are_shown_in_utc() -> None:
    """RFC 3339, whatever the machine's time zone is."""
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1_800_000_000) == "2027-01-15T08:00:00Z"


def test_a_clock_set_back_by_a_little_stands_still() -> None:
    """A token issued a moment ago must not be "not valid yet", and an expired one must not come back to life."""
    times = iter([100.9, 99.2, 91.0, 101.5])
    clock = SystemClock(lambda: next(times))
    assert [clock.now() for _ in range(4)] == [100, 100, 100, 101]


def test_a_clock_set_back_by_much_is_followed() -> None:
    """It was wrong before; staying there would keep every other host's tokens from being valid."""
    times = iter([5000.0, 1400.0, 1401.0])
    clock = SystemClock(lambda: next(times))
    assert [clock.now() for _ in range(3)] == [5000, 1400, 1401]
