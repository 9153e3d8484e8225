"""Describes a fetch and its answer as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

KEYS_LIMIT = 64 * 1024
KEYS_SECONDS = 3.0
FEED_LIMIT = 8 * 1024 * 1024
FEED_SECONDS = 12.0  # the service waits up to 10 s


class Fetch(NamedTuple):
    """Describes one GET, or one POST of a form. Redirects are never followed.

    :param limit: the most bytes of the body.
    :param seconds: the time from the name's look-up to the last byte.
    :param form: what is posted, encoded; None: a GET.
    """

    url: str
    limit: int
    seconds: float
    headers: tuple[tuple[str, str], ...] = ()
    form: bytes | None = None


class Answer(NamedTuple):
    """Holds an answer: headers by lower-case name, and the monotonic time when they arrived."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    arrived: float


class FetchFault(Exception):
    """Says that a fetch gave nothing usable. The text is for the log only.

    :param retry_after: seconds that the service asked to wait.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Aborted(Exception):
    """Says that a fetch was given up."""


def seconds_to_wait(answer: Answer, *, most: int) -> int | None:
    """Return what the answer's Retry-After asks for, at most so many seconds; None without one that can be read."""
    text = answer.headers.get("retry-after")
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return min(int(text[:9]), most)


def check_ok(answer: Answer) -> None:
    """Accept only 200. :raises FetchFault: otherwise. Anyone who can redirect us could give us keys."""
    status = answer.status
    if status == _OK:
        return
    if _REDIRECTS <= status < _REDIRECTS + 100:
        raise FetchFault(f"redirected ({status}), which is never followed")
    # Five seconds at most: revocations must not be late.
    raise FetchFault(f"status {status}", retry_after=seconds_to_wait(answer, most=_MAX_RETRY_AFTER))


_OK = 200
_REDIRECTS = 300
_MAX_RETRY_AFTER = 5
