"""Tunes the garbage collector of our own server process, never that of an application.

The collector would walk again and again through what start-up made, about 100,000 objects, and stop every request. A
request's objects are freed by reference count, so it may wait for 20,000 new ones.
"""

from __future__ import annotations

import gc

_THRESHOLDS = (20_000, 20, 50)


def settle() -> None:
    """Freeze what start-up made. Call it once."""
    gc.collect()  # or garbage would be frozen too
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
