"""Refresh tokens as strings: one spelling each, and nothing that we did not write is ours."""

from __future__ import annotations

import hmac
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword import opaque
from watchword.opaque import RefreshToken, decode_refresh, encode_refresh

KEY, OLDER, OLDEST, FOREIGN = (sha256(name).digest() for name in (b"key", b"older", b"oldest", b"foreign"))
HANDLE = bytes(range(16))
TOKEN = RefreshToken(HANDLE, 7)
TEXT = encode_refresh(TOKEN, KEY)


def raw_of(text: str) -> bytes:
    encoded = text.removeprefix("wwr_")
    return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def text_of(raw: bytes) -> str:
    return "wwr_" + urlsafe_b64encode(raw).decode().rstrip("=")


def signed(body: bytes, key: bytes = KEY) -> str:
    return text_of(body + hmac.digest(key, body, "sha256")[:16])


def test_the_format_is_the_documented_one() -> None:
    """`wwr_` + base64url(format ‖ handle ‖ generation ‖ HMAC-SHA-256 cut to 16 bytes)."""
    body = b"\x01" + HANDLE + b"\x00\x00\x00\x07"
    assert signed(body) == TEXT
    assert len(TEXT) == 54
    assert set(TEXT) <= set(string.ascii_letters + string.digits + "-_")


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1))
def test_what_was_written_is_read(handle: bytes, generation: int) -> None:
    """Any handle, any generation up to the last."""
    token = RefreshToken(handle, generation)
    assert decode_refresh(encode_refresh(token, KEY), (KEY,)) == token


def test_the_successor_follows_from_the_handle_alone() -> None:
    """⚑ Nothing random: two processes that answer in the grace window write the same string."""
    assert encode_refresh(RefreshToken(HANDLE, 8), KEY) == encode_refresh(RefreshToken(HANDLE, 8), KEY)


@pytest.mark.parametrize("position", range(37))
def test_every_byte_counts(position: int) -> None:
    """Format, handle, generation and MAC: one flipped bit anywhere, and it is not ours."""
    for bit in (1, 0x80):
        raw = bytearray(raw_of(TEXT))
        raw[position] ^= bit
        assert decode_refresh(text_of(bytes(raw)), (KEY,)) is None


def test_other_spare_bits_are_another_string() -> None:
    """⚑ The last character carries bits that decoding ignores; only the spelling that we write is accepted."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    spellings = [TEXT[:-1] + letter for letter in alphabet if raw_of(TEXT[:-1] + letter) == raw_of(TEXT)]
    assert len(spellings) == 4 or len(spellings) == 16
    assert [spelling for spelling in spellings if decode_refresh(spelling, (KEY,)) is not None] == [TEXT]


@pytest.mark.parametrize("text", [
    "", "wwr_", TEXT[:-1], TEXT + "A", TEXT + "=", TEXT + "\n", " " + TEXT, TEXT[4:], TEXT.upper(), TEXT.swapcase(),
    "WWR_" + TEXT[4:], "wwx_" + TEXT[4:], TEXT[:20] + "\n" + TEXT[21:], TEXT[:20] + "é" + TEXT[21:],
    TEXT[:20] + "=" + TEXT[21:], TEXT[:20] + "+" + TEXT[21:], TEXT[:20] + "\x00" + TEXT[21:], "😀" * 54, "A" * 54,
    TEXT[:20] + "\ud800" + TEXT[21:], TEXT * 1000,
])  # fmt: skip
def test_anything_else_is_not_ours(text: str) -> None:
    """Cut, extended, padded, in another case, with foreign characters: None, and no exception."""
    assert decode_refresh(text, (KEY,)) is None


@given(st.text(min_size=54, max_size=54))
def test_no_text_of_the_right_length_is_ours_by_chance(text: str) -> None:
    """Nor does any raise."""
    assert decode_refresh(text, (KEY,)) is None
    assert decode_refresh("wwr_" + text[4:], (KEY,)) is None


def test_plain_base64_is_not_base64url() -> None:
    """A handle whose encoding has `-` or `_` is not accepted with `+` or `/` in their place."""
    text = encode_refresh(RefreshToken(b"\xfb\xef\xbe\xff" * 4, 7), KEY)
    other = "wwr_" + text[4:].replace("-", "+").replace("_", "/")
    assert other != text
    assert decode_refresh(other, (KEY,)) is None


@pytest.mark.parametrize("number", [0, 2, 255])
def test_another_format_is_not_ours_even_if_it_is_signed(number: int) -> None:
    """The first byte names the format; those that do not exist yet are not guessed at."""
    assert decode_refresh(signed(bytes([number]) + HANDLE + b"\x00\x00\x00\x07"), (KEY,)) is None


def test_the_mac_is_tried_against_each_listed_key() -> None:
    """⚑ The format byte is no position in the list: an older key verifies wherever it stands, a foreign one nowhere."""
    for key in (KEY, OLDER, OLDEST):
        for keys in ((KEY, OLDER, OLDEST), (OLDEST, KEY, OLDER), (OLDER, OLDEST, KEY)):
            assert decode_refresh(encode_refresh(TOKEN, key), keys) == TOKEN
    assert decode_refresh(encode_refresh(TOKEN, FOREIGN), (KEY, OLDER, OLDEST)) is None
    assert decode_refresh(TEXT, ()) is None


def test_A16_macs_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `hmac.compare_digest`, with all sixteen bytes of both."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(opaque.hmac, "compare_digest", compare)
    assert decode_refresh(TEXT, (OLDER, KEY)) == TOKEN
    assert compared == [(16, 16), (16, 16)]


def test_a_fingerprint_is_sha_256() -> None:
    """FIPS 180-4's `abc`."""
    assert opaque.fingerprint(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
