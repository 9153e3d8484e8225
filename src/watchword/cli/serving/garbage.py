"""The garbage collector of a process that serves: it need not look at what stays, nor so often.

What start-up has made (modules, routes, compiled converters: some 100,000 objects) lives as long as the process, yet
the collector would walk through all of it again and again, which stops every request meanwhile and empties the
processor's caches besides. What a request makes is freed by its reference count, cycles being rare; so the collector
may wait for 20,000 new objects instead of 700.

Only for a process that is ours: inside someone's application that is for them to decide.
"""

from __future__ import annotations

import gc

_THRESHOLDS = (20_000, 20, 50)


def settle() -> None:
    """Call it once, when everything has been started."""
    gc.collect()  # or start-up's garbage would stay for ever too
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
