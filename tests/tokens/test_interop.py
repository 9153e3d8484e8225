"""joserfc, written by others from the same standards, reads what we sign, and we read what it signs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import JWKRegistry, KeySet

from tests.attacks.forging import accept, claims, header, honest, key, verifier
from watchword.tokens import SigningKey, public_key_set, read_key_set, sign_compact, verify_compact
from watchword.tokens.algorithms import ALGORITHMS

# joserfc warns that RFC 9864 deprecates the name EdDSA, which most others still need.
pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")


def theirs(name: str, private: bool = True) -> Any:
    members = key(name).to_private_jwk() if private else key(name).public_jwk()
    return JWKRegistry.import_key(members)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_they_read_what_we_sign(name: str) -> None:
    read = jwt.decode(honest(name), theirs(name, private=ALGORITHMS[name].symmetric), algorithms=[name])
    assert read.claims == claims()
    assert read.header == header(name)
    raw = jws.deserialize_compact(sign_compact(b"\x00any bytes\xff", key(name)), theirs(name), algorithms=[name])
    assert raw.payload == b"\x00any bytes\xff"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_we_read_what_they_sign(name: str) -> None:
    token = jwt.encode(header(name), claims(), theirs(name), algorithms=[name])
    assert accept(token, verifier(name)).sub == claims()["sub"]
    assert json.loads(verify_compact(token, key(name).verification_key)) == claims()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_thumbprints_agree(name: str) -> None:
    assert theirs(name).thumbprint() == key(name).kid


@pytest.mark.parametrize(
    ("name", "kind", "detail"), [("RS256", "RSA", 2048), ("ES384", "EC", "P-384"), ("EdDSA", "OKP", "Ed25519")]
)
def test_we_take_the_keys_that_they_make(name: str, kind: str, detail: Any) -> None:
    made = JWKRegistry.generate_key(kind, detail)  # type: ignore[arg-type]
    ours = SigningKey.from_jwk(made.as_dict(private=True), name)
    token = sign_compact(b"x", ours)
    assert jws.deserialize_compact(token, made, algorithms=[name]).payload == b"x"


def test_key_sets_go_both_ways() -> None:
    names = ("ES256", "RS256", "EdDSA")
    published = public_key_set([key(name) for name in names])
    their_set = KeySet.import_key_set(json.loads(published))
    for name in names:
        assert jwt.decode(honest(name), their_set, algorithms=[name]).claims == claims()
    again = json.dumps(their_set.as_dict(private=False)).encode()
    assert {found.kid for found in read_key_set(again)} == {key(name).kid for name in names}
