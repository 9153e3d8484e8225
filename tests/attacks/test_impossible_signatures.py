"""Signatures that no signer makes: CVE-2022-21449 (r = s = 0), wrong lengths, wrong primitives, small-order points."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.attacks.forging import claims, forge, header, key, refuse, verifier
from watchword.base64url import encode
from watchword.errors import InvalidKey
from watchword.tokens import VerificationKey, verify_compact
from watchword.tokens.algorithms import ALGORITHMS
from watchword.tokens.material import CURVE_ORDERS, ED25519_SMALL_ORDER
from watchword.tokens.signatures import _ecdsa_checker

CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


@pytest.mark.parametrize("name", CURVES)
def test_A15_r_and_s_outside_the_range_are_refused(name: str) -> None:
    order, size = CURVE_ORDERS[CURVES[name]], (ALGORITHMS[name].signature_bytes or 0) // 2
    edges = (0, 1, order - 1, order, order + 1, 256**size - 1)
    for r in edges:
        for s in edges:
            raw = r.to_bytes(size, "big") + s.to_bytes(size, "big")
            refuse(forge(header(name), claims(), lambda _, raw=raw: raw), "token_invalid", verifier(name))  # type: ignore[misc]


class CarelessLibrary:
    """A verifier as CVE-2022-21449 made it: it accepts whatever it is shown."""

    def verify(self, *_: object) -> None:
        return


def test_A15_the_range_is_checked_by_us_and_not_left_to_the_library() -> None:
    matches = _ecdsa_checker(CarelessLibrary(), ALGORITHMS["ES256"])  # type: ignore[arg-type]
    order = CURVE_ORDERS["P-256"].to_bytes(32, "big")
    one, zero = (1).to_bytes(32, "big"), bytes(32)
    assert matches(one + one, b"")
    for raw in (zero + zero, zero + one, one + zero, order + one, one + order):
        assert not matches(raw, b"")


@pytest.mark.parametrize("name", CURVES)
def test_A15_a_genuine_signature_plus_the_order_is_refused(name: str) -> None:
    """r + n and s + n mean the same to whoever reduces first."""
    order, size = CURVE_ORDERS[CURVES[name]], (ALGORITHMS[name].signature_bytes or 0) // 2

    def shifted(data: bytes) -> bytes:
        raw = key(name).sign(data)
        r, s = int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big") + order
        return r.to_bytes(size + 1, "big") + s.to_bytes(size + 1, "big")

    refuse(forge(header(name), claims(), shifted), "token_invalid", verifier(name))


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "Ed25519"])
def test_A15_the_length_is_exact_for_every_algorithm(name: str) -> None:
    sign = key(name).sign
    for change in (
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: b"\0" + raw,
        lambda raw: raw + raw,
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"\0" * len(raw),
        lambda raw: b"\xff" * len(raw),
        lambda raw: b"\0",
    ):
        token = forge(header(name), claims(), lambda data, change=change: change(sign(data)))  # type: ignore[misc]
        refuse(token, "token_invalid", verifier(name))


@pytest.mark.parametrize("name", CURVES)
def test_A15_a_signature_in_der_is_refused(name: str) -> None:
    size = (ALGORITHMS[name].signature_bytes or 0) // 2

    def der(data: bytes) -> bytes:
        raw = key(name).sign(data)
        return encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))

    assert decode_dss_signature(der(b"x"))
    refuse(forge(header(name), claims(), der), "token_invalid", verifier(name))


def test_the_other_s_of_an_ecdsa_signature_is_as_genuine() -> None:
    """Documented, not refused: JWS does not ask for the low half, and nothing here names a token by its signature.

    The cache is keyed by the whole token, so the twin is verified on its own; revocation goes by session and user.
    """
    order = CURVE_ORDERS["P-256"]

    def twin(data: bytes) -> bytes:
        raw = key().sign(data)
        return raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")

    assert verify_compact(forge({"alg": "ES256"}, b"x", twin), key().verification_key) == b"x"


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA384(), hashes.SHA512()])
def test_rsa_with_another_hash_or_padding_is_refused(digest: hashes.HashAlgorithm) -> None:
    private = key("RS256")._material

    def pkcs1(data: bytes) -> bytes:
        return private.sign(data, padding.PKCS1v15(), digest)  # type: ignore[union-attr,call-arg,arg-type,return-value]

    refuse(forge(header("RS256"), claims(), pkcs1), "token_invalid", verifier("RS256"))


@pytest.mark.parametrize("salt", [0, 20, 31, 33, 222])
def test_pss_with_another_salt_length_is_refused(salt: int) -> None:
    """RFC 7518 section 3.5: as long as the hash. `AUTO` would accept them all."""
    private = key("PS256")._material
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt)

    def pss(data: bytes) -> bytes:
        return private.sign(data, scheme, hashes.SHA256())  # type: ignore[union-attr,call-arg,arg-type,return-value]

    refuse(forge(header("PS256"), claims(), pss), "token_invalid", verifier("PS256"))


def test_A14_points_of_small_order_are_no_ed25519_keys() -> None:
    """Under the neutral element the signature (R, 0) with R neutral fits every message."""
    p = 2**255 - 19
    encodings = [y | sign << 255 for y in ED25519_SMALL_ORDER for sign in (0, 1)] + [p, p + 1, 2**255 - 1]
    for number in encodings:
        x = encode(number.to_bytes(32, "little")).decode()
        with pytest.raises(InvalidKey):
            VerificationKey.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": x})
