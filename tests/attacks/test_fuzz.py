"""A28: whatever arrives, only `TokenError` comes out, and only genuine tokens get through.

`WATCHWORD_FUZZ` sets how many mutations are tried (50,000 by default; a million takes about half a minute).
"""

from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.forging import NOW, claims, forge, header, honest, key, verifier
from watchword.errors import InvalidKey, TokenError
from watchword.tokens import VerificationKey, read_key_set, verify_compact

MUTATIONS = int(os.environ.get("WATCHWORD_FUZZ", "50000"))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
STRANGE = ".=+/ \n\0\x7f\"'{}[]é\u2028\ud800😀"


def mutate(token: str, chance: random.Random) -> str:
    """One to three small changes anywhere in the token."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        place, kind = chance.randrange(len(token) + 1), chance.randrange(6)
        if kind == 0:
            token = token[:place] + chance.choice(ALPHABET) + token[place + 1 :]
        elif kind == 1:
            token = token[:place] + chance.choice(STRANGE) + token[place + 1 :]
        elif kind == 2:
            token = token[:place] + token[place + chance.randrange(1, 9) :]
        elif kind == 3:
            token = token[:place] + token[place : place + 8] + token[place:]
        elif kind == 4:
            parts = token.split(".")
            chance.shuffle(parts)
            token = ".".join(parts)
        else:
            token = token[:place]
    return token


def test_A28_mutated_tokens_give_token_errors_only() -> None:
    chance = random.Random(0x7A1)
    chosen = verifier("ES256")
    genuine = [honest(), honest(aud=["x", "https://api.example.com"]), honest(extra={"deep": [1, {"x": "é"}]})]
    codes: set[str] = set()
    for number in range(MUTATIONS):
        token = mutate(genuine[number % 3], chance)
        try:
            chosen.verify(token, now=NOW)
        except TokenError as error:
            codes.add(error.code)
        else:
            assert token in genuine
    assert codes == {"token_malformed", "token_invalid"}


def test_A28_mutated_headers_and_claims_that_are_signed_give_token_errors_only() -> None:
    """The signature is right, so that the mutation reaches every step behind it. HS256, since signing is cheap."""
    chance = random.Random(0x7A2)
    chosen = verifier("HS256")
    good = json.dumps(claims(extra={"a": [1, {"b": None}]})), json.dumps(header("HS256"))
    codes: set[str] = set()
    for number in range(MUTATIONS // 5):
        body, head = good
        if number % 2:
            body = mutate(body, chance)
        else:
            head = mutate(head, chance)
        try:
            token = forge(
                head.encode("utf-8", "surrogatepass"), body.encode("utf-8", "surrogatepass"), key("HS256").sign
            )
            chosen.verify(token, now=NOW)
        except TokenError as error:
            codes.add(error.code)
    assert codes == {"token_malformed", "token_invalid", "token_expired", "token_not_yet_valid"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(claims())), JSON, st.sampled_from(["alg", "typ", "kid", "cty"]), JSON)
def test_A28_any_value_of_any_member_gives_token_errors_only(
    claim: str, value: Any, parameter: str, other: Any
) -> None:
    for token in (
        forge(header("HS256"), claims(**{claim: value}), key("HS256").sign),
        forge(header("HS256", **{parameter: other}), claims(), key("HS256").sign),
    ):
        with suppress(TokenError):
            verifier("HS256").verify(token, now=NOW)


@settings(max_examples=300, deadline=None)
@given(st.text() | st.binary() | JSON)
def test_A28_any_object_as_token_gives_token_errors_only(thing: Any) -> None:
    for use in (lambda: verifier().verify(thing, now=NOW), lambda: verify_compact(thing, key().verification_key)):
        with pytest.raises(TokenError):
            use()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["RS256", "ES256", "EdDSA", "HS256"]),
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "k", "d", "p", "alg", "use", "key_ops", "kid"]),
    JSON,
)
def test_A28_any_value_of_any_jwk_member_gives_invalid_key_only(name: str, member: str, value: Any) -> None:
    jwk = {**key(name).to_private_jwk(), member: value}
    for use in (
        lambda: VerificationKey.from_jwk(jwk),
        lambda: read_key_set(json.dumps({"keys": [jwk]}).encode()),
        lambda: verify_compact(honest(), {"keys": [jwk]}),
    ):
        with suppress(InvalidKey, TokenError):
            use()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_A28_any_bytes_as_key_or_key_set_give_invalid_key_only(data: bytes) -> None:
    for use in (
        lambda: read_key_set(data),
        lambda: VerificationKey.from_pem(data, "ES256"),
        lambda: VerificationKey.from_pem(b"-----BEGIN PUBLIC KEY-----\n" + data, "RS256"),
        lambda: VerificationKey.shared_secret(data),
    ):
        with suppress(InvalidKey):
            use()
