"""A rate, by a clock that is told."""

from __future__ import annotations

from watchword.rate import Rate


def granted(rate: Rate, now: float, times: int = 10) -> int:
    return sum(rate.grants(now) for _ in range(times))


def test_so_many_at_once_then_so_many_a_second() -> None:
    rate = Rate(5, 2)
    assert granted(rate, 1000.0) == 5
    assert granted(rate, 1000.4) == 0
    assert granted(rate, 1001.0) == 2
    assert granted(rate, 2000.0) == 5, "what is not used is not saved up"


def test_a_clock_that_is_set_back_gives_and_takes_nothing() -> None:
    rate = Rate(2, 1)
    assert granted(rate, 1000.0) == 2
    assert granted(rate, 500.0) == 0
    assert granted(rate, 501.0) == 1
