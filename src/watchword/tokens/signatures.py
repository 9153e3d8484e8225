"""The bare signature operations, one function per scheme."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from watchword.tokens.algorithms import Algorithm
from watchword.tokens.material import CURVE_ORDERS, PrivateMaterial, PublicMaterial

Check = Callable[[bytes, bytes], bool]
Sign = Callable[[bytes], bytes]

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512(),
}  # fmt: skip


def checker(material: PublicMaterial | bytes, row: Algorithm) -> Check:
    """Return a function of (signature, signing input) that returns whether they match."""
    if isinstance(material, bytes):
        return _hmac_checker(material, str(row.digest))
    if isinstance(material, rsa.RSAPublicKey):
        return _rsa_checker(material, row)
    if isinstance(material, ec.EllipticCurvePublicKey):
        return _ecdsa_checker(material, row)
    return _eddsa_checker(material)


def signer(material: PrivateMaterial | bytes, row: Algorithm) -> Sign:
    """Return a function that signs the signing input."""
    if isinstance(material, bytes):
        secret, digest = material, str(row.digest)
        return lambda signing_input: hmac.digest(secret, signing_input, digest)
    if isinstance(material, rsa.RSAPrivateKey):
        key, pad, digest_object = material, _padding(row), _HASHES[str(row.digest)]
        return lambda signing_input: key.sign(signing_input, pad, digest_object)
    if isinstance(material, ec.EllipticCurvePrivateKey):
        return _ecdsa_signer(material, row)
    return material.sign


def _hmac_checker(secret: bytes, digest: str) -> Check:
    def matches(signature: bytes, signing_input: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(secret, signing_input, digest), signature)

    return matches


def _padding(row: Algorithm) -> padding.AsymmetricPadding:
    if row.scheme == "PKCS1":
        return padding.PKCS1v15()
    # The salt is exactly as long as the hash, also when verifying (RFC 7518 section 3.5).
    return padding.PSS(padding.MGF1(_HASHES[str(row.digest)]), row.digest_bytes)


def _rsa_checker(key: rsa.RSAPublicKey, row: Algorithm) -> Check:
    pad, digest = _padding(row), _HASHES[str(row.digest)]

    def matches(signature: bytes, signing_input: bytes) -> bool:
        try:
            key.verify(signature, signing_input, pad, digest)
        except (InvalidSignature, ValueError):
            return False
        return True

    return matches


def _ecdsa_checker(key: ec.EllipticCurvePublicKey, row: Algorithm) -> Check:
    scheme = ec.ECDSA(_HASHES[str(row.digest)])
    order, half = CURVE_ORDERS[str(row.curve)], cast(int, row.signature_bytes) // 2
    verify, to_der, from_bytes = key.verify, encode_dss_signature, int.from_bytes

    def matches(signature: bytes, signing_input: bytes) -> bool:
        r, s = from_bytes(signature[:half], "big"), from_bytes(signature[half:], "big")
        # Not left to the library: a verifier accepted r = s = 0 for everything (CVE-2022-21449).
        if not (0 < r < order and 0 < s < order):
            return False
        try:
            verify(to_der(r, s), signing_input, scheme)
        except (InvalidSignature, ValueError):
            return False
        return True

    return matches


def _eddsa_checker(key: ed25519.Ed25519PublicKey) -> Check:
    def matches(signature: bytes, signing_input: bytes) -> bool:
        try:
            key.verify(signature, signing_input)
        except (InvalidSignature, ValueError):
            return False
        return True

    return matches


def _ecdsa_signer(key: ec.EllipticCurvePrivateKey, row: Algorithm) -> Sign:
    # Deterministic (RFC 6979): independent of the moment's randomness, for a tenth more time.
    scheme = ec.ECDSA(_HASHES[str(row.digest)], deterministic_signing=True)
    half = cast(int, row.signature_bytes) // 2

    def sign(signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signing_input, scheme))
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")

    return sign
