"""Every code an error can carry: its status, its title, and what the caller can do about it. One table.

This is the only place where an error of `watchword.errors` becomes a status (RFC 9457 problem details), and where the
same error becomes RFC 6749's `{"error", "error_description"}` for the OAuth endpoints. `GET /problems/<code>` shows
the explanation to people (`problems_pages`).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

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
from watchword.web.route import Header, Reply, Speech

PROBLEM_TYPE = b"application/problem+json"
JSON_TYPE = b"application/json"
DEFAULT_RETRY = 1  # seconds, for a 503 that does not say


class Problem(NamedTuple):
    """What is known about one code: HTTP status, title, explanation for people, `error` in RFC 6749's words."""

    status: int
    title: str
    about: str
    oauth: str = "invalid_request"


_LOG_IN_AGAIN = "Log in again to get a new session."
_REFRESH = "Get a new one by refreshing (POST /refresh, or POST /token with the refresh token), then try again."

PROBLEMS: dict[str, Problem] = {
    # Access tokens (RFC 6750)
    "token_missing": Problem(
        401,
        "Access token missing",
        "This needs an access token and none was shown. Send it as `Authorization: Bearer <token>`; tokens in the "
        "query string or in the body are not read.",
        "invalid_token",
    ),
    "token_malformed": Problem(
        401,
        "Access token malformed",
        "What was sent as an access token is not a signed token of the compact form. Send the token exactly as it was "
        "issued, without quotes or line breaks. " + _REFRESH,
        "invalid_token",
    ),
    "token_invalid": Problem(
        401,
        "Access token not accepted",
        "The token was not signed by this service, was changed, or is meant for another audience. " + _REFRESH,
        "invalid_token",
    ),
    "token_expired": Problem(401, "Access token expired", "The token's life is over. " + _REFRESH, "invalid_token"),
    "token_not_yet_valid": Problem(
        401,
        "Access token not yet valid",
        "The token starts to be valid later than now. The clocks of two machines probably differ; set them by NTP.",
        "invalid_token",
    ),
    "token_revoked": Problem(
        401,
        "Access token revoked",
        "The session, the account's standing or the signing key behind this token has changed since it was issued. "
        "Refresh once; if that is refused too, log in again.",
        "invalid_token",
    ),
    "scope_missing": Problem(
        403,
        "Scope missing",
        "The token is genuine but lacks a scope that this needs; `WWW-Authenticate` names it. Ask for that scope when "
        "you get the token.",
        "insufficient_scope",
    ),
    "role_missing": Problem(
        403,
        "Role missing",
        "The token is genuine but its user lacks a role that this needs. An administrator can grant it; it takes "
        "effect with the next refresh.",
        "insufficient_scope",
    ),
    "authorization_malformed": Problem(
        400,
        "Authorization header malformed",
        "The `Authorization` header is not of the form `Bearer <token>`: one space, then the token, nothing else.",
    ),
    # Logging in, sessions
    "invalid_credentials": Problem(
        401,
        "Wrong credentials",
        "Name and password do not belong together, or this account cannot log in. The answer is the same for every "
        "cause, so that nobody can find out who has an account. Check both, or reset the password.",
        "invalid_grant",
    ),
    "session_ended": Problem(
        401,
        "Session ended",
        "The session was logged out, expired, or its account was closed or disabled. " + _LOG_IN_AGAIN,
        "invalid_grant",
    ),
    "refresh_superseded": Problem(
        401,
        "Refresh token superseded",
        "Another tab or request has refreshed this session in the meantime, more than once. The session goes on: use "
        "the newest refresh token (browsers already hold it in the cookie).",
        "invalid_grant",
    ),
    "refresh_token_reused": Problem(
        401,
        "Refresh token used twice",
        "A refresh token that had been replaced long ago was shown again. Since this may mean that it was stolen, the "
        "session has been ended. " + _LOG_IN_AGAIN,
        "invalid_grant",
    ),
    "refresh_token_missing": Problem(
        401,
        "Refresh token missing",
        'No refresh token was shown. Browsers send it as a cookie, which needs `credentials: "include"`. '
        + _LOG_IN_AGAIN,
        "invalid_grant",
    ),
    "refresh_token_invalid": Problem(
        401,
        "Refresh token not accepted",
        "What was shown is not a refresh token of this service. " + _LOG_IN_AGAIN,
        "invalid_grant",
    ),
    # Registering, profile
    "username_taken": Problem(409, "Username taken", "Somebody has this username already. Choose another one."),
    "email_taken": Problem(
        409, "E-mail address taken", "An account with this address exists already. Log in, or use another address."
    ),
    "conflict": Problem(
        409, "Conflict", "This clashes with what is stored now. Read the current state and decide again."
    ),
    "registration_closed": Problem(
        403,
        "Registration closed",
        "This service does not let people register themselves. Ask an administrator for an account.",
        "unauthorized_client",
    ),
    "forbidden": Problem(403, "Not allowed", "You are known, and may not do this.", "unauthorized_client"),
    "refused": Problem(400, "Refused", "The request was understood and turned down; `detail` says why."),
    # What was sent
    "invalid_input": Problem(
        422, "Some fields are not acceptable", "`errors` lists each field with what is wrong. Correct these and resend."
    ),
    "malformed_json": Problem(
        400,
        "Not valid JSON",
        "The body must be one JSON value in UTF-8: no repeated names, at most 16 levels deep, no NaN or Infinity, no "
        "half surrogate pairs, no NUL characters.",
    ),
    "malformed_form": Problem(
        400,
        "Not a valid form",
        "The body must be `application/x-www-form-urlencoded` in UTF-8: at most 20 fields, none twice, every `%` "
        "followed by two hexadecimal digits.",
    ),
    "malformed_request": Problem(
        400, "Malformed request", "Some part of the request is not what HTTP allows; `detail` names it."
    ),
    "invalid_request": Problem(
        400,
        "Invalid request",
        "A parameter or header is missing, repeated or malformed; `detail` names it. Only one set of credentials may "
        "be sent.",
    ),
    "cookie_repeated": Problem(
        400,
        "Cookie sent twice",
        "The request holds our cookie twice, so it is unclear which session is meant. Delete this site's cookies and "
        "log in again.",
    ),
    "unsupported_media_type": Problem(
        415,
        "Wrong media type",
        "Send `Content-Type: application/json` (UTF-8), or `application/x-www-form-urlencoded` to the OAuth endpoints.",
    ),
    "body_too_large": Problem(413, "Body too large", "A body may have at most 65,536 bytes."),
    "not_found": Problem(
        404, "Not found", "There is nothing at this address, or nothing that you may see. Check path and id."
    ),
    "method_not_allowed": Problem(
        405, "Method not allowed", "This address exists, but not for this method; `Allow` lists those that it has."
    ),
    "origin_refused": Problem(
        403,
        "Origin refused",
        "A web page of another origin sent this request. If that page is yours, the operator adds its origin "
        "(`https://app.example`, exactly) to `WATCHWORD_ALLOWED_ORIGINS`.",
        "access_denied",
    ),
    # OAuth (RFC 6749 section 5.2, RFC 7009)
    "invalid_client": Problem(
        401, "Client not accepted", "The client is unknown or did not prove who it is.", "invalid_client"
    ),
    "invalid_grant": Problem(
        400, "Grant not accepted", "What was shown is invalid, expired, or belongs to another client.", "invalid_grant"
    ),
    "unauthorized_client": Problem(
        400, "Client may not do this", "This client may not use this kind of grant.", "unauthorized_client"
    ),
    "unsupported_grant_type": Problem(
        400,
        "Grant type not supported",
        "`grant_type` must be one that this service offers; its metadata document lists them.",
        "unsupported_grant_type",
    ),
    "unsupported_token_type": Problem(
        400, "Token type not supported", "This kind of token cannot be revoked here.", "unsupported_token_type"
    ),
    "invalid_scope": Problem(
        400, "Scope not accepted", "A scope that was asked for is unknown or may not be granted.", "invalid_scope"
    ),
    # Not now
    "too_many_attempts": Problem(
        429,
        "Too many attempts",
        "A limit is used up. `Retry-After` says in how many seconds to try again, `RateLimit-Policy` which limit.",
        "temporarily_unavailable",
    ),
    "overloaded": Problem(
        503,
        "Overloaded",
        "There is no capacity right now; nothing was done. Try again after `Retry-After` seconds.",
        "temporarily_unavailable",
    ),
    "storage_unavailable": Problem(
        503,
        "Storage unavailable",
        "The database cannot be reached or did not confirm; nothing was stored. Try again after `Retry-After` seconds.",
        "temporarily_unavailable",
    ),
    "schema_mismatch": Problem(
        503,
        "Being upgraded",
        "The database belongs to another version of this service. The operator runs its migrations.",
        "temporarily_unavailable",
    ),
    "internal_error": Problem(
        500,
        "Internal error",
        "Something went wrong on our side. Report the `request_id`; the log holds the cause under it.",
        "server_error",
    ),
}

