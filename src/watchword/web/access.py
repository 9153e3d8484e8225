"""The bearer token of a request, and the challenge of a refusal (RFC 6750).

A token in a query string or a body is never read.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchword.authorization import missing, only, read_bearer
from watchword.errors import TokenError, WatchwordError
from watchword.problem_table import PROBLEMS, REALM
from watchword.problem_table import challenge as challenge_of
from watchword.web.problems import problem_of
from watchword.web.route import Access, AccessToken, Header, Scope


def authorization(scope: Scope) -> bytes | None:
    """Return the Authorization header, or None. :raises Refused: `invalid_request`, when it was sent twice."""
    return only([value for name, value in scope["headers"] if name == b"authorization"])


def bearer_token(scope: Scope) -> str | None:
    """Return the bearer token, unverified, or None.

    :raises Refused: `authorization_malformed`, or `invalid_request` for two headers; both 400.
    """
    value = authorization(scope)
    return None if value is None else read_bearer(value)


def shown_token(headers: Mapping[bytes, bytes]) -> str:
    """Return the bearer token that a route needs.

    :raises TokenError: `token_missing`, without the header or for another scheme.
    """
    value = headers.get(b"authorization")
    token = None if value is None else read_bearer(value)
    if token is None:
        raise missing()
    return token


def shows_bearer(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a bearer token was sent: no foreign web page can without a CORS preflight (F8)."""
    value = headers.get(b"authorization")
    return value is not None and read_bearer(value) is not None


def client_challenge(error: WatchwordError, headers: Mapping[bytes, bytes]) -> Header | None:
    """Return `Basic` for a client refused after Basic (RFC 6749 section 5.2), else None.

    Never to a script in a browser, which would open its own sign-in box. Browsers say mode and site; Node.js, in which
    programs run, says a mode alone.
    """
    if problem_of(error)[1].oauth != "invalid_client" or headers.get(b"authorization", b"")[:5].lower() != b"basic":
        return None
    mode = headers.get(b"sec-fetch-mode", b"navigate") if b"sec-fetch-site" in headers else b"navigate"
    by_script = b"x-requested-with" in headers or mode != b"navigate"
    return None if by_script else (b"www-authenticate", f'Basic realm="{REALM}"'.encode())


def challenge(error: WatchwordError, access: Access) -> Header | None:
    """Return the `WWW-Authenticate` of an error; None for the plain one or none."""
    known = error.code if error.code in PROBLEMS else "token_invalid"
    if not isinstance(error, TokenError) and known != "authorization_malformed":
        return None
    # `GET /verify?scope=…` itself names the scopes.
    asked = access if isinstance(access, AccessToken) else AccessToken()
    text = challenge_of(known, scopes=asked.scopes, max_age=asked.max_age)
    return (b"www-authenticate", text.encode("ascii")) if text else None
