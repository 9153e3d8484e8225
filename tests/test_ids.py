"""UUIDv7: its bits, its order, its randomness."""

from __future__ import annotations

import re
import time
from uuid import RFC_4122, UUID

from watchword.ids import new_id


def test_it_is_a_uuid_of_version_seven() -> None:
    """Canonical lower-case text, version and variant of RFC 9562."""
    for _ in range(500):
        text = new_id()
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
        assert (UUID(text).version, UUID(text).variant, str(UUID(text))) == (7, RFC_4122, text)


def test_it_begins_with_the_time_in_milliseconds() -> None:
    """48 bits, big-endian, so that text order is time order."""
    before = time.time_ns() // 1_000_000
    first = new_id()
    after = time.time_ns() // 1_000_000
    assert before <= int(first.replace("-", "")[:12], 16) <= after


def test_ids_of_one_process_sort_in_the_order_in_which_they_were_made() -> None:
    """Also within a millisecond: the oldest sessions of a user are found by their ids."""
    made = []
    for _ in range(500):
        begun = time.time_ns()
        made.append(new_id())
        while time.time_ns() - begun < 1_000:  # one step of the twelve bits is 244 ns
            pass
    assert made == sorted(made)


def test_the_rest_is_random() -> None:
    """All 62 bits take both values, and no two of many are alike."""
    values = [UUID(new_id()).int for _ in range(2000)]
    assert len(set(values)) == 2000
    random_bits = (1 << 62) - 1
    always = never = random_bits
    for value in values:
        always &= value
        never &= ~value
    assert (always, never) == (0, 0)
