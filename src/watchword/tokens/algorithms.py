"""Each signature algorithm (RFC 7518 section 3.1, RFC 8037, RFC 9864).

Nothing else knows a hash, curve or length. `none` has no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scheme = Literal["HMAC", "PKCS1", "PSS", "ECDSA", "EdDSA"]
KeyType = Literal["oct", "RSA", "EC", "OKP"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row of the table.

    :param curve: JWK `crv`, or None.
    :param digest: hash for `hashlib`; None where the scheme contains it.
    :param digest_bytes: its length; an HMAC secret's least (RFC 7518 section 3.2).
    :param signature_bytes: exact length; None for RSA (the modulus's).
    """

    name: str
    scheme: Scheme
    kty: KeyType
    curve: str | None
    digest: str | None
    digest_bytes: int
    signature_bytes: int | None

    @property
    def symmetric(self) -> bool:
        """Return whether a verifying key can also sign."""
        return self.scheme == "HMAC"

    def fits(self, kty: str, curve: str | None) -> bool:
        """Return whether such a key fits."""
        return self.kty == kty and self.curve == curve


# fmt: off
_TABLE = (
    #         name       scheme   kty    curve      digest    bytes  signature
    Algorithm("HS256",   "HMAC",  "oct", None,      "sha256", 32,    32),
    Algorithm("HS384",   "HMAC",  "oct", None,      "sha384", 48,    48),
    Algorithm("HS512",   "HMAC",  "oct", None,      "sha512", 64,    64),
    Algorithm("RS256",   "PKCS1", "RSA", None,      "sha256", 32,    None),
    Algorithm("RS384",   "PKCS1", "RSA", None,      "sha384", 48,    None),
    Algorithm("RS512",   "PKCS1", "RSA", None,      "sha512", 64,    None),
    Algorithm("PS256",   "PSS",   "RSA", None,      "sha256", 32,    None),
    Algorithm("PS384",   "PSS",   "RSA", None,      "sha384", 48,    None),
    Algorithm("PS512",   "PSS",   "RSA", None,      "sha512", 64,    None),
    Algorithm("ES256",   "ECDSA", "EC",  "P-256",   "sha256", 32,    64),
    Algorithm("ES384",   "ECDSA", "EC",  "P-384",   "sha384", 48,    96),
    Algorithm("ES512",   "ECDSA", "EC",  "P-521",   "sha512", 64,    132),
    Algorithm("EdDSA",   "EdDSA", "OKP", "Ed25519", None,     0,     64),  # RFC 8037
    Algorithm("Ed25519", "EdDSA", "OKP", "Ed25519", None,     0,     64),  # RFC 9864
)
# fmt: on

ALGORITHMS: dict[str, Algorithm] = {row.name: row for row in _TABLE}


def fitting(kty: str, curve: str | None) -> tuple[Algorithm, ...]:
    """Return the algorithms that fit a key."""
    return tuple(row for row in _TABLE if row.fits(kty, curve))
