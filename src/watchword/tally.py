"""Events that come in storms, in the log: a line now and then, with how many there were.

A line for each would make the log a part of the storm: it costs more than the refusal that it tells of.
"""

from __future__ import annotations

from typing import Any, Literal

from watchword.clock import monotonic

_SECONDS = 1.0
_TRACEBACK_SECONDS = 60.0
_MOST_CAUSES = 64


class Log:
    """A structlog logger that is made when a line is written: a command writes none, and need not import structlog."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, level: str) -> Any:
        import structlog

        return getattr(structlog.get_logger(self._name), level)


class Tally:
    """Counts one kind of event.

    :param log: a structlog logger.
    :param event: the event's name in the log.
    :param every: seconds between two lines, at least.
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
        """One more; whether a line told of it. A line has `count`, and `latest` of the event that it came with.

        What comes within a second of a line waits for the next, if hours: `within` says in how many seconds they came.
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
    """A line for each event, for programs that read the log, as long as there are few.

    :param log: a structlog logger.
    :param most: lines within `every` seconds. How many were left out after that, the next line says (`left_out`).
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
        """One more."""
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
    """Counts errors by their cause. The line of each cause has its traceback once a minute, not each time.

    :param every: seconds between two lines about the same cause, at least.
    """

    def __init__(self, log: Any, *, every: float = _SECONDS) -> None:
        self._log = log
        self._every = every
        self._causes: dict[str, _Cause] = {}

    def add(self, event: str, error: BaseException, **latest: object) -> None:
        """One more."""
        name = f"{event} {error!r} {error.__cause__!r}"[:300]
        cause = self._causes.get(name)
        if cause is None:
            if len(self._causes) >= _MOST_CAUSES:
                self._causes.clear()  # errors that name something different each time are as good as new
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
