"""UUIDv7 (RFC 9562 section 5.7): ids that sort by when they were made, which keeps B-trees compact.

Python 3.11 has no `uuid.uuid7`. The time is in milliseconds and comes from the machine's clock even in tests: an id
is a name, and nothing is ever decided by the time inside it.
"""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """Return a new UUIDv7 in its usual text form: 60 bits of time, 62 bits of randomness.

    Twelve bits are the fraction of the millisecond (section 6.2, method 3): ids of one process keep their order.
    """
    at, fraction = divmod(time.time_ns(), 1_000_000)
    high = (fraction << 12) // 1_000_000
    some = int.from_bytes(os.urandom(8), "big")
    middle, low = some >> 48 & 0x3FFF, some & 0xFFFF_FFFF_FFFF  # 14 and 48 bits
    # The 7 is the version; 0x8000 the variant of RFC 9562.
    return f"{at >> 16:08x}-{at & 0xFFFF:04x}-7{high:03x}-{middle | 0x8000:04x}-{low:012x}"
