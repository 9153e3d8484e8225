"""UUIDv7 (RFC 9562 section 5.7): ordered ids keep B-trees compact. No decision depends on their time."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """Return 60 bits of time (section 6.2, method 3) and 62 of randomness."""
    at, fraction = divmod(time.time_ns(), 1_000_000)
    high = (fraction << 12) // 1_000_000
    some = int.from_bytes(os.urandom(8), "big")
    middle, low = some >> 48 & 0x3FFF, some & 0xFFFF_FFFF_FFFF  # 14 and 48 bits
    # Version 7; variant 0x8000.
    return f"{at >> 16:08x}-{at & 0xFFFF:04x}-7{high:03x}-{middle | 0x8000:04x}-{low:012x}"
