"""The Authorization header as frameworks hand it over.

Tokens in the query string or in a body are never looked at: what is not in the header does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from watchword import authorization as header
from watchword.guard.marks import FROM_CODE

Authorization = Annotated[str | bytes | Sequence[str] | Sequence[bytes] | None, FROM_CODE]
"""The value of the Authorization header, or all values if a framework gives several, or None."""

_JOINED: Final = re.compile(r",[ \t]*[A-Za-z][A-Za-z0-9-]*[ \t]+[^ \t,=]")


def likely_token(authorization: Authorization) -> str:
    """Return the token of a header, of which only the scheme has been looked at: a genuine token has no other letters.

    What then turns out not to be a token is shown to `check_form`, which knows a malformed header from a malformed
    token. So a good request pays for one slice.

    :raises TokenError: `token_missing`.
    :raises Refused: `invalid_request` for two headers, `authorization_malformed`.
    """
    if authorization is not None and not isinstance(authorization, str | bytes):
        several: Sequence[str | bytes] = authorization
        authorization = header.only(several)
    token = None if authorization is None else header.likely_token(authorization)
    if token is None:
        raise header.missing()
    return token


def from_wsgi(value: str | None) -> Authorization:
    """Return the header as `HTTP_AUTHORIZATION` has it, where two of them were joined with a comma, as two again.

    By its look, since nothing else tells: behind the comma stands a scheme, a space and a credential. Tokens have no
    commas. What looks different and has a comma is malformed, which is 400 as well.
    """
    if value is not None and "," in value and _JOINED.search(value):
        return value.split(",")
    return value
