"""Makes the answer that refuses a request (RFC 6750 section 3, RFC 9457, RFC 9470), equal to the service's own."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from watchword.errors import Overloaded, WatchwordError
from watchword.problem_table import PLAIN_CHALLENGE, PROBLEMS, challenge

PROBLEM: Final = "application/problem+json"


class Unready(Overloaded):
    """Says that a guard has no keys or no list (`guard_not_ready`), or an old list (`revocations_stale`)."""

    code = "guard_not_ready"

    def __init__(self, message: str, *, code: str = "guard_not_ready", retry_after: int = 1) -> None:
        super().__init__(message, retry_after=retry_after)
        self.code = code


class Refusal(NamedTuple):
    """Holds an answer: status, headers in order, a body of `application/problem+json`, and its `code`."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    code: str


# What a guard raises. Another error's message may hold anything and is not sent.
_RAISED: Final = frozenset(
    {
        "token_missing",
        "token_malformed",
        "token_invalid",
        "token_expired",
        "token_not_yet_valid",
        "token_revoked",
        "reauthentication_required",
        "scope_missing",
        "role_missing",
        "authorization_malformed",
        "cookie_repeated",
        "origin_refused",
        "invalid_request",
        "guard_not_ready",
        "revocations_stale",
        "overloaded",
    }
)
_INTERNAL_DETAIL: Final = "Something went wrong on our side."


class Problem(msgspec.Struct):
    """Is the body of a refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str


TOLD: Final = {
    "401": "No access token, or one that is not accepted.",
    "403": "The caller lacks a role or a scope.",
}
"""What a guarded route may also answer, for OpenAPI documents."""


def refusal_of(
    error: WatchwordError, *, issuer: str, scopes: Iterable[str] = (), max_age: int | None = None
) -> Refusal:
    """Return the answer for an error.

    :param issuer: for the problem's `type`, `<issuer>/problems/<code>`; empty: `about:blank`.
    :param scopes: like `max_age` (seconds) what was asked for; the challenge names it (RFC 9470).
    """
    code, detail = (error.code, error.message) if error.code in _RAISED else ("internal_error", _INTERNAL_DETAIL)
    row = PROBLEMS[code]
    kind = f"{issuer.rstrip('/')}/problems/{code}" if issuer else "about:blank"
    body = msgspec.json.encode(Problem(kind, row.title, row.status, detail, code))
    headers = [
        ("content-type", PROBLEM),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    named = challenge(code, scopes=scopes, max_age=max_age)
    if named or row.status == HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", named or PLAIN_CHALLENGE))
    if row.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("retry-after", str(max(error.retry_after, 1) if isinstance(error, Overloaded) else 1)))
    return Refusal(row.status, tuple(headers), body, code)
