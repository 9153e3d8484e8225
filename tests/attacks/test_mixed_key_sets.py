"""Shared secrets beside public keys, and two keys of one id (RFC 8725 section 2.1; Wycheproof MixedKeySet)."""

from __future__ import annotations

import json

import pytest

from tests.attacks.forging import key
from watchword.errors import InvalidKey
from watchword.tokens import KeySet, SigningKey, read_key_set, sign_compact, verify_compact


def test_A8_a_mixed_set_is_refused_even_for_a_genuine_token() -> None:
    mixed = {"keys": [key("HS256").to_private_jwk(), key("ES256").public_jwk()]}
    for name in ("HS256", "ES256"):
        with pytest.raises(InvalidKey):
            verify_compact(sign_compact(b"x", key(name)), mixed)
    with pytest.raises(InvalidKey):
        KeySet([key("ES256").verification_key, key("HS256").verification_key])


def test_A8_a_mixed_set_is_refused_also_when_one_side_could_not_be_used() -> None:
    weak = {"kty": "oct", "k": "AAAA", "alg": "HS256"}
    with pytest.raises(InvalidKey):
        verify_compact(sign_compact(b"x", key("ES256")), {"keys": [key("ES256").public_jwk(), weak]})


def test_A8_two_keys_of_one_id_are_refused_even_for_a_genuine_token() -> None:
    one, two = SigningKey.generate("HS256").to_private_jwk(), SigningKey.generate("HS256").to_private_jwk()
    twins = {"keys": [one, {**two, "kid": one["kid"]}]}
    assert verify_compact(sign_compact(b"x", SigningKey.from_jwk(one)), {"keys": [one, two]}) == b"x"
    with pytest.raises(InvalidKey):
        verify_compact(sign_compact(b"x", SigningKey.from_jwk(one)), twins)


@pytest.mark.parametrize("k", ["AAAA", "not base64url", "", "A" * 42 + "B", None])
def test_A8_an_id_twice_is_refused_also_when_one_of_the_two_could_not_be_used(k: str | None) -> None:
    """Passing over the broken twin first would hide that the set says two things about one id."""
    one = key("HS256").to_private_jwk()
    with pytest.raises(InvalidKey):
        verify_compact(sign_compact(b"x", key("HS256")), {"keys": [one, {**one, "k": k}]})
    public = key("ES256").public_jwk()
    with pytest.raises(InvalidKey):
        read_key_set(json.dumps({"keys": [public, {**public, "x": k}]}).encode())


def test_A8_an_encryption_key_may_share_the_id() -> None:
    """Some issuers publish one certificate under one id for both purposes."""
    public = key("RS256").public_jwk()
    both = {"keys": [{**public, "use": "enc"}, public]}
    assert verify_compact(sign_compact(b"x", key("RS256")), both) == b"x"
