"""Several texts for one token: spare bits and padding (RFC 4648 section 3.5; Wycheproof's base64 group)."""

from __future__ import annotations

import pytest

from tests.attacks.forging import claims, forge, header, key, refuse, segment
from watchword import base64url
from watchword.base64url import decode, encode
from watchword.errors import TokenError
from watchword.tokens import sign_compact, verify_compact

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def with_other_spare_bits(text: str) -> list[str]:
    """The texts that a careless decoder reads as the same bytes."""
    spare = {0: 0, 2: 4, 3: 2}[len(text) % 4]
    last = ALPHABET.index(text[-1])
    return [text[:-1] + ALPHABET[last | bits] for bits in range(1, 1 << spare)]


@pytest.mark.parametrize("part", [0, 1, 2])
def test_A3_other_spare_bits_are_refused_in_every_part(part: int) -> None:
    """Where the signature covers the changed text it is made anew, so that only the encoding is wrong."""
    tried = 0
    for filler in ("", "a", "aa"):
        head, body, _ = forge(header(z=filler), claims(z=filler)).split(".")
        for bad in with_other_spare_bits((head, body, segment(key().sign(b"x")))[part]):
            parts = [head, body]
            if part < 2:
                parts[part] = bad
            signing_input = ".".join(parts)
            signature = segment(key().sign(signing_input.encode()))
            if part == 2:
                signature = with_other_spare_bits(signature)[tried % 3]
            refuse(f"{signing_input}.{signature}", "token_malformed")
            tried += 1
    assert tried >= 9


def test_A3_a_signed_token_whose_encoding_has_an_impossible_length_is_refused() -> None:
    head = segment(header())
    for body in ("A", "AAAAA"):
        signing_input = f"{head}.{body}"
        refuse(f"{signing_input}.{segment(key().sign(signing_input.encode()))}", "token_malformed")


def test_A3_the_decoder_accepts_exactly_what_the_encoder_writes() -> None:
    for length in range(40):
        data = bytes(range(200, 200 + length))
        assert decode(encode(data)) == data
        for bad in (
            encode(data) + b"=",
            encode(data) + b"A=",
            b" " + encode(data),
            encode(data) + b"\n",
            b"?" + encode(data),
        ):
            with pytest.raises(ValueError):
                decode(bad)
    for bad in (b"A", b"AB", b"VGVzdA?", b"VGVzdB", b"VGVzdA==", b"\xc3\xa9", b"+/+/", b"AAA\0"):
        with pytest.raises(ValueError):
            base64url.decode(bad)


def test_A3_one_genuine_token_has_one_text() -> None:
    """Each single character changed gives a refusal: nothing in a token is free."""
    token = sign_compact(b"Test", key())
    other = {character: ("A" if character != "A" else "B") for character in ALPHABET}
    for place, character in enumerate(token):
        if character != ".":
            with pytest.raises(TokenError):
                verify_compact(token[:place] + other[character] + token[place + 1 :], key().verification_key)
    assert verify_compact(token, key().verification_key) == b"Test"
