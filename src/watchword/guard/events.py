"""Telling the operator what happens to a guard: the log `watchword.guard`, and a hook for metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fields = Mapping[str, Any]
OnEvent = Callable[[str, Fields], None]
"""Called with the name of an event and its fields, from any thread; it should return quickly.

    ready           keys: int, revocations: int
    keys_changed    kids: list of str
    keys_failed     reason: str, failures: int
    feed_failed     reason: str (the first of a row of failures)
    feed_stale      age: float seconds, stale: "open" or "closed"
    feed_recovered  age: float seconds
"""

_WARNINGS = {
    "keys_failed": "The key set could not be fetched (%(reason)s); the last good one stays.",
    "feed_failed": "The revocation feed could not be read (%(reason)s); trying again.",
    "feed_stale": "The revocation feed is %(age).0f s old, which is too much; requests are %(does)s.",
}


class Events:
    """Logs and hands on."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event

    def emit(self, name: str, **fields: Any) -> None:
        """Something happened."""
        import logging  # costs more at import than the rest of the guard's own code

        log = logging.getLogger("watchword.guard")
        if name in _WARNINGS:
            does = "refused" if fields.get("stale") == "closed" else "accepted until their tokens expire"
            log.warning(_WARNINGS[name], {**fields, "does": does})
        else:
            log.info("%s %s", name, fields)
        if self._on_event is None:
            return
        try:
            self._on_event(name, fields)
        except Exception:
            log.exception("on_event failed for %s", name)

    def defect(self, error: Exception) -> None:
        """Something happened that must not: the log has it in full."""
        import logging

        logging.getLogger("watchword.guard").error("The guard's follower met a defect.", exc_info=error)
