"""UUIDv7 (RFC 9562 section 5.7): ids that sort by when they were made, which keeps B-trees compact.

Python 3.11 has no `uuid.uuid7`. The time is in milliseconds and comes from the machine's clock even in tests: an id
is a name, and nothing is ever decided by the time inside it.
"""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """A new UUIDv7 in its usual text form: 48 bits of time, 74 bits of randomness."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76  # version 7
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant RFC 9562
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
