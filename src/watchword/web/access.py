"""Reading a bearer token and holding it against a route's access (RFC 6750).

A malformed *header* is 400 `authorization_malformed`, a malformed *token* is 401 (the verifier says so), and tokens
in the query string or in a body are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchword.errors import Refused, TokenError, WatchwordError
from watchword.web.problems import PLAIN_CHALLENGE, problem_of
from watchword.web.route import Access, AccessToken, Header, Scope

# RFC 9110 section 11.2: token68 = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
_TOKEN68 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
_SCHEME = b"bearer "
_MALFORMED = "Send exactly one header of the form `Authorization: Bearer <token>`."


def bearer_token(scope: Scope) -> str | None:
    """The bearer token of a request, unverified, or None when none is shown; where the route asks for none.

    :raises Refused: `authorization_malformed` or, with two Authorization headers, `invalid_request`; both 400.
    """
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) > 1:
        raise Refused("Only one Authorization header may be sent.", code="invalid_request")
    return read_bearer(values[0]) if values else None


def read_bearer(value: bytes) -> str | None:
    """The token of one Authorization header, or None when it is of another scheme.

    :raises Refused: `authorization_malformed`, for a Bearer header that is not one space and one token68.
    """
    if value[:7].lower() != _SCHEME:
        if value.lower().strip(b" \t") == b"bearer" or value[:7].lower() == b"bearer\t":
            raise Refused(_MALFORMED, code="authorization_malformed")
        return None
    token = value[7:]
    letters = token.rstrip(b"=")
    if not letters or letters.translate(None, _TOKEN68):
        raise Refused(_MALFORMED, code="authorization_malformed")
    return token.decode("ascii")


def shown_token(headers: Mapping[bytes, bytes]) -> str:
    """The bearer token that a route asks for.

    :raises TokenError: `token_missing`, when there is no Authorization header or it is of another scheme.
    """
    value = headers.get(b"authorization")
    token = None if value is None else read_bearer(value)
    if token is None:
        raise TokenError("This needs an access token: send `Authorization: Bearer <token>`.", code="token_missing")
    return token


def shows_bearer(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a bearer token is shown, which no foreign web page can do without a CORS preflight (F8)."""
    value = headers.get(b"authorization")
    return value is not None and read_bearer(value) is not None


def client_challenge(error: WatchwordError, headers: Mapping[bytes, bytes]) -> Header | None:
    """`Basic` for a client that showed itself by Basic and was not accepted (RFC 6749 section 5.2), else None.

    Never to a script in a browser: the browser would answer with its own sign-in box, over the page.
    """
    if problem_of(error)[1].oauth != "invalid_client" or headers.get(b"authorization", b"")[:5].lower() != b"basic":
        return None
    by_script = b"x-requested-with" in headers or headers.get(b"sec-fetch-mode", b"navigate") != b"navigate"
    return None if by_script else (b"www-authenticate", b'Basic realm="watchword"')


def challenge(error: WatchwordError, access: Access) -> Header | None:
    """The `WWW-Authenticate` for an error (RFC 6750 section 3), or None where the plain one or none is right."""
    if error.code == "authorization_malformed":
        return _challenge("invalid_request", "The Authorization header is malformed.")
    if not isinstance(error, TokenError):
        return None
    if error.code == "token_missing":
        return PLAIN_CHALLENGE  # RFC 6750 section 3.1: no error code when no credentials were shown
    if error.code == "scope_missing":
        needed = " ".join(access.scopes) if isinstance(access, AccessToken) else ""
        # Where the request itself names the scopes (`GET /verify?scope=…`), the asker knows them.
        named = f', scope="{needed}"' if needed else ""
        return _challenge("insufficient_scope", "The token lacks a scope.", named)
    if error.code == "role_missing":
        return _challenge("insufficient_scope", "The token's user lacks a role.")
    return _challenge("invalid_token", _DESCRIPTIONS.get(error.code, "The access token is not accepted."))


# Our own words: a verifier's message must not be able to put a quote or a line break into a header.
_DESCRIPTIONS = {
    "token_expired": "The access token expired.",
    "token_revoked": "The access token was revoked.",
    "token_malformed": "The access token is malformed.",
    "token_not_yet_valid": "The access token is not valid yet.",
}


def _challenge(error: str, description: str, more: str = "") -> Header:
    text = f'Bearer realm="watchword", error="{error}", error_description="{description}"{more}'
    return b"www-authenticate", text.encode("ascii")
