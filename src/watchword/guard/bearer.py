"""Reading the Authorization header (RFC 6750 section 2.1), by the same rules as the service itself.

Tokens in the query string or in a body are never looked at: what is not in the header does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, NoReturn

from watchword.errors import Refused, TokenError
from watchword.guard.slips import FROM_CODE
from watchword.tokens.compact import MAX_TOKEN

Authorization = Annotated[str | bytes | Sequence[str] | Sequence[bytes] | None, FROM_CODE]
"""The value of the Authorization header, or all values if a framework gives several, or None."""

# RFC 9110 section 11.2: token68
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_JOINED: Final = re.compile(r",[ \t]*[A-Za-z][A-Za-z0-9-]*[ \t]+[^ \t,=]")
_SCHEME: Final = "bearer "
# One letter more than any token may have is enough for the verifier to refuse it; ten megabytes need not be copied.
_TOO_LONG: Final = len(_SCHEME) + MAX_TOKEN + 1
_MALFORMED: Final = "Send exactly one header of the form `Authorization: Bearer <token>`."
_MISSING: Final = "This needs an access token: send `Authorization: Bearer <token>`."


def likely_token(authorization: Authorization) -> str:
    """The token of a header, of which only the scheme has been looked at: a genuine token has no other letters.

    What then turns out not to be a token is shown to `check_form`, which knows a malformed header from a malformed
    token. So a good request pays for one slice.

    :raises TokenError: `token_missing`.
    :raises Refused: `invalid_request` for two headers, `authorization_malformed`.
    """
    if type(authorization) is bytes and authorization[:7] == b"Bearer ":
        return authorization[7:_TOO_LONG].decode("latin-1")
    if type(authorization) is str and authorization[:7] == "Bearer ":
        return authorization[7:_TOO_LONG]
    value = one_value(authorization)
    if value is None:
        raise missing()
    if value[:7].lower() == _SCHEME:
        return value[7:_TOO_LONG]
    if value.lower().strip(" \t") == "bearer" or value[:7].lower() == "bearer\t":
        raise Refused(_MALFORMED, code="authorization_malformed")
    raise missing()


def check_form(token: str) -> None:
    """Whether what stood behind `Bearer ` can be a token at all.

    :raises Refused: `authorization_malformed`.
    """
    if not _TOKEN68.fullmatch(token):
        raise Refused(_MALFORMED, code="authorization_malformed")


def one_value(authorization: Authorization) -> str | None:
    """The header's only value, or None where there is none.

    :raises Refused: `invalid_request`, when it was sent twice.
    """
    if authorization is None or isinstance(authorization, str):
        return authorization
    if isinstance(authorization, bytes):
        return authorization[:_TOO_LONG].decode("latin-1")  # header bytes are any bytes; none of them is an error here
    if len(authorization) > 1:
        _refuse_two()
    return one_value(authorization[0]) if authorization else None


def from_wsgi(value: str | None) -> Authorization:
    """The header as `HTTP_AUTHORIZATION` has it, where two of them were joined with a comma, as two again.

    By its look, since nothing else tells: behind the comma stands a scheme, a space and a credential. Tokens have no
    commas. What looks different and has a comma is malformed, which is 400 as well.
    """
    if value is not None and "," in value and _JOINED.search(value):
        return value.split(",")
    return value


def missing() -> TokenError:
    """The error for a request without an access token."""
    return TokenError(_MISSING, code="token_missing")


def _refuse_two() -> NoReturn:
    raise Refused("Only one Authorization header may be sent.", code="invalid_request")
