"""Every error code: its status, title, advice and challenge, for the service and for guards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

REALM: Final = "watchword"
PLAIN_CHALLENGE: Final = f'Bearer realm="{REALM}"'
"""The `WWW-Authenticate` of a 401 without another: no error code without credentials (RFC 6750 §3.1)."""


class Problem(NamedTuple):
    """One code: HTTP status, title, explanation for people, OAuth's `error`.

    An explanation says what happened, then what to do. `challenge` is the description in `WWW-Authenticate`: fixed
    words, since an error's message could hold a quote.
    """

    status: int
    title: str
    about: str
    oauth: str = "invalid_request"
    challenge: str = ""


def challenge(code: str, *, scopes: Iterable[str] = (), max_age: int | None = None) -> str:
    """Return the `WWW-Authenticate` that names an error (RFC 6750 section 3); nothing for an error without one.

    :param code: one of the table.
    :param scopes: the scopes asked for; sent with `scope_missing`.
    :param max_age: seconds since log-in asked for; sent with `reauthentication_required` (RFC 9470).
    """
    problem = PROBLEMS[code]
    if not problem.challenge:
        return ""
    text = f'{PLAIN_CHALLENGE}, error="{problem.oauth}", error_description="{problem.challenge}"'
    if code == "scope_missing" and scopes:
        return f'{text}, scope="{" ".join(sorted(scopes))}"'
    if code == "reauthentication_required" and max_age is not None:
        return f'{text}, max_age="{max_age}"'
    return text


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
        challenge="The access token is malformed.",
    ),
    "token_invalid": Problem(
        401,
        "Access token not accepted",
        "The token was not signed by this service, was changed, or is meant for another audience. " + _REFRESH,
        "invalid_token",
        challenge="The access token is not accepted.",
    ),
    "token_expired": Problem(
        401,
        "Access token expired",
        "The token's life is over. " + _REFRESH,
        "invalid_token",
        challenge="The access token expired.",
    ),
    "token_not_yet_valid": Problem(
        401,
        "Access token not yet valid",
        "The token starts to be valid later than now. The clocks of two machines probably differ; set them by NTP.",
        "invalid_token",
        challenge="The access token is not valid yet.",
    ),
    "token_revoked": Problem(
        401,
        "Access token revoked",
        "The session, the account's standing or the signing key behind this token has changed since it was issued. "
        "Refresh once; if that is refused too, log in again.",
        "invalid_token",
        challenge="The access token was revoked.",
    ),
    "scope_missing": Problem(
        403,
        "Scope missing",
        "The token is genuine but lacks scopes that this needs; `detail` names them. Log in without `scope`, or with "
        "these in it; if the user's roles do not give them, an administrator can change that.",
        "insufficient_scope",
        challenge="The token lacks a scope.",
    ),
    "token_narrowed": Problem(
        403,
        "Token narrowed",
        "The token is genuine, but its log-in or refresh asked for some scopes only: with such a token nothing is done "
        "with the account, and nothing administered. Log in, or refresh, without `scope`.",
        "insufficient_scope",
        challenge="The token was narrowed.",
    ),
    "role_missing": Problem(
        403,
        "Role missing",
        "The token is genuine but its user lacks roles that this needs; `detail` names them. An administrator can "
        "grant them; that takes effect with the next refresh.",
        "insufficient_scope",
        challenge="The token's user lacks a role.",
    ),
    "authorization_malformed": Problem(
        400,
        "Authorization header malformed",
        "The `Authorization` header is not of the form `Bearer <token>`: one space, then the token, nothing else. "
        "Send exactly one such header.",
        challenge="The Authorization header is malformed.",
    ),
    # Logging in, sessions
    "invalid_credentials": Problem(
        401,
        "Wrong credentials",
        "Name and password do not belong together, or this account cannot log in. The answer is the same for every "
        "cause, so that it does not tell who has an account. Check both.",
        "invalid_grant",
    ),
    "invalid_scope": Problem(
        400,
        "Scope not granted",
        "Scopes are unknown, malformed or not given; `detail` names them. Ask for fewer, or leave `scope` out.",
        "invalid_scope",
    ),
    "invalid_target": Problem(
        400, "Unknown API", "No such API, or the session is for another. Name a registered one.", "invalid_target"
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
        'No refresh token was shown. A browser needs `credentials: "include"`, for its cookie. ' + _LOG_IN_AGAIN,
        "invalid_grant",
    ),
    "refresh_token_invalid": Problem(
        401,
        "Refresh token not accepted",
        "What was shown is not a refresh token of this service. " + _LOG_IN_AGAIN,
        "invalid_grant",
    ),
    # Registering, profile
    "username_taken": Problem(409, "Username taken", "Another user has this username already. Choose another one."),
    "email_taken": Problem(409, "E-mail address taken", "An account has this address. Log in, or use another address."),
    "conflict": Problem(409, "Conflict", "This clashes with what is stored now. Read that, and decide again."),
    "own_account": Problem(
        409,
        "Your own account",
        "An administrator cannot disable or delete their own account, nor give up their own role `admin`, so that one "
        "always remains. Another administrator does it, or an operator with `watchword users`.",
    ),
    "closing_too_early": Problem(
        409, "Closing works later", "The former address can still take the account back. Wait, or ask an administrator."
    ),
    "key_too_new": Problem(
        409, "Key too new", "Verifiers may not know it yet. Wait a day from its publication, or send `early`: true."
    ),
    "too_many_roles": Problem(
        403,
        "Too many roles",
        "The account has more roles than an access token can hold, so no token is issued. An administrator sets fewer: "
        "`watchword users roles NAME --set ROLE …`.",
        "access_denied",
    ),
    "registration_closed": Problem(
        403,
        "Registration closed",
        "This service does not let people register themselves. Ask an administrator for an account.",
        "unauthorized_client",
    ),
    # Mail
    "email_unverified": Problem(
        403,
        "E-mail address not confirmed",
        "The password is right, and this service wants the address confirmed first. Open the link in the mail, or ask "
        "for another one (`POST /email/verification`).",
        "access_denied",
    ),
    "one_time_invalid": Problem(
        400,
        "Link or code not accepted",
        "It is wrong, was used before, has expired, or the account has changed since. A code works only with the "
        "handle that was answered when it was asked for, five times at most. Ask for another mail.",
    ),
    "mail_off": Problem(403, "No mail", "This service has no mail server. An operator can set `WATCHWORD_SMTP_URL`."),
    "email_login_off": Problem(
        403, "No log-in by e-mail", "No codes are sent to log in. An operator can set `WATCHWORD_EMAIL_LOGIN=on`."
    ),
    "forbidden": Problem(
        403, "Not allowed", "You are known, and may not do this. Ask an administrator.", "unauthorized_client"
    ),
    "refused": Problem(
        400, "Refused", "The request was understood and turned down; `detail` says why. Change the request accordingly."
    ),
    # What was sent
    "invalid_input": Problem(
        422,
        "Some fields are not acceptable",
        "`errors` lists each field with what is wrong. Correct these and send the request again.",
    ),
    "malformed_json": Problem(
        400,
        "Not valid JSON",
        "The body must be one JSON value in UTF-8: no repeated names, at most 16 levels deep, no NaN or Infinity, no "
        "half surrogate pairs, no NUL characters. Let a JSON library write it, and send what it writes unchanged.",
    ),
    "malformed_form": Problem(
        400,
        "Not a valid form",
        "The body must be `application/x-www-form-urlencoded` in UTF-8: at most 20 fields, none twice, every `%` "
        "followed by two hexadecimal digits. Let a library write the form; `curl --data-urlencode` does it by hand.",
    ),
    "malformed_request": Problem(
        400,
        "Malformed request",
        "Some part of the request is not what HTTP allows; `detail` names it. Correct that part and send it again.",
    ),
    "invalid_request": Problem(
        400,
        "Invalid request",
        "A parameter or header is missing, repeated or malformed; `detail` names it. Correct it and send the request "
        "again, with one set of credentials only.",
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
        "The body is not of the kind that this address reads. Send `Content-Type: application/json` (UTF-8), or "
        "`application/x-www-form-urlencoded` to the OAuth endpoints.",
    ),
    "body_too_large": Problem(
        413, "Body too large", "A body may have at most 65,536 bytes. Send less: no field here needs more."
    ),
    "not_found": Problem(
        404, "Not found", "There is nothing at this address, or nothing that you may see. Check path and id."
    ),
    "method_not_allowed": Problem(
        405,
        "Method not allowed",
        "This address exists, but not for this method. Use one of those that the header `Allow` lists.",
    ),
    "origin_refused": Problem(
        403,
        "Origin refused",
        "A web page of another origin sent this request. If that page is yours, the operator adds its origin "
        "(`https://app.example`, exactly) to `WATCHWORD_ALLOWED_ORIGINS`. An API that reads the access cookie answers "
        "pages of its own origin only.",
        "access_denied",
    ),
    "form_refused": Problem(
        403,
        "Form out of date",
        "The form on the page belongs to another session than the one that the browser holds now. Open the page again "
        "and fill it in anew.",
        "access_denied",
    ),
    # OAuth (RFC 6749 section 5.2, RFC 7009)
    "invalid_client": Problem(
        401,
        "Client not accepted",
        "The client is unknown or did not prove who it is. People log in without naming a client: leave "
        "`client_id` and `client_secret` out. Guards show their key.",
        "invalid_client",
    ),
    "invalid_grant": Problem(
        400,
        "AccessGrant not accepted",
        "What was shown is invalid, expired, or belongs to another client. Check name and password, or log in "
        "again for a new refresh token.",
        "invalid_grant",
    ),
    "unauthorized_client": Problem(
        400,
        "Client may not do this",
        "This client may not use this kind of grant. Use another one; the metadata document lists them.",
        "unauthorized_client",
    ),
    "unsupported_grant_type": Problem(
        400,
        "Grant type not supported",
        "`grant_type` is none that this service offers. Use one that its metadata document lists.",
        "unsupported_grant_type",
    ),
    "unsupported_token_type": Problem(
        400,
        "Token type not supported",
        "This kind of token cannot be revoked here. Send an access token or a refresh token.",
        "unsupported_token_type",
    ),
    # Not now
    "too_many_attempts": Problem(
        429,
        "Too many attempts",
        "A limit is used up. `Retry-After` says in how many seconds to try again, `RateLimit` what is limited.",
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
        "The database cannot be reached or did not confirm what was asked. Try again after `Retry-After` seconds.",
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
    # The feed
    "guard_key_needed": Problem(
        401,
        "Guard key needed",
        "This is for guards: APIs that verify tokens. Make a key with `watchword guards create NAME` and send it as "
        "`Authorization: Bearer <key>`.",
        "invalid_client",
    ),
    "guard_key_invalid": Problem(
        401,
        "Guard key not accepted",
        "This guard key is not in use: it was revoked, or belongs to another service. Make a new one with "
        "`watchword guards create NAME`.",
        "invalid_client",
    ),
    "too_many_keys": Problem(409, "Too many API keys", "A user has 50 at most. Delete one that is not in use."),
    "name_taken": Problem(409, "Name taken", "Something of this name exists already. Choose another name."),
    # What guards answer in other people's APIs
    "reauthentication_required": Problem(
        401,
        "Log-in too long ago",
        "This needs a log-in more recent than the token's. Log in again, then try again; a refresh does not help.",
        "insufficient_user_authentication",
        challenge="A more recent log-in is required.",
    ),
    "guard_not_ready": Problem(
        503,
        "Not ready yet",
        "The API has not yet received the keys and the list of revoked tokens. Try again in a moment; if it lasts, the "
        "API cannot reach the authentication service.",
        "temporarily_unavailable",
    ),
    "revocations_stale": Problem(
        503,
        "Revocations out of date",
        "The API has not heard from the authentication service for too long to know which tokens have been revoked, "
        "and is set to refuse rather than guess. Try again in a moment.",
        "temporarily_unavailable",
    ),
}
