"""Keys: forms, thumbprints (B7), what is refused at construction (A6, A7, A8, A13, A14)."""

from __future__ import annotations

import copy
import os
import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ed448, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)

from tests.attacks.forging import key
from tests.tokens import rfc_vectors as rfc
from watchword.errors import InvalidKey
from watchword.tokens import KeySet, SharedSecretKey, SigningKey, VerificationKey
from watchword.tokens.algorithms import ALGORITHMS
from watchword.tokens.material import CURVE_ORDERS, CURVES, ED25519_SMALL_ORDER

ASYMMETRIC = [name for name, row in ALGORITHMS.items() if not row.symmetric]


def public_pem(signing: SigningKey) -> bytes:
    public = signing._material.public_key()  # type: ignore[union-attr]
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_B7_thumbprints_are_those_of_rfc_7638_and_rfc_8037() -> None:
    bare = {name: value for name, value in rfc.RFC7638_KEY.items() if name != "kid"}
    assert VerificationKey.from_jwk(bare).kid == rfc.RFC7638_THUMBPRINT
    assert SigningKey.from_jwk(rfc.ED25519_KEY).kid == rfc.ED25519_THUMBPRINT


def test_a_foreign_key_keeps_its_own_id_and_our_signing_keys_never_do() -> None:
    assert VerificationKey.from_jwk(rfc.RFC7638_KEY).kid == "2011-04-29"
    assert SigningKey.from_jwk({**rfc.ED25519_KEY, "kid": "mine"}).kid == rfc.ED25519_THUMBPRINT


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_private_jwk_brings_the_same_key_back(name: str) -> None:
    again = SigningKey.from_jwk(key(name).to_private_jwk())
    assert (again.kid, again.algorithm) == (key(name).kid, name)
    assert again.verification_key.matches(key(name).sign(b"message"), b"message")


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_pem_brings_the_same_public_key_back(name: str) -> None:
    assert VerificationKey.from_pem(public_pem(key(name)), name).kid == key(name).kid


def test_A7_keys_are_objects_and_a_shared_secret_is_a_type_of_its_own() -> None:
    secret = key("HS256").verification_key
    assert isinstance(secret, SharedSecretKey)
    assert secret.symmetric
    assert not isinstance(key("ES256").verification_key, SharedSecretKey)
    with pytest.raises(InvalidKey):
        KeySet([b"x" * 32])  # type: ignore[list-item]
    with pytest.raises(InvalidKey):
        VerificationKey(os.urandom(32), "HS256")
    with pytest.raises(InvalidKey):
        VerificationKey.from_pem("text", "ES256")  # type: ignore[arg-type]
    with pytest.raises(InvalidKey):
        VerificationKey.shared_secret("x" * 64)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("other", ALGORITHMS)
def test_A6_a_key_takes_only_an_algorithm_of_its_type_and_curve(name: str, other: str) -> None:
    jwk = {**key(name).to_private_jwk(), "alg": other}
    mine, theirs = ALGORITHMS[name], ALGORITHMS[other]
    fits = theirs.fits(mine.kty, mine.curve) and theirs.digest_bytes <= (mine.digest_bytes if mine.symmetric else 64)
    if fits:
        assert SigningKey.from_jwk(jwk).algorithm == other
    else:
        with pytest.raises(InvalidKey):
            SigningKey.from_jwk(jwk)


def test_A8_mixed_sets_and_duplicate_ids_are_refused() -> None:
    with pytest.raises(InvalidKey):
        KeySet([key("HS256").verification_key, key("ES256").verification_key])
    with pytest.raises(InvalidKey):
        KeySet([key("ES256").verification_key, key("ES256").verification_key])


def test_a_key_set_finds_by_id_and_cannot_be_changed() -> None:
    keys = KeySet([key("ES256").verification_key, key("RS256").verification_key])
    assert keys.find(key("RS256").kid) is key("RS256").verification_key
    assert keys.find("other") is None
    assert (len(keys), key("ES256").kid in keys) == (2, True)
    for thing in (keys, key("ES256"), key("ES256").verification_key):
        with pytest.raises(AttributeError):
            thing.kid = "other"  # type: ignore[union-attr]
        with pytest.raises(AttributeError):
            del thing._material  # type: ignore[union-attr]


def test_keys_show_no_secret_and_travel_nowhere() -> None:
    for name in ("HS256", "ES256", "RS256"):
        secret = key(name).to_private_jwk()
        shown = repr(key(name)) + repr(key(name).verification_key) + str(KeySet([key(name).verification_key]))
        assert secret.get("d", secret.get("k")) not in shown
        for travel in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                travel(key(name))


