"""Everything known about each signature algorithm, in one table (RFC 7518 section 3.1, RFC 8037, RFC 9864).

Nothing else in the package knows a hash, a curve or a length. `none` is not an algorithm and has no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scheme = Literal["HMAC", "PKCS1", "PSS", "ECDSA", "EdDSA"]
KeyType = Literal["oct", "RSA", "EC", "OKP"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row of the table.

    :param name: the `alg` value, compared exactly and case-sensitively.
    :param kty: the JWK key type that it needs.
    :param curve: the JWK `crv` that it needs, or None.
    :param digest: name of the hash for `hashlib`, or None where the scheme contains it.
    :param digest_bytes: length of that hash; for HMAC also the least length of the secret (RFC 7518 section 3.2).
    :param signature_bytes: exact length of a signature; None for RSA, where it is the length of the modulus.
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
        """Return whether a key that verifies can also sign."""
        return self.scheme == "HMAC"

    def fits(self, kty: str, curve: str | None) -> bool:
        """Whether a key of this type, on this curve, can be used with the algorithm."""
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
    Algorithm("EdDSA",   "EdDSA", "OKP", "Ed25519", None,     0,     64),  # polymorphic name, RFC 8037; Ed25519 only
    Algorithm("Ed25519", "EdDSA", "OKP", "Ed25519", None,     0,     64),  # fully specified name, RFC 9864
)
# fmt: on

ALGORITHMS: dict[str, Algorithm] = {row.name: row for row in _TABLE}


def fitting(kty: str, curve: str | None) -> tuple[Algorithm, ...]:
    """The algorithms that a key of this type and curve could be used with, in the order of the table."""
    return tuple(row for row in _TABLE if row.fits(kty, curve))
