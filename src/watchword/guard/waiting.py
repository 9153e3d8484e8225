"""Counts WebSockets that wait for their first message, so that no stranger takes everyone's places."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

from watchword.addresses import shares

MOST: Final = 1000
"""Those of one process."""


class Waiting:
    """Keeps the places of one process. Threads share it, since each may have an event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._all = 0
        self._taken: Counter[str] = Counter()

    def take(self, address: str, share: int) -> bool:
        """Take a place; return whether there was one.

        :param address: of the client. Those without one count together.
        :param share: what one network may have, as `addresses.shares` counts it.
        """
        counted = shares(address)
        with self._lock:
            if self._all >= self._most or any(self._taken[name] >= share * times for name, times in counted):
                return False
            self._all += 1
            self._taken.update(name for name, _ in counted)
            return True

    def give_back(self, address: str) -> None:
        """Give a place back."""
        names = [name for name, _ in shares(address)]
        with self._lock:
            self._all -= 1
            self._taken.subtract(names)
            for name in names:
                if not self._taken[name]:
                    del self._taken[name]
