"""Our tokens read with Python libraries, each used as its own documentation says.

A reader takes what an API knows and a token, and answers the token's `sub`, or raises one of `REFUSALS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import jwt
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey

from tests.interop.issued import Issued

Reader = Callable[[Issued, dict[str, str]], str]
REFUSALS = (jwt.PyJWTError, OAuth2Error, JoseError)


def _keys(issued: Issued) -> Any:
    """The published keys; with a shared secret there are none, and the secret takes their place."""
    if issued.secret is not None:
        return OctKey.import_key(issued.secret)
    return KeySet.import_key_set(httpx2.get(issued.key_set_url).json())


def read_with_pyjwt(issued: Issued, one: dict[str, str]) -> str:
    """PyJWT, with `PyJWKClient` for the keys."""
    key = issued.secret or jwt.PyJWKClient(issued.key_set_url).get_signing_key_from_jwt(one["token"])
    claims = jwt.decode(
        one["token"],
        key,
        algorithms=[issued.algorithm],
        issuer=one["issuer"],
        audience=one["audience"],
        options={"require": ["exp", "iat", "sub", "jti"]},
    )
    return str(claims["sub"])


def read_with_joserfc(issued: Issued, one: dict[str, str]) -> str:
    """Joserfc, with the claims required one by one."""
    token = joserfc_jwt.decode(one["token"], _keys(issued), algorithms=[issued.algorithm])
    required: Any = {
        "iss": {"essential": True, "value": one["issuer"]},
        "aud": {"essential": True, "value": one["audience"]},
        "exp": {"essential": True},
    }
    joserfc_jwt.JWTClaimsRegistry(**required).validate(token.claims)
    return str(token.claims["sub"])


def read_with_authlib(issued: Issued, one: dict[str, str]) -> str:
    """Authlib's validator of RFC 9068 access tokens."""
    validator = _Authlib(issued, one["issuer"], one["audience"])
    token = validator.authenticate_token(one["token"])
    validator.validate_token(token, None, None)
    return str(token["sub"])


class _Authlib(JWTBearerTokenValidator):
    def __init__(self, issued: Issued, issuer: str, audience: str) -> None:
        super().__init__(issuer=issuer, resource_server=audience)
        self._issued = issued

    def get_jwks(self) -> Any:
        return _keys(self._issued)


# Library: reader, algorithms. Authlib's validator takes joserfc's recommended algorithms and cannot be told otherwise.
READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "PyJWT": (read_with_pyjwt, ("ES256", "RS256", "PS256", "EdDSA", "HS256")),
    "joserfc": (read_with_joserfc, ("ES256", "RS256", "PS256", "EdDSA", "Ed25519", "HS256")),
    "Authlib": (read_with_authlib, ("ES256", "RS256", "HS256")),
}