# What a code becomes that a feature has made up without an entry above: by class, most special first.
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
# Faults of ours that must not describe themselves to the caller, whatever their message says.
_OURS = frozenset({"invalid_settings", "invalid_key", "unique_violation"})
_encode = msgspec.json.Encoder().encode


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """RFC 9457 problem details, with a stable `code`, the faulty fields, and the id to look for in the log."""

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
    """The code under which this error is shown, and what the table says about it."""
    if error.code in PROBLEMS:
        return error.code, PROBLEMS[error.code]
    if error.code in _OURS:
        return "internal_error", PROBLEMS["internal_error"]
    for kind, code in _BY_CLASS:
        if isinstance(error, kind):
            return error.code, PROBLEMS[code]
    return "internal_error", PROBLEMS["internal_error"]


class Problems:
    """Turns errors into answers.

    :param public_url: what `type` starts with: `<public url>/problems/<code>`.
    """

    def __init__(self, public_url: str) -> None:
        self._pages = public_url.rstrip("/") + "/problems/"

    def reply(
        self, error: WatchwordError, *, speech: Speech, request_id: str, challenge: Header | None = None
    ) -> Reply:
        """The answer for an error.

        :param challenge: `WWW-Authenticate`, when the guard knows a better one than the plain one of a 401.
        """
        code, problem = problem_of(error)
        # A 5xx never carries words of the place that failed: those could name hosts, paths or statements (C5).
        ours = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Overloaded)
        detail = problem.about if ours else error.message
        errors = error.errors if isinstance(error, InvalidInput) else ()
        if speech is Speech.OAUTH:
            return self._oauth(error, problem, detail, errors, challenge)
        body = ProblemBody(self._pages + code, problem.title, problem.status, detail, code, request_id, errors)
        headers = (_PROBLEM_HEADER, *_headers(error, problem.status, challenge))
        return Reply(_encode(body), problem.status, headers)

    def _oauth(
        self,
        error: WatchwordError,
        problem: Problem,
        detail: str,
        errors: tuple[FieldError, ...],
        challenge: Header | None,
    ) -> Reply:
        """RFC 6749 section 5.2: 401 is for the client and for bearer tokens; a refused grant or request is 400."""
        asked_wrongly = problem.oauth in _REQUEST_AT_FAULT and problem.status in _BECOMES_400
        status = HTTPStatus.BAD_REQUEST if asked_wrongly else problem.status
        if errors:
            detail = "; ".join(f"{one.field}: {one.message}" for one in errors)
        body = OAuthError(problem.oauth, _printable(detail))
        if problem.oauth == "invalid_client" and challenge is None:
            challenge = (b"www-authenticate", b'Basic realm="watchword"')
        return Reply(_encode(body), status, (_JSON_HEADER, *_headers(error, status, challenge)))


