"""Publishing and reading key sets: B8, A8, A14, and the limits of B12."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.attacks.forging import key
from watchword.errors import InvalidKey
from watchword.tokens import SigningKey, public_key_set, read_key_set
from watchword.tokens.algorithms import ALGORITHMS
from watchword.tokens.jwk import PRIVATE_MEMBERS

ASYMMETRIC = [name for name, row in ALGORITHMS.items() if not row.symmetric]


def a_set(*jwks: Any) -> bytes:
    return json.dumps({"keys": jwks}).encode()


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_B8_only_public_members_with_use_alg_and_kid(name: str) -> None:
    """Property over all key types: nothing private, in either form that a key may be given in."""
    for form in (key(name), key(name).verification_key):
        (jwk,) = json.loads(public_key_set([form]))["keys"]
        assert PRIVATE_MEMBERS.isdisjoint(jwk)
        assert (jwk["use"], jwk["alg"], jwk["kid"]) == ("sig", name, key(name).kid)
        secrets = {value for member, value in key(name).to_private_jwk().items() if member in PRIVATE_MEMBERS}
        assert secrets
        assert not secrets & set(jwk.values())


def test_B8_a_shared_secret_cannot_be_published() -> None:
    with pytest.raises(InvalidKey):
        public_key_set([key("ES256"), key("HS256")])


def test_what_we_publish_we_can_read() -> None:
    read = read_key_set(public_key_set([key(name) for name in ASYMMETRIC if name != "Ed25519"]))
    assert {found.algorithm for found in read} == set(ASYMMETRIC) - {"Ed25519"}


def test_A8_a_remote_set_with_a_shared_secret_is_refused_as_a_whole() -> None:
    good = key("ES256").public_jwk()
    for secret in (key("HS256").to_private_jwk(), {"kty": "oct"}, {"kty": "EC", "k": "AAAA"}):
        with pytest.raises(InvalidKey):
            read_key_set(a_set(good, secret))
        with pytest.raises(InvalidKey):
            read_key_set(a_set(secret))


def test_A8_two_keys_of_one_id_are_refused() -> None:
    one, two = SigningKey.generate("ES256").public_jwk(), SigningKey.generate("ES256").public_jwk()
    with pytest.raises(InvalidKey):
        read_key_set(a_set(one, {**two, "kid": one["kid"]}))


def test_keys_that_cannot_be_used_are_passed_over_singly() -> None:
    good = key("ES256").public_jwk()
    published = SigningKey.generate("ES256").to_private_jwk()
    bad = [{}, 1, None, "x", {"kty": "EC"}, {**key("RS256").public_jwk(), "use": "enc"}, published, {"kty": [], "n": 1}]
    read = read_key_set(a_set(*bad, good))
    assert [found.kid for found in read] == [good["kid"]]
    with pytest.raises(InvalidKey):
        read_key_set(a_set(*bad))


def test_an_rsa_key_without_alg_is_for_rs256() -> None:
    """Some large issuers publish their keys so."""
    bare = {name: value for name, value in key("RS256").public_jwk().items() if name != "alg"}
    assert [found.algorithm for found in read_key_set(a_set(bare))] == ["RS256"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[],"keys":[]}',
        b"\xef\xbb\xbf" + a_set(),
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"keys":[' + b" " * 70_000 + b"]}",
    ],
)
def test_what_is_no_key_set_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidKey):
        read_key_set(data)


def test_B12_at_most_fifty_keys() -> None:
    good = key("ES256").public_jwk()
    assert len(read_key_set(a_set(good, *[{}] * 49))) == 1
    with pytest.raises(InvalidKey):
        read_key_set(a_set(good, *[{}] * 50))
