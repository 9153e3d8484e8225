"""Who may wait for a first message: so many in all, and of one network."""

from __future__ import annotations

from watchword.guard.waiting import Waiting


def test_a_network_has_its_share_and_the_wider_ones_more() -> None:
    """One household has a /56 and a company a /48: many a /64 of one owner are not many owners."""
    waiting = Waiting()
    assert [waiting.take("192.0.2.1", 2) for _ in range(3)] == [True, True, False]
    assert waiting.take("192.0.2.2", 2)
    assert not waiting.take("::ffff:192.0.2.1", 2)
    taken = [waiting.take(f"2001:db8:1:{number:x}::1", 2) for number in range(16) for _ in range(3)]
    assert taken.count(True) == 4
    taken = [waiting.take(f"2001:db8:1:{number:x}00::1", 2) for number in range(1, 16) for _ in range(3)]
    assert taken.count(True) == 4
    assert waiting.take("2001:db8:2::1", 2)


def test_there_is_an_end_for_all_together() -> None:
    waiting = Waiting(3)
    assert [waiting.take(f"192.0.2.{number}", 2) for number in range(5)] == [True] * 3 + [False] * 2
    waiting.give_back("192.0.2.1")
    assert waiting.take("192.0.2.9", 2)


def test_nothing_is_kept_of_those_who_have_gone() -> None:
    waiting = Waiting()
    addresses = ["192.0.2.1", "2001:db8::1", "testclient", "", "2001:db8::1"]
    for each in addresses:
        assert waiting.take(each, 5)
    for each in addresses:
        waiting.give_back(each)
    assert not waiting._taken
    assert waiting._all == 0