_REQUEST_AT_FAULT = frozenset({"invalid_grant", "invalid_request"})
_BECOMES_400 = frozenset({401, 409, 422})
_PROBLEM_HEADER: Header = (b"content-type", PROBLEM_TYPE)
_JSON_HEADER: Header = (b"content-type", JSON_TYPE)
PLAIN_CHALLENGE: Header = (b"www-authenticate", b'Bearer realm="watchword"')


def _headers(error: WatchwordError, status: int, challenge: Header | None) -> tuple[Header, ...]:
    """The headers that belong to a status: a challenge, or when to come back."""
    if isinstance(error, TooManyAttempts):
        return _limit_headers(error)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        after = error.retry_after if isinstance(error, Overloaded) else DEFAULT_RETRY
        return ((b"retry-after", b"%d" % max(after, 1)),)
    if challenge is not None:
        return (challenge,)
    # RFC 9110 section 15.5.2: a 401 names a way to authenticate.
    return (PLAIN_CHALLENGE,) if status == HTTPStatus.UNAUTHORIZED else ()


def _limit_headers(error: TooManyAttempts) -> tuple[Header, ...]:
    """`Retry-After` and the structured fields of draft-ietf-httpapi-ratelimit-headers-10 (checklist C6)."""
    after = max(error.retry_after, 1)
    name = _printable(error.limit)  # an sf-string has the same letters as an error_description
    return (
        (b"retry-after", b"%d" % after),
        (b"ratelimit-policy", f'"{name}";q={error.quota};w={error.window}'.encode()),
        (b"ratelimit", f'"{name}";r=0;t={after}'.encode()),
    )


def _printable(text: str) -> str:
    """`error_description` may hold %x20-21 / %x23-5B / %x5D-7E only."""
    return "".join(letter if " " <= letter <= "~" and letter not in '"\\' else "'" for letter in text)
