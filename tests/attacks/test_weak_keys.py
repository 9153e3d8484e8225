"""Keys that can be broken: ROCA (CVE-2017-15361), short RSA, small exponents, off-curve points, short secrets.

ruby-jwt CVE-2026-45363 and Authlib CVE-2026-114616 took empty secrets; Wycheproof's JSON Web Key group has the rest.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.attacks.forging import key
from tests.tokens.rfc_vectors import A3_KEY
from watchword.base64url import encode
from watchword.errors import InvalidKey
from watchword.tokens import SigningKey, VerificationKey
from watchword.tokens.material import _ROCA_PRIMES, is_roca


def text(number: int) -> str:
    return encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()


def rsa_jwk(n: int, e: int = 65537) -> dict[str, str]:
    return {"kty": "RSA", "n": text(n), "e": text(e)}


def modulus(bits: int = 2048) -> int:
    return rsa.generate_private_key(65537, bits).public_key().public_numbers().n


def roca_modulus() -> int:
    """A modulus as the faulty chips made them: both factors are k·M + (65537^a mod M), M a product of small primes."""
    product = 2
    for prime in _ROCA_PRIMES:
        product *= prime
    p = (1 << 1023) // product * product + pow(65537, 123_457, product)
    q = (1 << 1023) // product * product + 977 * product + pow(65537, 7_654_321, product)
    return p * q | 0


def test_A14_roca_keys_are_found_and_others_are_not() -> None:
    faulty = roca_modulus()
    assert faulty.bit_length() >= 2040
    assert is_roca(faulty)
    assert not is_roca(faulty + 2)
    assert not any(is_roca(modulus(1024)) for _ in range(5))


def test_A14_a_roca_key_is_refused() -> None:
    faulty = roca_modulus() * roca_modulus()
    assert is_roca(faulty)
    with pytest.raises(InvalidKey, match="ROCA"):
        VerificationKey.from_jwk(rsa_jwk(faulty))


@pytest.mark.parametrize("name", ["RS256", "PS512"])
def test_A14_rsa_has_2048_to_8192_bits(name: str) -> None:
    short = rsa.generate_private_key(65537, 1024)
    with pytest.raises(InvalidKey, match="1024"):
        SigningKey(short, name)
    with pytest.raises(InvalidKey, match="2047"):
        VerificationKey.from_jwk(rsa_jwk(2**2047 - 9), name)
    with pytest.raises(InvalidKey):
        VerificationKey.from_jwk(rsa_jwk(2**8192 + 3), name)
    with pytest.raises(InvalidKey):
        VerificationKey.from_jwk(rsa_jwk(2**100_000 + 3), name)


@pytest.mark.parametrize("e", [1, 2, 3, 17, 257, 65535, 65536, 65538, 2**64 + 1, 2**2000 + 1])
def test_A14_the_exponent_is_odd_and_at_least_65537(e: int) -> None:
    n = key("RS256").verification_key._material.public_numbers().n  # type: ignore[union-attr]
    assert VerificationKey.from_jwk(rsa_jwk(n, 65539)).kid
    with pytest.raises(InvalidKey):
        VerificationKey.from_jwk(rsa_jwk(n, e))


def test_A14_an_even_modulus_is_refused() -> None:
    with pytest.raises(InvalidKey):
        VerificationKey.from_jwk(rsa_jwk(2**2048 - 2))


def test_A14_a_point_that_is_not_on_its_curve_is_refused() -> None:
    zero = encode(bytes(32)).decode()
    wrong = encode((int.from_bytes(b"\x01" * 32, "big")).to_bytes(32, "big")).decode()
    for x, y in ((A3_KEY["x"], wrong), (zero, zero), (A3_KEY["y"], A3_KEY["x"])):
        with pytest.raises(InvalidKey):
            VerificationKey.from_jwk({"kty": "EC", "crv": "P-256", "x": x, "y": y})


@pytest.mark.parametrize(("name", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_A13_a_secret_shorter_than_its_hash_is_refused(name: str, least: int) -> None:
    for length in (0, 1, least - 1):
        for read in (VerificationKey.from_jwk, SigningKey.from_jwk):
            with pytest.raises(InvalidKey):
                read({"kty": "oct", "alg": name, "k": encode(bytes(range(length))).decode()})  # type: ignore[operator]
    longer = encode(bytes(range(least + 33))).decode()
    assert VerificationKey.from_jwk({"kty": "oct", "alg": name, "k": longer}).algorithm == name
