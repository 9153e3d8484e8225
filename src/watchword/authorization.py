"""Read the Authorization header (RFC 6750 section 2.1, RFC 7617), for the service and for guards.

A malformed *header* is `authorization_malformed`; the verifier refuses a malformed *token*.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Final, TypeVar

from watchword.errors import Refused, TokenError

Value = TypeVar("Value")

LONGEST: Final = 16 * 1024
"""Characters read: more than any credential has."""
_BEARER: Final = "bearer "
# RFC 9110 section 11.2: token68 = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
_TOKEN68: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"


def only(values: Sequence[Value]) -> Value | None:
    """Return the header's only value, or None.

    :raises Refused: `invalid_request`, when it was sent twice.
    """
    if len(values) > 1:
        raise Refused("Only one Authorization header may be sent.", code="invalid_request")
    return values[0] if values else None


def only_token(found: Sequence[Value]) -> Value:
    """Return the only token of a request, whichever places it may be in.

    :raises TokenError: `token_missing`. :raises Refused: `invalid_request`, for two.
    """
    if not found:
        raise missing()
    if len(found) > 1:
        raise Refused("Only one access token may be sent.", code="invalid_request")
    return found[0]


def likely_token(value: str | bytes) -> str | None:
    """Return a Bearer header's token, unchecked, or None for another scheme.

    :raises Refused: `authorization_malformed`, without a space and a token.
    """
    text = value[:LONGEST]
    if isinstance(text, bytes):
        text = text.decode("latin-1")  # any byte is a character
    scheme = text[:7].lower()
    if scheme == _BEARER:
        return text[7:]
    if scheme == "bearer\t" or text.lower().strip(" \t") == "bearer":
        raise _malformed()
    return None


def check_form(token: str) -> None:
    """Check the form of a token.

    :raises Refused: `authorization_malformed`.
    """
    letters = token.rstrip("=")
    if not letters or not letters.isascii() or letters.encode("ascii").translate(None, _TOKEN68):
        raise _malformed()


def read_bearer(value: str | bytes) -> str | None:
    """Return a Bearer header's token, or None for another scheme.

    :raises Refused: `authorization_malformed`, for anything but one space and one token68.
    """
    token = likely_token(value)
    if token is not None:
        check_form(token)
    return token


def read_basic(value: str) -> tuple[str, str] | None:
    """Return name and password of a Basic header, or None for another scheme.

    :raises Refused: `invalid_client`, when it cannot be read.
    """
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = b64decode(encoded, validate=True).decode()
    except ValueError:
        pair = ""
    name, colon, password = pair.partition(":")
    if not colon:
        raise Refused("The Authorization header cannot be read.", code="invalid_client")
    return name, password


def missing() -> TokenError:
    """Make the error of a request without a token."""
    return TokenError("This needs an access token: send `Authorization: Bearer <token>`.", code="token_missing")


def key_in_address() -> TokenError:
    """Make the error of a request without a token, whose address holds an API key."""
    return TokenError(
        "An API key in an address is not read, because addresses end in logs: send `Authorization: Bearer <key>`, "
        "and rotate this key.",
        code="token_missing",
    )


def _malformed() -> Refused:
    return Refused(
        "Send exactly one header of the form `Authorization: Bearer <token>`.", code="authorization_malformed"
    )