@pytest.mark.parametrize(
    "purpose",
    [
        {"use": "enc"},
        {"use": None},
        {"use": ["sig"]},
        {"key_ops": ["encrypt"]},
        {"key_ops": []},
        {"key_ops": "verify"},
        {"key_ops": None},
        {"key_ops": ["sign, verify"]},
        {"key_ops": ["verify", "verify", "sign"]},
        {"key_ops": ["verify", "sign", 1]},
    ],
)
def test_A14_a_key_is_used_only_for_what_it_says(purpose: dict[str, Any]) -> None:
    jwk = {name: value for name, value in key("ES256").to_private_jwk().items() if name != "use"}
    assert VerificationKey.from_jwk({**jwk, "key_ops": ["sign", "verify"]}).kid == key("ES256").kid
    for read in (VerificationKey.from_jwk, SigningKey.from_jwk):
        with pytest.raises(InvalidKey):
            read({**jwk, **purpose})  # type: ignore[operator]


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "RSA"},
        {"kty": "ec"},
        {"kty": None},
        {"kty": []},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"crv": []},
        {"x": "AAAA"},
        {"x": 1},
        {"y": "UI8exy-C06a7DUnjIdENkxeFtHM4-l_41LqEw9nVgmw"},
        {"x": rfc.A3_KEY["x"] + "="},
        {"x": rfc.A3_KEY["x"][:-1] + "V"},
        {"x": "\u00e9" * 43},
        {"x": "_" * 42 + "8"},
        {"alg": "ES384"},
        {"alg": "ES521"},
        {"alg": "none"},
        {"alg": 1},
        {"alg": None},
        {"kid": 1},
        {"kid": ""},
        {"kid": "x" * 256},
    ],
)
def test_a_jwk_with_one_wrong_member_is_refused(change: dict[str, Any]) -> None:
    assert VerificationKey.from_jwk({**rfc.A3_KEY, "ext": True, "x5t": "ignored"}).algorithm == "ES256"
    with pytest.raises(InvalidKey):
        VerificationKey.from_jwk({**rfc.A3_KEY, **change})


def test_private_members_must_belong_to_the_public_ones() -> None:
    other = SigningKey.generate("ES256").to_private_jwk()
    for change in ({"d": other["d"]}, {"d": "A" * 43}, {"d": "AA"}, {"d": None}):
        with pytest.raises(InvalidKey):
            SigningKey.from_jwk({**rfc.A3_KEY, **change})
    rsa = key("RS256").to_private_jwk()
    for change in ({"p": rsa["q"]}, {"d": "AQAB"}, {"p": "AQ"}, {"p": "AA"}, {"oth": []}, {"q": None}):
        with pytest.raises(InvalidKey):
            SigningKey.from_jwk({**rsa, **change})
    with pytest.raises(InvalidKey):
        SigningKey.from_jwk({**rfc.ED25519_KEY, "d": rfc.ED25519_KEY["x"]})


def test_other_kinds_of_pem_are_refused() -> None:
    for other in (ed448.Ed448PrivateKey.generate(), x25519.X25519PrivateKey.generate(), dsa.generate_private_key(2048)):
        public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(InvalidKey):
            VerificationKey.from_pem(public, "EdDSA")
    for junk in (b"", b"junk", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"x" * 40_000):
        with pytest.raises(InvalidKey):
            VerificationKey.from_pem(junk, "ES256")
    with pytest.raises(InvalidKey):
        SigningKey.generate("none")


def test_the_orders_in_our_table_are_the_curves_own() -> None:
    for name, curve in CURVES.items():
        assert CURVE_ORDERS[name] == curve.group_order


def test_the_small_order_points_have_small_order() -> None:
    """Eight times each is the neutral element, by the addition law of RFC 8032 section 5.1.4."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
        (x1, y1), (x2, y2) = one, two
        t = d * x1 * x2 * y1 * y2
        return (x1 * y2 + x2 * y1) * pow(1 + t, -1, p) % p, (y1 * y2 + x1 * x2) * pow(1 - t, -1, p) % p

    for y in ED25519_SMALL_ORDER:
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(square, (p + 3) // 8, p)
        x = x if x * x % p == square else x * pow(2, (p - 1) // 4, p) % p
        assert x * x % p == square
        point = (x, y)
        for _ in range(3):
            point = add(point, point)
        assert point == (0, 1)
