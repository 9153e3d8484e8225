"""Checks of key material, whatever its form (checklist A6, A13, A14).

Material is a public key object of `cryptography`, or a shared secret's bytes.
"""

from __future__ import annotations

import json
from base64 import b64decode
from functools import cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from watchword.errors import InvalidKey
from watchword.tokens.algorithms import Algorithm

PublicMaterial = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateMaterial = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192  # beyond, a forgery costs too much to verify
MIN_RSA_EXPONENT: Final = 65537
MAX_RSA_EXPONENT: Final = 2**64

CURVES: Final[dict[str, ec.EllipticCurve]] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
CURVE_NAMES: Final = {curve.name: name for name, curve in CURVES.items()}

# Order n of each curve's group (SEC 2, NIST SP 800-186): r and s lie in [1, n-1].
CURVE_ORDERS: Final = {
    "P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "P-384": int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
    "P-521": int("1" + "F" * 65 + "A51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409", 16),
}

# y of the Ed25519 points of order 1, 2, 4, 8: under such a "key" one signature fits many messages.
_ED25519_P: Final = 2**255 - 19
_Y8: Final = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
ED25519_SMALL_ORDER: Final = frozenset((0, 1, _ED25519_P - 1, _Y8, _ED25519_P - _Y8))

_ROCA_PRIMES: Final = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)  # fmt: skip


def shape(material: PublicMaterial | bytes) -> tuple[str, str | None]:
    """Return key type and curve, as in a JWK."""
    if isinstance(material, bytes):
        return "oct", None
    if isinstance(material, rsa.RSAPublicKey):
        return "RSA", None
    if isinstance(material, ec.EllipticCurvePublicKey):
        return "EC", CURVE_NAMES.get(material.curve.name, material.curve.name)
    return "OKP", "Ed25519"


def check(material: PublicMaterial | bytes, algorithm: Algorithm) -> None:
    """Refuse material that is unfit or too weak for the algorithm.

    :raises InvalidKey: says what is wrong, without the material.
    """
    if not algorithm.fits(*shape(material)):
        raise InvalidKey(f"This key is of another type or curve than {algorithm.name} needs.")
    if isinstance(material, bytes):
        _check_secret(material, algorithm)
    elif isinstance(material, rsa.RSAPublicKey):
        _check_rsa(material)
    elif isinstance(material, ed25519.Ed25519PublicKey):
        _check_ed25519(material)
    # `cryptography` loads only points on their curve, and not 0.


def _check_secret(secret: bytes, algorithm: Algorithm) -> None:
    if len(secret) < algorithm.digest_bytes:
        raise InvalidKey(
            f"A shared secret for {algorithm.name} needs {algorithm.digest_bytes} bytes; this one has {len(secret)}."
        )
    if looks_like_key_file(secret):
        raise InvalidKey("This is a key or certificate file, which may be public; it cannot be a shared secret.")


def _check_rsa(key: rsa.RSAPublicKey) -> None:
    numbers = key.public_numbers()
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise InvalidKey(f"An RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits; this one has {key.key_size}.")
    if not MIN_RSA_EXPONENT <= numbers.e < MAX_RSA_EXPONENT or numbers.e % 2 == 0 or numbers.n % 2 == 0:
        raise InvalidKey("The RSA public exponent is odd and at least 65537, and the modulus is odd.")
    if is_roca(numbers.n):
        raise InvalidKey("This RSA key was made by a faulty chip and can be factored (ROCA, CVE-2017-15361).")


@cache
def _powers_of_65537(prime: int) -> frozenset[int]:
    return frozenset(pow(65537, exponent, prime) for exponent in range(prime - 1))


def is_roca(modulus: int) -> bool:
    """Return whether the modulus has the fingerprint of Infineon's faulty generator (CVE-2017-15361).

    Its primes, and so their product, are powers of 65537 modulo every small prime. An ordinary modulus matches with a
    probability of 2^-27.
    """
    return all(modulus % prime in _powers_of_65537(prime) for prime in _ROCA_PRIMES)


def _check_ed25519(key: ed25519.Ed25519PublicKey) -> None:
    y = int.from_bytes(key.public_bytes(Encoding.Raw, PublicFormat.Raw), "little") & (2**255 - 1)
    if y >= _ED25519_P or y in ED25519_SMALL_ORDER:
        raise InvalidKey("This Ed25519 point has a small order or is not encoded canonically; it is no public key.")


def looks_like_key_file(secret: bytes, *, unwrap: int = 2) -> bool:
    """Return whether the bytes are a key, key set or certificate.

    A public key used as a shared secret lets everyone sign (CVE-2026-48526, CVE-2024-33663). Recognised: PEM, DER, SSH,
    JWK, JWK set, also after a byte order mark, in UTF-16, in base64.

    :param unwrap: layers of base64.
    """
    text = secret.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    text = text.strip()
    if b"-----BEGIN" in text or b"---- BEGIN" in text or _is_ssh(text) or _is_jwk(text) or _is_der(secret):
        return True
    if _is_point(secret):
        return True
    if unwrap == 0:
        return False
    try:
        inner = b64decode(b"".join(text.split()).replace(b"-", b"+").replace(b"_", b"/") + b"==", validate=False)
    except ValueError:
        return False
    return len(inner) > 0 and looks_like_key_file(inner, unwrap=unwrap - 1)


def _is_ssh(text: bytes) -> bool:
    # A line of authorized_keys, or its blob without leading zeros.
    return text.startswith((b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")) or text[1:].startswith(
        (b"ssh-rsa", b"ssh-ed25519", b"ecdsa-sha2-")
    )


def _is_jwk(text: bytes) -> bool:
    if not text.startswith((b"{", b"[")):
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return b'"kty"' in text
    entries = value if isinstance(value, list) else [value]
    return any(isinstance(entry, dict) and ("kty" in entry or "keys" in entry) for entry in entries)


def _is_der(data: bytes) -> bool:
    if not data.startswith(b"\x30"):
        return False
    from cryptography.x509 import load_der_x509_certificate  # slow to import, and few need it

    for load in (load_der_public_key, load_der_x509_certificate, _load_private):
        try:
            load(data)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        return True
    return False


def _load_private(data: bytes) -> object:
    return load_der_private_key(data, password=None)


def _is_point(data: bytes) -> bool:
    curve = {65: "P-256", 97: "P-384", 133: "P-521"}.get(len(data))
    if curve is None or not data.startswith(b"\x04"):
        return False
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(CURVES[curve], data)
    except ValueError:
        return False
    return True
