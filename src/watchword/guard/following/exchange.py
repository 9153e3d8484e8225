"""Describes a fetch and its answer as plain values, so that the rules need no socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

KEYS_LIMIT = 64 * 1024
KEYS_SECONDS = 3.0
FEED_LIMIT = 8 * 1024 * 1024
FEED_SECONDS = 12.0  # the service waits up to 10 s before it answers


class Fetch(NamedTuple):
    """Describes one GET. Redirects are never followed.

    :param limit: the most bytes that the body may have.
    :param seconds: the time for everything, from resolving the name to the last byte.
    :param headers: request headers beside the usual ones.
    """

    url: str
    limit: int
    seconds: float
    headers: tuple[tuple[str, str], ...] = ()


class Answer(NamedTuple):
    """Holds what came back: headers by lower-case name, and the monotonic time at which the head arrived."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    arrived: float


class FetchFault(Exception):
    """Says that a fetch gave nothing usable. The text is for the log and reaches no client.

    :param retry_after: seconds that the service asked us to wait, if it did.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Aborted(Exception):
    """Says that a fetch was given up because the guard stops. It is no fault of the service."""


def check_ok(answer: Answer) -> None:
    """Accept a plain 200 only.

    :raises FetchFault: any other status; a redirect is one, since anyone who can redirect us could give us keys.
    """
    status = answer.status
    if status == _OK:
        return
    if _REDIRECTS <= status < _REDIRECTS + 100:
        raise FetchFault(f"redirected ({status}), which is never followed")
    raise FetchFault(f"status {status}", retry_after=_seconds(answer.headers.get("retry-after")))


_OK = 200
_REDIRECTS = 300
_MAX_RETRY_AFTER = 5


def _seconds(text: str | None) -> float | None:
    # Five seconds at most, whatever is asked: revocations must not be late because of an answer from long ago.
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return float(min(int(text[:9]), _MAX_RETRY_AFTER))
