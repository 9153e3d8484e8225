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
    time.sleep(0.002)
    second = new_id()
    after = time.time_ns() // 1_000_000
    assert before <= int(first.replace("-", "")[:12], 16) < int(second.replace("-", "")[:12], 16) <= after
    assert first < second


def test_the_rest_is_random() -> None:
    """All 74 bits take both values, and no two of many are alike."""
    values = [UUID(new_id()).int for _ in range(2000)]
    assert len(set(values)) == 2000
    random_bits = (1 << 62) - 1 | 0xFFF << 64
    always = never = random_bits
    for value in values:
        always &= value
        never &= ~value
    assert (always, never) == (0, 0)
