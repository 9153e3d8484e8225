"""`verify_compact` against what the standards print, and its rules for keys without `alg` and sets without `kid`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.forging import forge, key, segment
from tests.tokens import rfc_vectors as rfc
from watchword.errors import InvalidKey, TokenError
from watchword.tokens import KeySet, SigningKey, sign_compact, verify_compact
from watchword.tokens.algorithms import ALGORITHMS

EXAMPLES = {
    "RFC 7515 A.1 HS256": (rfc.A1_TOKEN, rfc.A1_KEY, rfc.PAYLOAD),
    "RFC 7515 A.2 RS256": (rfc.A2_TOKEN, rfc.A2_KEY, rfc.PAYLOAD),
    "RFC 7515 A.3 ES256": (rfc.A3_TOKEN, rfc.A3_KEY, rfc.PAYLOAD),
    "RFC 7515 A.4 ES512": (rfc.A4_TOKEN, rfc.A4_KEY, b"Payload"),
    "RFC 8037 A.4 EdDSA": (rfc.ED25519_TOKEN, rfc.ED25519_KEY, b"Example of Ed25519 signing"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_standards_verify(name: str) -> None:
    token, jwk, payload = EXAMPLES[name]
    assert verify_compact(token, jwk) == payload
    assert verify_compact(token.encode(), {"keys": [jwk]}) == payload


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_with_one_bit_changed_do_not(name: str) -> None:
    token, jwk, _ = EXAMPLES[name]
    head, payload, signature = token.split(".")
    changed = ("B" if signature[3] != "B" else "C").join((signature[:3], signature[4:]))
    for bad in (f"{head}.{payload}.{changed}", f"{head}.{payload[:-4]}AAAA.{signature}"):
        with pytest.raises(TokenError):
            verify_compact(bad, jwk)


def test_the_deterministic_examples_are_signed_the_same() -> None:
    """RFC 8037 A.4 and RFC 7515 A.1 have one right signature; ours are these, byte for byte."""
    ed = SigningKey.from_jwk(rfc.ED25519_KEY)
    head, payload, signature = rfc.ED25519_TOKEN.split(".")
    assert segment(ed.sign(f"{head}.{payload}".encode())) == signature
    head, payload, signature = rfc.A1_TOKEN.split(".")
    assert segment(SigningKey.from_jwk(rfc.A1_KEY).sign(f"{head}.{payload}".encode())) == signature


def test_an_unsigned_token_is_refused_under_any_key() -> None:
    for _, jwk, _ in EXAMPLES.values():
        with pytest.raises(TokenError):
            verify_compact(rfc.A5_TOKEN, jwk)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_round_trips_any_bytes(name: str) -> None:
    token = sign_compact(b"\x00\xff not JSON", key(name))
    assert verify_compact(token, key(name).verification_key) == b"\x00\xff not JSON"
    assert verify_compact(token, KeySet([key(name).verification_key])) == b"\x00\xff not JSON"
    assert verify_compact(sign_compact(b"", key(name)), key(name).to_private_jwk()) == b""


def test_rsa_without_alg_is_for_rs256_unless_the_caller_says_otherwise() -> None:
    """A key that names no algorithm does not let the token choose one."""
    bare = {name: value for name, value in key("PS256").public_jwk().items() if name != "alg"}
    token = sign_compact(b"x", key("PS256"))
    with pytest.raises(TokenError):
        verify_compact(token, bare)
    assert verify_compact(token, bare, algorithms=["PS256"]) == b"x"
    with pytest.raises(TokenError):
        verify_compact(token, bare, algorithms=["RS256"])


def test_a_named_algorithm_is_never_overruled_by_the_caller() -> None:
    jwk = key("RS256").public_jwk()
    signer = SigningKey.from_jwk({**key("RS256").to_private_jwk(), "alg": "PS256"})
    with pytest.raises(TokenError):
        verify_compact(sign_compact(b"x", signer), jwk, algorithms=["PS256", "RS256"])


def test_both_names_of_ed25519_fit_a_key_that_names_neither() -> None:
    bare = {name: value for name, value in key("EdDSA").public_jwk().items() if name not in {"alg", "kid"}}
    for name in ("EdDSA", "Ed25519"):
        signer = SigningKey.from_jwk({**key("EdDSA").to_private_jwk(), "alg": name})
        assert verify_compact(sign_compact(b"x", signer), bare) == b"x"
    with pytest.raises(TokenError):
        verify_compact(sign_compact(b"x", signer), {**bare, "alg": "EdDSA"})


def test_kid_is_optional_but_must_not_contradict() -> None:
    signer = key("ES256")
    jwk = signer.public_jwk()
    without = forge({"alg": "ES256"}, b"x")
    assert verify_compact(without, jwk) == b"x"
    assert verify_compact(sign_compact(b"x", signer), {n: v for n, v in jwk.items() if n != "kid"}) == b"x"
    for kid in ("other", "", 1, None, [], "x" * 256):
        with pytest.raises(TokenError):
            verify_compact(forge({"alg": "ES256", "kid": kid}, b"x"), jwk)


def test_a_set_is_asked_by_kid_and_without_kid_only_if_there_is_no_choice() -> None:
    one, two = SigningKey.generate("ES256"), SigningKey.generate("ES256")
    pair = {"keys": [one.public_jwk(), two.public_jwk()]}
    assert verify_compact(sign_compact(b"x", two), pair) == b"x"
    without = forge({"alg": "ES256"}, b"x", one.sign)
    assert verify_compact(without, {"keys": [one.public_jwk(), key("RS256").public_jwk()]}) == b"x"
    with pytest.raises(TokenError):
        verify_compact(without, pair)
    with pytest.raises(TokenError):
        verify_compact(sign_compact(b"x", SigningKey.generate("ES256")), pair)


def test_a_kid_may_be_any_short_text_when_it_only_names_a_given_key() -> None:
    jwk = {**key("ES256").public_jwk(), "kid": "bilbo.baggins@hobbiton.example"}
    token = forge({"alg": "ES256", "kid": "bilbo.baggins@hobbiton.example"}, b"x")
    assert verify_compact(token, jwk) == b"x"
    assert verify_compact(token, {"keys": [jwk]}) == b"x"


def test_a_set_passes_over_what_it_cannot_use() -> None:
    usable = key("ES256").public_jwk()
    useless: list[Any] = [
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {**key("RS256").public_jwk(), "use": "enc"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
        {},
        "text",
        None,
    ]
    assert verify_compact(sign_compact(b"x", key("ES256")), {"keys": [*useless, usable]}) == b"x"
    with pytest.raises(InvalidKey):
        verify_compact(sign_compact(b"x", key("ES256")), {"keys": useless})


@pytest.mark.parametrize("bad", [None, 1, [], {}, {"keys": {}}, {"keys": []}, {"keys": [1]}, "secret", b"secret" * 9])
def test_what_is_no_key_is_an_invalid_key(bad: Any) -> None:
    with pytest.raises(InvalidKey):
        verify_compact(sign_compact(b"x", key("ES256")), bad)


@pytest.mark.parametrize("bad", [None, 1, {}, {"payload": "Zm9v", "signatures": []}, "", b"", "é.é.é", "\ud800.a.b"])
def test_what_is_no_token_is_a_malformed_token(bad: Any) -> None:
    with pytest.raises(TokenError) as caught:
        verify_compact(bad, key("ES256").verification_key)
    assert caught.value.code == "token_malformed"


@pytest.mark.parametrize("bad", ["ES256", ["none"], ["ES256", "XX"]])
def test_algorithms_are_a_collection_of_known_names(bad: Any) -> None:
    with pytest.raises(InvalidKey):
        verify_compact(sign_compact(b"x", key("ES256")), key("ES256").verification_key, algorithms=bad)
