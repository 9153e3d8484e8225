"""Counts how a log-in or a registration ended, by what it raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from watchword.errors import Conflict, Forbidden, InvalidInput, Overloaded, TooManyAttempts, Unauthenticated
from watchword.identity.pending import SecondFactorNeeded
from watchword.meters import Meter, Meters

# The first that fits.
_RESULTS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (SecondFactorNeeded, "second_factor"),
    ((Unauthenticated, Forbidden, InvalidInput), "refused"),
    (Conflict, "taken"),
    (TooManyAttempts, "limited"),
    (Overloaded, "busy"),
    (Exception, "failed"),
    (BaseException, "cancelled"),
)


@contextmanager
def counted(meters: Meters, meter: Meter) -> Iterator[None]:
    """Count one result of what is done inside."""
    try:
        yield
    except BaseException as error:
        meters.count(meter, next(word for kind, word in _RESULTS if isinstance(error, kind)))
        raise
    meters.count(meter, "ok")
