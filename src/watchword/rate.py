"""A rate: so many at once, then so many a second."""

from __future__ import annotations


class Rate:
    """Counts what strangers may ask for. Not locked.

    :param most: at once.
    """

    def __init__(self, most: float, per_second: float) -> None:
        self._most = self._left = most
        self._per_second = per_second
        self._counted_at = float("inf")  # no time to gain from yet

    def grants(self, now: float) -> bool:
        """Count one; False where none is left.

        :param now: in seconds. A clock that was set back gains nothing.
        """
        gained = max(0.0, now - self._counted_at) * self._per_second
        self._left, self._counted_at = min(self._left + gained, self._most), now
        if self._left < 1:
            return False
        self._left -= 1
        return True
