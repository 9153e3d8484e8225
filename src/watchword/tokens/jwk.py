"""JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037) and RFC 7638 thumbprints.

JWKs are untrusted: type, canonical encoding and length of every member are checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from watchword import base64url
from watchword.errors import InvalidKey
from watchword.tokens.material import CURVES, MAX_RSA_BITS, PrivateMaterial, PublicMaterial, shape

# Members of private and symmetric keys, never to be published.
PRIVATE_MEMBERS: Final = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))

_COORDINATE_BYTES: Final = {"P-256": 32, "P-384": 48, "P-521": 66}
_THUMBPRINT_MEMBERS: Final = {
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "oct": ("k", "kty"),
}
_MAX_SECRET_BYTES: Final = 4096


def read_public(jwk: Mapping[str, Any]) -> PublicMaterial | bytes:
    """Return a JWK's public key or shared secret. Other members are ignored.

    :raises InvalidKey: unknown `kty` or `crv`, a missing or badly encoded member, a point off its curve.
    """
    kty = jwk.get("kty")
    try:
        if kty == "RSA":
            return rsa.RSAPublicNumbers(e=_integer(jwk, "e"), n=_integer(jwk, "n")).public_key()
        if kty == "EC":
            return _read_point(jwk).public_key()
        if kty == "OKP":
            _require_ed25519(jwk)
            return ed25519.Ed25519PublicKey.from_public_bytes(_octets(jwk, "x", 32))
    except InvalidKey:
        raise
    except (ValueError, OverflowError) as error:
        raise InvalidKey("The JWK's numbers are no public key.") from error
    if kty == "oct":
        return _octets(jwk, "k", None)
    raise InvalidKey("The JWK is of an unknown key type.")


def read_private(jwk: Mapping[str, Any]) -> PrivateMaterial | bytes:
    """Return a JWK's private key or shared secret.

    :raises InvalidKey: as `read_public`; a private member is missing, or does not belong to the public ones.
    """
    public = read_public(jwk)
    if isinstance(public, bytes):
        return public
    private: PrivateMaterial
    try:
        if isinstance(public, rsa.RSAPublicKey):
            private = _read_rsa_private(jwk, public.public_numbers())
        elif isinstance(public, ec.EllipticCurvePublicKey):
            size = _COORDINATE_BYTES[str(jwk["crv"])]
            private = ec.derive_private_key(int.from_bytes(_octets(jwk, "d", size), "big"), public.curve)
        else:
            private = ed25519.Ed25519PrivateKey.from_private_bytes(_octets(jwk, "d", 32))
    except InvalidKey:
        raise
    except (ValueError, OverflowError) as error:
        raise InvalidKey("The JWK's numbers are no private key.") from error
    if private.public_key() != public:
        raise InvalidKey("The JWK's private members do not belong to its public ones.")
    return private


def write_public(material: PublicMaterial | bytes) -> dict[str, str]:
    """Return the key's own members; a shared secret's include the secret itself."""
    kty, curve = shape(material)
    if isinstance(material, bytes):
        return {"kty": kty, "k": base64url.encode_text(material)}
    if isinstance(material, rsa.RSAPublicKey):
        rsa_numbers = material.public_numbers()
        return {"kty": kty, "n": _number_text(rsa_numbers.n), "e": _number_text(rsa_numbers.e)}
    if isinstance(material, ec.EllipticCurvePublicKey):
        numbers, size = material.public_numbers(), _COORDINATE_BYTES[str(curve)]
        x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
        return {"kty": kty, "crv": str(curve), "x": base64url.encode_text(x), "y": base64url.encode_text(y)}
    return {
        "kty": kty,
        "crv": str(curve),
        "x": base64url.encode_text(material.public_bytes(Encoding.Raw, PublicFormat.Raw)),
    }


def write_private(material: PrivateMaterial | bytes) -> dict[str, str]:
    """Return all members, private ones included."""
    if isinstance(material, bytes):
        return write_public(material)
    members = write_public(material.public_key())
    if isinstance(material, rsa.RSAPrivateKey):
        numbers = material.private_numbers()
        for name, value in (
            ("d", numbers.d), ("p", numbers.p), ("q", numbers.q),
            ("dp", numbers.dmp1), ("dq", numbers.dmq1), ("qi", numbers.iqmp),
        ):  # fmt: skip
            members[name] = _number_text(value)
        return members
    if isinstance(material, ec.EllipticCurvePrivateKey):
        size = _COORDINATE_BYTES[members["crv"]]
        return members | {"d": base64url.encode_text(material.private_numbers().private_value.to_bytes(size, "big"))}
    return members | {
        "d": base64url.encode_text(material.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    }


def thumbprint(members: Mapping[str, str]) -> str:
    """Return base64url of SHA-256 over the required members (RFC 7638).

    A shared secret's thumbprint is a hash of it (section 7). That reveals no more than a token's MAC does, and secrets
    that could be guessed are refused.
    """
    required = {name: members[name] for name in _THUMBPRINT_MEMBERS[members["kty"]]}
    return base64url.encode_text(sha256(json.dumps(required, separators=(",", ":")).encode("ascii")).digest())


def _read_point(jwk: Mapping[str, Any]) -> ec.EllipticCurvePublicNumbers:
    crv = jwk.get("crv")
    curve = CURVES.get(crv) if isinstance(crv, str) else None
    if curve is None:
        raise InvalidKey("The JWK is on an unknown curve.")
    size = _COORDINATE_BYTES[str(crv)]
    x, y = _octets(jwk, "x", size), _octets(jwk, "y", size)
    return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)


def _read_rsa_private(jwk: Mapping[str, Any], public: rsa.RSAPublicNumbers) -> rsa.RSAPrivateKey:
    if "oth" in jwk:
        raise InvalidKey("RSA keys of more than two primes are not supported.")
    d, p, q = _integer(jwk, "d"), _integer(jwk, "p"), _integer(jwk, "q")
    if min(p, q, d) <= 1:
        raise InvalidKey("The JWK's numbers are no private key.")
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), public)
    return numbers.private_key()


def _require_ed25519(jwk: Mapping[str, Any]) -> None:
    if jwk.get("crv") != "Ed25519":
        raise InvalidKey("The JWK is on an unknown curve.")


def _octets(jwk: Mapping[str, Any], name: str, size: int | None) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or len(value) > 2 * _MAX_SECRET_BYTES:
        raise InvalidKey(f"The JWK's member {name} is missing or not a string.")
    try:
        data = base64url.decode(value)
    except ValueError as error:
        raise InvalidKey(f"The JWK's member {name} is not canonical base64url.") from error
    if size is not None and len(data) != size:
        raise InvalidKey(f"The JWK's member {name} has the wrong length.")
    return data


def _integer(jwk: Mapping[str, Any], name: str) -> int:
    data = _octets(jwk, name, None)
    if not 0 < len(data) <= MAX_RSA_BITS // 8 + 1:  # some writers prepend a zero octet
        raise InvalidKey(f"The JWK's member {name} has the wrong length.")
    return int.from_bytes(data, "big")


def _number_text(number: int) -> str:
    return base64url.encode_text(number.to_bytes((number.bit_length() + 7) // 8, "big"))
