"""Signing: claims in, compact JWS out (RFC 7515 section 7.1, RFC 9068 section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from watchword import base64url
from watchword.tokens.claims import REQUIRED_CLAIMS
from watchword.tokens.compact import MAX_HEADER, MAX_TOKEN, REFUSED_PARAMETERS
from watchword.tokens.keys import SigningKey

ACCESS_TYPE: Final = "at+jwt"
_MAX_TYPES: Final = 16
_encode = msgspec.json.Encoder().encode


def sign_access(claims: dict[str, Any], key: SigningKey) -> str:
    """Sign an access token: header `typ` = `at+jwt`, `alg`, `kid`.

    :param claims: at least `REQUIRED_CLAIMS` (RFC 9068 section 2.2).
    :raises ValueError: a claim is missing, or the token is too long.
    """
    if not claims.keys() >= REQUIRED_CLAIMS:
        raise ValueError(f"claims are missing: {', '.join(sorted(REQUIRED_CLAIMS - claims.keys()))}")
    return sign_access_unchecked(claims, key)


def sign_access_unchecked(claims: dict[str, Any], key: SigningKey) -> str:
    """Sign without `REQUIRED_CLAIMS`, for tests.

    :raises ValueError: the token is too long.
    """
    return _sign(_encode(claims), key, _header(key, ACCESS_TYPE))


def sign_compact(
    payload: bytes, key: SigningKey, typ: str | None = None, header: Mapping[str, Any] | None = None
) -> str:
    """Sign arbitrary bytes.

    :param typ: one for each kind, so that none passes for another (RFC 8725 section 3.11).
    :param header: more parameters.
    :raises ValueError: a refused parameter, or too long.
    """
    if header is None:
        return _sign(payload, key, _header(key, typ))
    taken = header.keys() & ({"alg", "kid", "typ"} | REFUSED_PARAMETERS)
    if taken:
        raise ValueError(f"header parameters that cannot be given: {', '.join(sorted(taken))}")
    return _sign(payload, key, _header_segment(key, typ, header))


def _sign(payload: bytes, key: SigningKey, header: bytes) -> str:
    signing_input = b"%b.%b" % (header, base64url.encode(payload))
    token = b"%b.%b" % (signing_input, base64url.encode(key.sign(signing_input)))
    if len(token) > MAX_TOKEN:
        raise ValueError(f"the token would have {len(token)} bytes; the limit is {MAX_TOKEN}")
    return token.decode("ascii")


def _header(key: SigningKey, typ: str | None) -> bytes:
    known = key.headers.get(typ)
    if known is not None:
        return known
    segment = _header_segment(key, typ, {})
    if len(key.headers) < _MAX_TYPES:
        key.headers[typ] = segment
    return segment


def _header_segment(key: SigningKey, typ: str | None, further: Mapping[str, Any]) -> bytes:
    named = {"alg": key.algorithm} | ({} if typ is None else {"typ": typ}) | {"kid": key.kid}
    segment = base64url.encode(_encode(named | dict(further)))
    if len(segment) > MAX_HEADER:
        raise ValueError("the header is too long")
    return segment
