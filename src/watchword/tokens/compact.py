"""A strict reading of the JWS compact serialisation (RFC 7515 sections 3.1, 5.2 and 7.1).

The caller reads the header, chooses a key, and only then decodes the other parts.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from watchword import base64url, strict_json
from watchword.errors import TokenError

MAX_TOKEN: Final = 8 * 1024
MAX_HEADER: Final = 1024
MAX_HEADER_DEPTH: Final = 4
MAX_KID: Final = 255

# Parameters by which a token could choose its key or change how it is read (RFC 8725 section 3.10).
REFUSED_PARAMETERS: Final = frozenset(("crit", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "b64", "zip"))

_SEGMENT_CHARACTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_OWN_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Parts(NamedTuple):
    """A compact JWS's encoded segments and signed bytes."""

    header: bytes
    payload: bytes
    signature: bytes
    signing_input: bytes


def malformed(message: str) -> TokenError:
    """Return the error for an unreadable token."""
    return TokenError(message, code="token_malformed")


def split(token: object) -> Parts:
    """Split a token: check size, then characters and exactly two dots.

    :raises TokenError: `token_malformed`.
    """
    if not isinstance(token, str | bytes) or not token:
        raise malformed("The token is not a string.")
    if len(token) > MAX_TOKEN:
        raise malformed("The token is too long.")
    try:
        raw = token.encode("ascii") if isinstance(token, str) else token
    except UnicodeEncodeError:
        raise malformed("The token contains characters that no token has.") from None
    # One pass in C: only two dots remain.
    if raw.translate(None, _SEGMENT_CHARACTERS) != b"..":
        if raw[:7].lower() == b"bearer ":
            raise malformed(
                "Leave out `Bearer`: it belongs to the header, not to the token. A guard's `check` takes headers."
            )
        raise malformed("The token is not three base64url parts joined by two dots.")
    signing_input, _, signature = raw.rpartition(b".")
    header, _, payload = signing_input.partition(b".")
    if not header or not signature:
        raise malformed("The token has an empty part.")
    return Parts(header, payload, signature, signing_input)


def read_header(segment: bytes) -> dict[str, Any]:
    """Parse a header segment; refuse `REFUSED_PARAMETERS`.

    :raises TokenError: `token_malformed`, `token_invalid`.
    """
    if len(segment) > MAX_HEADER:
        raise malformed("The token's header is too long.")
    try:
        header = strict_json.read_object(base64url.decode(segment), max_depth=MAX_HEADER_DEPTH)
    except ValueError as error:
        raise malformed("The token's header cannot be read.") from error
    if not REFUSED_PARAMETERS.isdisjoint(header):
        raise TokenError("The token's header has a parameter that is not accepted.")
    return header


def header_algorithm(header: dict[str, Any]) -> str:
    """Return `alg` for comparison with the caller's list (RFC 8725 section 3.1)."""
    algorithm = header.get("alg")
    if type(algorithm) is not str:
        raise TokenError("The token names no algorithm.")
    return algorithm


def header_kid(header: dict[str, Any], *, own: bool) -> str | None:
    """Return `kid`, or None.

    :param own: require our alphabet. A foreign `kid` is only compared with ids in memory.
    """
    kid = header.get("kid")
    if kid is None and "kid" not in header:
        return None
    if type(kid) is not str or not 0 < len(kid) <= MAX_KID or (own and not _OWN_KID.fullmatch(kid)):
        raise TokenError("The token's key id is not acceptable.")
    return kid


def decode_segment(segment: bytes) -> bytes:
    """Decode a payload or a signature canonically.

    :raises TokenError: `token_malformed`.
    """
    try:
        return base64url.decode(segment)
    except ValueError as error:
        raise malformed("The token is not canonical base64url.") from error
