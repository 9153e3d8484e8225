"""From an error to the answer that refuses a request: status, headers, body. For every adapter the same.

The same words as the service's own answers (RFC 6750 section 3, RFC 9457, RFC 9470), so that a client cannot tell
from an answer whether the service or an API behind a guard gave it. A test compares this table with the service's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from watchword.errors import Overloaded, WatchwordError

REALM: Final = "watchword"
PROBLEM: Final = "application/problem+json"
_PLAIN: Final = f'Bearer realm="{REALM}"'
_UNAUTHORIZED: Final = 401
_UNAVAILABLE: Final = 503


class Unready(Overloaded):
    """A guard that may not judge now: it has no keys or no list of revocations yet, or its list is too old.

    `code` is `guard_not_ready` or `revocations_stale`.
    """

    code = "guard_not_ready"

    def __init__(self, message: str, *, code: str = "guard_not_ready", retry_after: int = 1) -> None:
        super().__init__(message, retry_after=retry_after)
        self.code = code


class Refusal(NamedTuple):
    """What to answer: status, headers in order, a body of `application/problem+json`, and the `code` that is in it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    code: str


class _Row(NamedTuple):
    status: int
    title: str
    description: str = ""  # for WWW-Authenticate; fixed words, since a message could hold a quote
    error: str = "invalid_token"  # RFC 6750 section 3.1


# fmt: off
_TABLE: Final[dict[str, _Row]] = {
    "token_missing": _Row(401, "Access token missing"),
    "token_malformed": _Row(401, "Access token malformed", "The access token is malformed."),
    "token_invalid": _Row(401, "Access token not accepted", "The access token is not accepted."),
    "token_expired": _Row(401, "Access token expired", "The access token expired."),
    "token_not_yet_valid": _Row(401, "Access token not yet valid", "The access token is not valid yet."),
    "token_revoked": _Row(401, "Access token revoked", "The access token was revoked."),
    "reauthentication_required": _Row(
        401, "Log-in too long ago", "A more recent log-in is required.", "insufficient_user_authentication"),
    "scope_missing": _Row(403, "Scope missing", "The token lacks a scope.", "insufficient_scope"),
    "role_missing": _Row(403, "Role missing", "The token's user lacks a role.", "insufficient_scope"),
    "authorization_malformed": _Row(
        400, "Authorization header malformed", "The Authorization header is malformed.", "invalid_request"),
    "invalid_request": _Row(400, "Invalid request", "", "invalid_request"),
    "guard_not_ready": _Row(503, "Not ready yet"),
    "revocations_stale": _Row(503, "Revocations out of date"),
    "overloaded": _Row(503, "Overloaded"),
    "internal_error": _Row(500, "Internal error"),
}
# fmt: on
_INTERNAL_DETAIL: Final = "Something went wrong on our side."


class Problem(msgspec.Struct):
    """The body of a refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str


TOLD: Final = {
    "401": "No access token, or one that is not accepted.",
    "403": "The caller lacks a role or a scope.",
}
"""What a guarded route may answer besides, for OpenAPI documents."""


def refusal_of(
    error: WatchwordError, *, issuer: str, scopes: Iterable[str] = (), max_age: int | None = None
) -> Refusal:
    """The answer for an error.

    :param issuer: where the page that explains the problem is: `<issuer>/problems/<code>`. Empty: `about:blank`.
    :param scopes: the scopes that were needed, named in the challenge of `scope_missing`.
    :param max_age: seconds since log-in that were allowed, named in that of `reauthentication_required` (RFC 9470).
    """
    # A code without a row is none that a guard raises: its message may hold anything, so nothing of it is shown.
    code, detail = (error.code, error.message) if error.code in _TABLE else ("internal_error", _INTERNAL_DETAIL)
    row = _TABLE[code]
    kind = f"{issuer.rstrip('/')}/problems/{code}" if issuer else "about:blank"
    body = msgspec.json.encode(Problem(kind, row.title, row.status, detail, code))
    headers = [
        ("content-type", PROBLEM),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    challenge = _challenge(code, row, scopes, max_age)
    if challenge:
        headers.append(("www-authenticate", challenge))
    if row.status == _UNAVAILABLE:
        headers.append(("retry-after", str(max(error.retry_after, 1) if isinstance(error, Overloaded) else 1)))
    return Refusal(row.status, tuple(headers), body, code)


def _challenge(code: str, row: _Row, scopes: Iterable[str], max_age: int | None) -> str:
    """The `WWW-Authenticate` of an error, or nothing where none belongs."""
    if not row.description:
        # RFC 6750 section 3.1: no error code when no credentials were shown
        return _PLAIN if row.status == _UNAUTHORIZED else ""
    text = f'{_PLAIN}, error="{row.error}", error_description="{row.description}"'
    if code == "scope_missing":
        return f'{text}, scope="{" ".join(sorted(scopes))}"'
    if code == "reauthentication_required" and max_age is not None:
        return f'{text}, max_age="{max_age}"'
    return text
