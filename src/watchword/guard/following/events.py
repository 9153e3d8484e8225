"""Reports a guard's events to the log `watchword.guard` and to a hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

Fields = Mapping[str, Any]
OnEvent = Callable[[str, Fields], None]
"""Called with the name of an event and its fields, from any thread; it should return quickly.

    ready           keys: int, revocations: int
    keys_changed    kids: list of str
    keys_failed     service: str (its address), reason: str, failures: int (in a row), keys: int (known)
    feed_failed     service: str, reason: str (the first of a row of failures)
    key_exchange_failed  service: str, reason: str, failures: int (in a row): an API key could not be checked
    key_exchange_limited  service: str, key: str (its id), settings: str (which limits it may be), retry_after: int
                    (seconds); at most once a minute
    feed_stale      age: float seconds, stale: "open" or "closed"
    feed_recovered  age: float seconds
    clock_behind    seconds: int (by which a genuine token begins in the future here), leeway: int, failures: int
    not_ready       service: str, reason: str (`wait_until_ready` has waited in vain)
"""

_WARNINGS = {
    "clock_behind": "A genuine token was refused because it begins in %(seconds)d s by this machine's clock, of which "
    "%(leeway)d s are forgiven. Set the clocks of this machine and of the service by a time server.",
    "not_ready": "The guard of %(service)s is not ready: %(reason)s.",
    "keys_failed": "The key set of %(service)s could not be fetched (%(reason)s); %(then)s.",
    "feed_failed": "The revocation feed of %(service)s could not be read (%(reason)s); trying again.",
    "key_exchange_failed": "An API key could not be exchanged at %(service)s (%(reason)s); the answer was 503.",
    "key_exchange_limited": "%(service)s issues no more tokens for the API key %(key)s for %(retry_after)d s: "
    "%(settings)s is used up. The answer was 503.",
    "feed_stale": "The revocation feed is %(age).0f s old, which is too much; requests are %(does)s.",
}


class Events:
    """Logs an event and passes it to the hook."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event

    def emit(self, name: str, **fields: Any) -> None:
        """Report an event. A failing log or hook does not stop the caller."""
        with suppress(Exception):
            _log(name, fields)
        if self._on_event is None:
            return
        try:
            self._on_event(name, fields)
        except Exception as error:  # noqa: BLE001  the hook is the operator's
            self.defect(error, f"on_event failed for {name}")

    def defect(self, error: Exception, message: str = "The guard's follower met a defect.") -> None:
        """Log an error that must not happen, with its traceback."""
        import logging

        with suppress(Exception):
            logging.getLogger("watchword.guard").error(message, exc_info=error)


def _log(name: str, fields: dict[str, Any]) -> None:
    import logging  # slow to import

    log = logging.getLogger("watchword.guard")
    if name not in _WARNINGS:
        log.info("%s %s", name, fields)
        return
    does = "refused" if fields.get("stale") == "closed" else "accepted until their tokens expire"
    then = "the last good one stays" if fields.get("keys") else "until it can, requests are answered 503"
    # Of a row of failures the 1st, 2nd, 4th, 8th … are logged.
    failures = fields.get("failures", 1)
    level = logging.DEBUG if failures & (failures - 1) else logging.WARNING
    log.log(level, _WARNINGS[name], {**fields, "does": does, "then": then})
