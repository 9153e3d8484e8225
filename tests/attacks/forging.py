"""What an attacker has: any header, any payload, any bytes. And an honest issuer to attack."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from watchword.base64url import encode
from watchword.errors import TokenError
from watchword.tokens import AccessClaims, KeySet, Policy, SigningKey, Verifier, sign_access

NOW = 1_800_000_000
ISSUER = "https://auth.example.com"
AUDIENCE = "https://api.example.com"


def key(algorithm: str = "ES256") -> SigningKey:
    """The issuer's key; one per algorithm for the whole run, since RSA keys take long to make."""
    return _made(algorithm)


@cache
def _made(algorithm: str) -> SigningKey:
    return SigningKey.generate(algorithm)


def claims(**changed: Any) -> dict[str, Any]:
    """Acceptable claims, with changes. A claim changed to `...` is left out."""
    good = {
        "iss": ISSUER,
        "sub": "01930f3e-7c1a-7b2c-8d3e-4f5a6b7c8d9e",
        "aud": AUDIENCE,
        "exp": NOW + 900,
        "iat": NOW,
        "jti": "8f7c6b5a49382716",
        "client_id": "watchword",
        "sid": "01930f3e-7c1a-7b2c-8d3e-000000000001",
        "scope": "read write",
        "roles": ["admin"],
        "ver": 3,
        "auth_time": NOW,
        "amr": ["pwd"],
    } | changed
    return {name: value for name, value in good.items() if value is not ...}


def header(algorithm: str = "ES256", **changed: Any) -> dict[str, Any]:
    """An acceptable header, with changes."""
    good = {"alg": algorithm, "typ": "at+jwt", "kid": key(algorithm).kid} | changed
    return {name: value for name, value in good.items() if value is not ...}


def segment(value: Any) -> str:
    """A segment of bytes as they are, of text as UTF-8, or of anything else as JSON."""
    raw = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
    return encode(raw).decode()


def forge(head: Any, payload: Any, sign: Callable[[bytes], bytes] | None = None) -> str:
    """A token with any header and payload, signed by the honest ES256 key unless told otherwise.

    So what is refused is refused for the one thing that is wrong with it, never for its signature.
    """
    signing_input = f"{segment(head)}.{segment(payload)}"
    return f"{signing_input}.{segment((sign or key().sign)(signing_input.encode()))}"


def honest(algorithm: str = "ES256", **changed: Any) -> str:
    """A genuine token."""
    return sign_access(claims(**changed), key(algorithm))


def verifier(*algorithms: str, **policy: Any) -> Verifier:
    """A verifier that trusts the honest issuer's keys of these algorithms (ES256 if none is named)."""
    names = algorithms or ("ES256",)
    keys = KeySet(key(name).verification_key for name in names)
    return Verifier(Policy(ISSUER, AUDIENCE, names, **policy), keys)


def accept(token: Any, using: Verifier | None = None, now: int = NOW) -> AccessClaims:
    """Verify and give the claims."""
    return (using or verifier()).verify(token, now=now)


def refuse(token: Any, code: str, using: Verifier | None = None, now: int = NOW) -> None:
    """Verify, and fail unless it is refused with this code, twice: the first refusal must not leave it remembered."""
    chosen = using or verifier()
    for _ in range(2):
        with pytest.raises(TokenError) as caught:
            chosen.verify(token, now=now)
        assert caught.value.code == code
