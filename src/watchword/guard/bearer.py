"""Reads the Authorization header. A token in a query string or body is ignored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from watchword import authorization as header
from watchword.guard.marks import FROM_CODE

Authorization = Annotated[str | bytes | Sequence[str] | Sequence[bytes] | None, FROM_CODE]
"""The value of the Authorization header, all values if several, or None."""

_JOINED: Final = re.compile(r",[ \t]*[A-Za-z][A-Za-z0-9-]*[ \t]+[^ \t,=]")


def likely_token(authorization: Authorization) -> str:
    """Return the token of a header after a check of its scheme only; `check_form` explains a bad one.

    :raises TokenError: `token_missing`.
    :raises Refused: `invalid_request` for two headers, `authorization_malformed`.
    :raises TypeError: no header, such as all headers of a request.
    """
    if authorization is not None and not isinstance(authorization, str | bytes):
        authorization = header.only(_several(authorization))
    token = None if authorization is None else header.likely_token(authorization)
    if token is None:
        raise header.missing()
    return token


def _several(given: object) -> Sequence[str | bytes]:
    """Return the values of one header. The message never quotes what was given: headers hold tokens."""
    if isinstance(given, list | tuple | Sequence) and all(isinstance(each, str | bytes) for each in given):
        return given
    raise TypeError(
        "guard: what is checked is the Authorization header's text, such as `request.headers.get('authorization')`, "
        f"unlike a value of the type {type(given).__name__}"
    )


def from_wsgi(value: str | None) -> Authorization:
    """Return the header, or two headers that WSGI joined with a comma.

    Tokens have no commas: a scheme and a credential after one are a second header.
    """
    if value is not None and "," in value and _JOINED.search(value):
        return value.split(",")
    return value
