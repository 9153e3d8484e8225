"""Log lines for storms of events: a line now and then, with their count.

A line for each would cost more than the refusal that it reports.
"""

from __future__ import annotations

from typing import Any, Literal

from watchword.clock import monotonic

_SECONDS = 1.0
_TRACEBACK_SECONDS = 60.0
_MOST_CAUSES = 64


class Log:
    """A structlog logger that imports structlog only to write: commands need not.

    Where structlog is not configured, as inside another application, lines go to Python's own logging: structlog
    by itself prints every one, debugging included.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, level: str) -> Any:
        import structlog

        return getattr(structlog.get_logger(self._name) if structlog.is_configured() else _plain(self._name), level)


def _plain(name: str) -> Any:
    import logging

    import structlog

    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


class Tally:
    """Counts one kind of event.

    :param every: least seconds between two lines.
    """

    def __init__(
        self, log: Any, event: str, *, level: Literal["info", "warning", "error"] = "warning", every: float = _SECONDS
    ) -> None:
        self._log = log
        self._level = level
        self._event = event
        self._every = every
        self._count = 0
        self._told_at = float("-inf")

    def add(self, **latest: object) -> bool:
        """Count an event; return whether a line was logged, with `count` and `latest`.

        Others wait for the next line; `within` is their time in seconds.
        """
        self._count += 1
        now = monotonic()
        since = now - self._told_at
        if since < self._every:
            return False
        within = {} if self._count == 1 else {"within": round(since)}
        getattr(self._log, self._level)(self._event, count=self._count, **within, **latest)
        self._count, self._told_at = 0, now
        return True


class Sample:
    """Logs each event while there are few.

    :param most: lines within `every` seconds; the next line counts the others (`left_out`).
    """

    def __init__(self, log: Any, event: str, *, most: int = 20, every: float = _SECONDS) -> None:
        self._log = log
        self._event = event
        self._most = most
        self._every = every
        self._began = float("-inf")
        self._told = 0
        self._left_out = 0

    def add(self, **about: object) -> None:
        """Log or count an event."""
        now = monotonic()
        if now - self._began >= self._every:
            self._began, self._told = now, 0
        if self._told >= self._most:
            self._left_out += 1
            return
        self._told += 1
        missed = {"left_out": self._left_out} if self._left_out else {}
        self._left_out = 0
        self._log.info(self._event, **about, **missed)


class Faults:
    """Counts errors by cause, with a traceback once a minute each.

    :param every: least seconds between two lines about a cause.
    """

    def __init__(self, log: Any, *, every: float = _SECONDS) -> None:
        self._log = log
        self._every = every
        self._causes: dict[str, _Cause] = {}

    def add(self, event: str, error: BaseException, **latest: object) -> None:
        """Count an error."""
        name = f"{event} {error!r} {error.__cause__!r}"[:300]
        cause = self._causes.get(name)
        if cause is None:
            if len(self._causes) >= _MOST_CAUSES:
                self._causes.clear()  # different each time
            cause = self._causes[name] = _Cause(Tally(self._log, event, level="error", every=self._every))
        cause.add(error, latest)


class _Cause:
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._traced_at = float("-inf")

    def add(self, error: BaseException, latest: dict[str, object]) -> None:
        now = monotonic()
        if now - self._traced_at < _TRACEBACK_SECONDS:
            self._tally.add(fault=type(error).__name__, **latest)
        elif self._tally.add(exc_info=error, **latest):
            self._traced_at = now
