"""Reading a bearer token and holding it against a route's access (RFC 6750).

A malformed *header* is 400 `authorization_malformed`, a malformed *token* is 401 (the verifier says so), and tokens
in the query string or in a body are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchword.errors import Refused, TokenError, WatchwordError
from watchword.problem_table import PROBLEMS, REALM
from watchword.problem_table import challenge as challenge_of
from watchword.web.problems import problem_of
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
    return None if by_script else (b"www-authenticate", f'Basic realm="{REALM}"'.encode())


def challenge(error: WatchwordError, access: Access) -> Header | None:
    """Return the `WWW-Authenticate` for an error, or None where the plain one or none is right."""
    known = error.code if error.code in PROBLEMS else "token_invalid"
    if not isinstance(error, TokenError) and known != "authorization_malformed":
        return None
    # Where the request itself names the scopes (`GET /verify?scope=…`), the asker knows them.
    text = challenge_of(known, scopes=access.scopes if isinstance(access, AccessToken) else ())
    return (b"www-authenticate", text.encode("ascii")) if text else None
