"""Write errors as answers: RFC 9457 problem details, or RFC 6749's `{"error", "error_description"}` for OAuth.

`problem_table` has the statuses; `GET /problems/<code>` (`problem_pages`) explains them to people.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from watchword.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    Refused,
    StorageError,
    TokenError,
    TooManyAttempts,
    Unauthenticated,
    WatchwordError,
)
from watchword.problem_table import PLAIN_CHALLENGE, PROBLEMS, Problem
from watchword.settings import Limit
from watchword.web.route import Header, Reply, Speech

PROBLEM_TYPE = b"application/problem+json"
JSON_TYPE = b"application/json"
RATE_LIMIT_POLICY = b"ratelimit-policy"
DEFAULT_RETRY = 1  # seconds


# By class, most special first, for a feature's codes outside the table.
_BY_CLASS: tuple[tuple[type[WatchwordError], str], ...] = (
    (TooManyAttempts, "too_many_attempts"),
    (Overloaded, "overloaded"),
    (StorageError, "storage_unavailable"),
    (InvalidInput, "invalid_input"),
    (TokenError, "token_invalid"),
    (Unauthenticated, "invalid_credentials"),
    (Forbidden, "forbidden"),
    (NotFound, "not_found"),
    (Conflict, "conflict"),
    (Refused, "refused"),
)
# Our own faults, never described to the client.
_OURS = frozenset({"invalid_settings", "invalid_key", "unique_violation"})
_encode = msgspec.json.Encoder().encode


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """RFC 9457 problem details, with a stable `code`, the faulty fields, and the log's request id."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[FieldError, ...] = ()


class OAuthError(msgspec.Struct):
    """RFC 6749 section 5.2."""

    error: str
    error_description: str


def problem_of(error: WatchwordError) -> tuple[str, Problem]:
    """Return an error's code and its row of the table."""
    if error.code in PROBLEMS:
        return error.code, PROBLEMS[error.code]
    if error.code in _OURS:
        return "internal_error", PROBLEMS["internal_error"]
    for kind, code in _BY_CLASS:
        if isinstance(error, kind):
            return error.code, PROBLEMS[code]
    return "internal_error", PROBLEMS["internal_error"]


class Problems:
    """Writes errors as answers.

    :param public_url: `type` is `<public url>/problems/<code>`.
    """

    def __init__(self, public_url: str) -> None:
        self._pages = public_url.rstrip("/") + "/problems/"

    def reply(
        self, error: WatchwordError, *, speech: Speech, request_id: str, challenge: Header | None = None
    ) -> Reply:
        """Return the answer to an error.

        :param challenge: a better `WWW-Authenticate` than the plain one of a 401.
        """
        code, problem = problem_of(error)
        # A 5xx never sends its message, which could name hosts, paths or statements (C5).
        ours = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Overloaded)
        detail = problem.about if ours else error.message
        errors = error.errors if isinstance(error, InvalidInput) else ()
        if speech is Speech.OAUTH:
            return self._oauth(error, problem, detail, errors, challenge)
        body = ProblemBody(self._pages + code, problem.title, problem.status, detail, code, request_id, errors)
        headers = (_PROBLEM_HEADER, *answer_headers(error, problem.status, challenge))
        return Reply(_encode(body), problem.status, headers)

    def _oauth(
        self,
        error: WatchwordError,
        problem: Problem,
        detail: str,
        errors: tuple[FieldError, ...],
        challenge: Header | None,
    ) -> Reply:
        """Write RFC 6749 section 5.2: 401 for clients and bearer tokens, 400 for grants and requests."""
        asked_wrongly = problem.oauth in _REQUEST_AT_FAULT and problem.status in _BECOMES_400
        status = HTTPStatus.BAD_REQUEST if asked_wrongly else problem.status
        if errors:
            detail = "; ".join(f"{one.field}: {one.message}" for one in errors)
        body = OAuthError(problem.oauth, printable(detail))
        return Reply(_encode(body), status, (_JSON_HEADER, *answer_headers(error, status, challenge)))


_REQUEST_AT_FAULT = frozenset({"invalid_grant", "invalid_request"})
_BECOMES_400 = frozenset({401, 409, 422})
_PROBLEM_HEADER: Header = (b"content-type", PROBLEM_TYPE)
_JSON_HEADER: Header = (b"content-type", JSON_TYPE)
_PLAIN: Header = (b"www-authenticate", PLAIN_CHALLENGE.encode())


def answer_headers(error: WatchwordError, status: int, challenge: Header | None = None) -> tuple[Header, ...]:
    """Return a status's headers: a challenge, or when to come back."""
    if isinstance(error, TooManyAttempts):
        return _limit_headers(error)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        after = error.retry_after if isinstance(error, Overloaded) else DEFAULT_RETRY
        return ((b"retry-after", b"%d" % max(after, 1)),)
    if isinstance(error, TokenError) and error.log_in:
        # For the proxy that asked: it leads the browser there.
        return challenge or _PLAIN, (b"location", error.log_in.encode("ascii"))
    if challenge is not None:
        return (challenge,)
    # RFC 9110 section 15.5.2: a 401 names a way to authenticate.
    return (_PLAIN,) if status == HTTPStatus.UNAUTHORIZED else ()


def _limit_headers(error: TooManyAttempts) -> tuple[Header, ...]:
    """Write `Retry-After` and the fields of draft-ietf-httpapi-ratelimit-headers-11 (checklist C6)."""
    after = max(error.retry_after, 1)
    return (
        (b"retry-after", b"%d" % after),
        (RATE_LIMIT_POLICY, _policy(error.policy, error.quota, error.window)),
        (b"ratelimit", f'"{printable(error.policy)}";r=0;t={after}'.encode()),
    )


def policies(limits: Mapping[str, Limit]) -> Header:
    """Write the `RateLimit-Policy` of a route, from name → limit."""
    each = [_policy(name, limit.quota, int(limit.window.total_seconds())) for name, limit in limits.items()]
    return RATE_LIMIT_POLICY, b", ".join(each)


def _policy(name: str, quota: int, window: int) -> bytes:
    # An sf-string allows the same letters as error_description.
    return f'"{printable(name)}";q={quota};w={window}'.encode()


def printable(text: str) -> str:
    """Keep to %x20-21 / %x23-5B / %x5D-7E, as `error_description` must."""
    return "".join(letter if " " <= letter <= "~" and letter not in '"\\' else "'" for letter in text)
