"""Keys: one object, one algorithm (RFC 8725 section 3.1, checklist A6 to A8).

A token must agree with its key's algorithm. Shared secrets have their own constructor: no text or bytes become one by
accident.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from watchword.errors import InvalidKey
from watchword.known_secrets import check_shared_secret
from watchword.tokens import jwk as jwk_format
from watchword.tokens import material as material_rules
from watchword.tokens.algorithms import ALGORITHMS, Algorithm, fitting
from watchword.tokens.material import PrivateMaterial, PublicMaterial
from watchword.tokens.revocations import mark_of
from watchword.tokens.signatures import Check, Sign, checker, signer

GENERATED_RSA_BITS = 2048
_MAX_PEM = 32 * 1024
_MAX_KID = 255


class _Immutable:
    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # Against keys that end up in pickles and copies.
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied")


class VerificationKey(_Immutable):
    """A public key and its one algorithm, made by the class methods only.

    `kid` is the JWK's own, else the RFC 7638 thumbprint. `matches(signature, signing_input)` returns a bool.
    """

    __slots__ = ("_material", "algorithm", "kid", "mark", "matches", "signature_bytes")

    kid: str
    algorithm: str
    signature_bytes: int
    mark: int
    matches: Check
    _material: PublicMaterial | bytes

    def __init__(self, material: PublicMaterial | bytes, algorithm: str, kid: str | None = None) -> None:
        row = algorithm_named(algorithm)
        material_rules.check(material, row)
        if isinstance(material, bytes) is not isinstance(self, SharedSecretKey):
            raise InvalidKey("A shared secret is made with VerificationKey.shared_secret, and only a shared secret.")
        fill = object.__setattr__
        fill(self, "_material", material)
        fill(self, "algorithm", row.name)
        fill(self, "kid", kid or jwk_format.thumbprint(jwk_format.write_public(material)))
        fill(self, "mark", mark_of(self.kid))
        fill(self, "signature_bytes", row.signature_bytes or _modulus_bytes(material))
        fill(self, "matches", checker(material, row))

    @property
    def symmetric(self) -> bool:
        """Return whether this key can also sign."""
        return False

    @classmethod
    def from_pem(cls, pem: bytes, algorithm: str) -> VerificationKey:
        """Read a PEM public key (at most 32 KiB).

        :raises InvalidKey: no public key, or unfit for the algorithm.
        """
        try:
            material = load_pem_public_key(_pem_bytes(pem))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InvalidKey("This is not a public key in PEM form.") from error
        if not isinstance(material, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
            raise InvalidKey("Keys of this type are not supported.")
        return VerificationKey(material, algorithm)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], algorithm: str | None = None) -> VerificationKey:
        """Read a JWK for signatures (`use`, `key_ops`).

        :param algorithm: must equal `alg` if both are given. Without either the key type decides: ES256, ES384 or ES512
            by the curve, EdDSA, RS256, HS256.
        :raises InvalidKey: the JWK is unfit.
        """
        _check_purpose(jwk, "verify")
        found = jwk_format.read_public(jwk)
        name = _algorithm_of(jwk, found, algorithm)
        kind = SharedSecretKey if isinstance(found, bytes) else VerificationKey
        return kind(found, name, _kid_of(jwk))

    @classmethod
    def shared_secret(cls, secret: bytes, algorithm: str = "HS256") -> VerificationKey:
        """Check and wrap a shared secret.

        :raises InvalidKey: it is short, known from tutorials, or a key file.
        """
        check_shared_secret(secret)
        return SharedSecretKey(bytes(secret), algorithm)

    def public_jwk(self) -> dict[str, str]:
        """Return the public members, with `use`, `alg`, `kid`.

        :raises InvalidKey: for a shared secret.
        """
        if isinstance(self._material, bytes):
            raise InvalidKey("A shared secret has no public form.")
        return jwk_format.write_public(self._material) | {"use": "sig", "alg": self.algorithm, "kid": self.kid}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.algorithm} kid={self.kid}>"


class SharedSecretKey(VerificationKey):
    """A verification key that can also sign: HS256, HS384, HS512."""

    __slots__ = ()

    @property
    def symmetric(self) -> bool:
        """Return True."""
        return True


class SigningKey(_Immutable):
    """A private key and its one algorithm, made by the class methods only.

    `kid` is the RFC 7638 thumbprint. `headers` caches the encoded header for each `typ`.
    """

    __slots__ = ("_material", "algorithm", "headers", "kid", "sign", "verification_key")

    kid: str
    algorithm: str
    verification_key: VerificationKey
    sign: Sign
    _material: PrivateMaterial | bytes
    headers: dict[str | None, bytes]

    def __init__(self, material: PrivateMaterial | bytes, algorithm: str) -> None:
        row = algorithm_named(algorithm)
        if isinstance(material, bytes):
            public: VerificationKey = SharedSecretKey(material, algorithm)
        else:
            public = VerificationKey(material.public_key(), algorithm)
        fill = object.__setattr__
        fill(self, "_material", material)
        fill(self, "headers", {})
        fill(self, "algorithm", row.name)
        fill(self, "verification_key", public)
        fill(self, "kid", public.kid)
        fill(self, "sign", signer(material, row))

    @classmethod
    def generate(cls, algorithm: str) -> SigningKey:
        """Make a random key: 2048 bits for RSA, the hash's length for a secret."""
        row = algorithm_named(algorithm)
        if row.kty == "oct":
            return cls(os.urandom(row.digest_bytes), algorithm)
        if row.kty == "RSA":
            return cls(rsa.generate_private_key(65537, GENERATED_RSA_BITS), algorithm)
        if row.kty == "EC":
            return cls(ec.generate_private_key(material_rules.CURVES[str(row.curve)]), algorithm)
        return cls(ed25519.Ed25519PrivateKey.generate(), algorithm)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], algorithm: str | None = None) -> SigningKey:
        """Read a private JWK as `VerificationKey.from_jwk` does; ignore its `kid`."""
        _check_purpose(jwk, "sign")
        found = jwk_format.read_private(jwk)
        public = found if isinstance(found, bytes) else found.public_key()
        return cls(found, _algorithm_of(jwk, public, algorithm))

    @classmethod
    def shared_secret(cls, secret: bytes, algorithm: str = "HS256") -> SigningKey:
        """Wrap a secret as `VerificationKey.shared_secret` does."""
        check_shared_secret(secret)
        return cls(bytes(secret), algorithm)

    def public_jwk(self) -> dict[str, str]:
        """Return the public members. :raises InvalidKey: for a shared secret."""
        return self.verification_key.public_jwk()

    def to_private_jwk(self) -> dict[str, str]:
        """Return all members, secret ones too: encrypt them."""
        return jwk_format.write_private(self._material) | {"use": "sig", "alg": self.algorithm, "kid": self.kid}

    def __repr__(self) -> str:
        return f"<SigningKey {self.algorithm} kid={self.kid}>"


