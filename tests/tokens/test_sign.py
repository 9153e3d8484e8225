"""Issuing: B1, B5, A27, and that what is signed is what was given."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.attacks.forging import NOW, accept, claims, honest, key, verifier
from watchword.base64url import decode
from watchword.claim_names import RESERVED_CLAIMS
from watchword.tokens import SigningKey, sign_access, sign_compact
from watchword.tokens.algorithms import ALGORITHMS
from watchword.tokens.claims import REQUIRED_CLAIMS


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    return json.loads(decode(head.encode())), json.loads(decode(body.encode()))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_B1_header_and_claims_are_those_of_rfc_9068(name: str) -> None:
    head, body = parts(honest(name))
    assert head == {"alg": name, "typ": "at+jwt", "kid": key(name).kid}
    assert body == claims()
    assert accept(honest(name), verifier(name)).sub == claims()["sub"]


@pytest.mark.parametrize("name", sorted(REQUIRED_CLAIMS))
def test_B1_a_required_claim_cannot_be_forgotten(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        sign_access(claims(**{name: ...}), key())


def test_B5_an_access_token_is_small() -> None:
    assert len(honest()) < 800
    assert len(honest("RS256")) < 1_100


def test_B6_what_issuing_decides_is_listed() -> None:
    assert {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "sid", "typ"} <= RESERVED_CLAIMS
    assert claims().keys() <= RESERVED_CLAIMS


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if ALGORITHMS[name].scheme != "PSS"])
def test_A27_one_message_has_one_signature(name: str) -> None:
    """Deterministic (RFC 6979, RFC 8032): no signature depends on the randomness of the moment."""
    assert len({honest(name) for _ in range(5)}) == 1
    assert honest(name) != honest(name, jti="other")


def test_A27_rfc_6979_test_vector() -> None:
    """Appendix A.2.5, P-256 with SHA-256, message "sample"."""
    d = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    x = 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
    y = 0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299
    from watchword.base64url import encode

    jwk = {"kty": "EC", "crv": "P-256"} | {
        name: encode(value.to_bytes(32, "big")).decode() for name, value in (("x", x), ("y", y), ("d", d))
    }
    assert SigningKey.from_jwk(jwk).sign(b"sample").hex() == (
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    )


def test_sign_compact_writes_the_type_that_it_is_told_and_no_other() -> None:
    assert parts(sign_compact(b"{}", key()))[0] == {"alg": "ES256", "kid": key().kid}
    assert parts(sign_compact(b"{}", key(), typ="logout+jwt"))[0]["typ"] == "logout+jwt"
    assert parts(sign_compact(b"{}", key(), typ="x", header={"cty": "y"}))[0]["cty"] == "y"
    for number in range(40):  # the memo of headers is bounded
        sign_compact(b"{}", key(), typ=f"kind-{number}")
    assert len(key().headers) <= 16


def test_text_beyond_ascii_survives() -> None:
    token = sign_access(claims(sub="Zoë 😀"), key())
    assert accept(token).sub == "Zoë 😀"
    assert json.loads(msgspec.json.encode(claims(sub="Zoë 😀"))) == parts(token)[1]
    assert accept(token).iat == NOW
