"""Tokens signed with Python libraries, with keys made here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from jwt.algorithms import get_default_algorithms

KID = "theirs"


class Signed(NamedTuple):
    """A token of somebody else's library, and the JWK that verifies it."""

    library: str
    algorithm: str
    token: str
    key: dict[str, Any]


def kid_of_secret(secret: str) -> str:
    """A shared secret's `kid` in our tokens, as others compute it: its RFC 7638 thumbprint."""
    return OctKey.import_key(secret).thumbprint()


def signed_with_pyjwt(claims: dict[str, Any], secret: str) -> Iterator[Signed]:
    """With each algorithm of PyJWT that we know."""
    keys: dict[str, Any] = {
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "ES512": ec.generate_private_key(ec.SECP521R1()),
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "PS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        "HS256": secret.encode(),
    }
    for algorithm, key in keys.items():
        public = key if algorithm == "HS256" else key.public_key()
        jwk = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
        kid = kid_of_secret(secret) if algorithm == "HS256" else KID
        token = jwt.encode(claims, key, algorithm, headers={"typ": "at+jwt", "kid": kid})
        jwk |= {"alg": algorithm, "kid": kid, "key_ops": ["verify"]}  # PyJWT marks a secret for signing only
        yield Signed("PyJWT", algorithm, token, jwk)


def signed_with_joserfc(claims: dict[str, Any], secret: str) -> Iterator[Signed]:
    """With each algorithm of joserfc that we know. Authlib signs by joserfc."""
    keys: dict[str, Any] = {
        "ES256": ECKey.generate_key("P-256"),
        "ES384": ECKey.generate_key("P-384"),
        "ES512": ECKey.generate_key("P-521"),
        "RS256": RSAKey.generate_key(2048),
        "PS256": RSAKey.generate_key(2048),
        "PS512": RSAKey.generate_key(2048),
        "EdDSA": OKPKey.generate_key("Ed25519"),
        "Ed25519": OKPKey.generate_key("Ed25519"),
        "HS256": OctKey.import_key(secret),
    }
    for algorithm, key in keys.items():
        kid = kid_of_secret(secret) if algorithm == "HS256" else KID
        header = {"typ": "at+jwt", "alg": algorithm, "kid": kid}
        token = joserfc_jwt.encode(header, claims, key, algorithms=[algorithm])
        jwk = key.as_dict(private=algorithm == "HS256")
        yield Signed("joserfc", algorithm, token, {**jwk, "alg": algorithm, "kid": kid})