class KeySet(_Immutable):
    """Immutable verification keys by `kid`.

    :raises InvalidKey: a repeated `kid`, or shared secrets beside public keys (a public key could pass for a secret).
    """

    __slots__ = ("_by_kid",)

    _by_kid: dict[str, VerificationKey]

    def __init__(self, keys: Iterable[VerificationKey] = ()) -> None:
        listed = tuple(keys)
        if not all(isinstance(key, VerificationKey) for key in listed):
            raise InvalidKey("A key set holds verification keys, not text or bytes.")
        by_kid = {key.kid: key for key in listed}
        if len(by_kid) != len(listed):
            raise InvalidKey("Two keys of the set have the same id.")
        if len({key.symmetric for key in listed}) > 1:
            raise InvalidKey("A key set holds either public keys or shared secrets, not both.")
        object.__setattr__(self, "_by_kid", by_kid)

    def find(self, kid: str) -> VerificationKey | None:
        """Return the key, or None."""
        return self._by_kid.get(kid)

    def __iter__(self) -> Iterator[VerificationKey]:
        return iter(self._by_kid.values())

    def __len__(self) -> int:
        return len(self._by_kid)

    def __contains__(self, kid: object) -> bool:
        return kid in self._by_kid

    def __repr__(self) -> str:
        return f"<KeySet {', '.join(self._by_kid)}>"


def algorithm_named(name: object) -> Algorithm:
    """Return the table's row. :raises InvalidKey: an unknown name."""
    row = ALGORITHMS.get(name) if isinstance(name, str) else None
    if row is None:
        raise InvalidKey("This algorithm is not supported.")
    return row


def _algorithm_of(jwk: Mapping[str, Any], material: PublicMaterial | bytes, asked: str | None) -> str:
    named = jwk.get("alg")
    if "alg" in jwk and not isinstance(named, str):
        raise InvalidKey("The JWK's alg is not a string.")
    if named is not None and asked is not None and named != asked:
        raise InvalidKey("The JWK is for another algorithm.")
    if named is None and asked is None:
        return next((row.name for row in fitting(*material_rules.shape(material))), "")
    return str(named or asked)


def _kid_of(jwk: Mapping[str, Any]) -> str | None:
    kid = jwk.get("kid")
    if "kid" in jwk and (not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID):
        raise InvalidKey("The JWK's kid is not a short string.")
    return kid


def _check_purpose(jwk: object, operation: str) -> None:
    if not isinstance(jwk, Mapping):
        raise InvalidKey("A JWK is a mapping.")
    if "use" in jwk and jwk["use"] != "sig":
        raise InvalidKey("The JWK is not meant for signatures (use).")
    if "key_ops" not in jwk:
        return
    operations = jwk["key_ops"]
    if not isinstance(operations, list | tuple) or operation not in operations:
        raise InvalidKey(f"The JWK is not meant to {operation} with (key_ops).")
    if not all(isinstance(entry, str) for entry in operations) or len(set(operations)) != len(operations):
        raise InvalidKey("The JWK's key_ops are not a list of different names.")


def _pem_bytes(pem: object) -> bytes:
    if not isinstance(pem, bytes) or len(pem) > _MAX_PEM:
        raise ValueError("PEM is given as bytes, at most 32 KiB")
    return pem


def _modulus_bytes(material: PublicMaterial | bytes) -> int:
    return (material.key_size + 7) // 8 if isinstance(material, rsa.RSAPublicKey) else 0
