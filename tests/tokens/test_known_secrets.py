"""A13: secrets that tutorials use are refused where they are configured, and random ones never are."""

from __future__ import annotations

import base64
import os
import secrets
import string
import time
import uuid
from collections.abc import Callable

import pytest

from watchword.errors import InvalidKey
from watchword.tokens import SigningKey, VerificationKey, check_shared_secret

KNOWN = [
    "your-256-bit-secret-your-256-bit-secret",
    "a-string-secret-at-least-256-bits-long",
    "secretsecretsecretsecretsecretsecret",
    "keyboard cat keyboard cat keyboard cat",
    "supersecretkeysupersecretkeysupersecretkey",
    "changeme" * 5,
    "CHANGE_ME_PLEASE_CHANGE_ME_PLEASE_NOW_OK",
    "please-change-this-secret-in-production-123456",
    "super-secret-key-that-is-at-least-32-characters-long",
    "your_jwt_secret_key_here_min_32_chars",
    "MySuperSecretKeyForJwtTokenGeneration2024!!",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "0123456789abcdef0123456789abcdef",
    "secret" + "0" * 40,
    "qwertyuiopasdfghjklzxcvbnm123456",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
    "  your-256-bit-secret  your-256-bit-secret\n",
    base64.b64encode(b"your-256-bit-secret-your-256-bit-secret").decode(),
    "a" * 64,
    "0" * 64,
    "ab12cd34" * 8,
    # What the review of October found to pass.
    "JWTAuthenticationHIGHsecuredPasswordVVVp1OH7Xzyr",
    "ByYM000OLlMQG6VVVp1OH7Xzyr7gHuw1qvUC5dcGt3SNM",
    "my-32-character-ultra-secure-and-ultra-long-secret",
    "00112233445566778899aabbccddeeff",
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "bezKoderSecretKeybezKoderSecretKey",
    "3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b",
    # Keys of one web page that makes "random" ones: as it shows them, in hex, and both in base64.
    "5367566B59703373367639792F423F4528482B4D6251655468576D5A71347437",
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "SgVkYp3s6v9y/B?E(H+MbQeThWmZq4t7",
    "Yh2k7QSu4l8CZg5p6X3Pna9L0Miy4D3Bvt0JVr87UcOj69Kqw5R2Nmf4FWs03Hdx",
    "aVeryLongSecretKeyThatNobodyCanGuessBecauseItIsSoLong",
    # Runs: alphabets, digits, keyboards, up and down.
    "abcdefghijklmnopqrstuvwxyz012345",
    "zyxwvutsrqponmlkjihgfedcba987654",
    "qwertyuiop[]asdfghjkl;'zxcvbnm,./",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "11112222333344445555666677778888",
    "12345678901234567890123456789012",
    # Words in another form of writing, and hashes of one.
    b"your-super-secret-jwt-key-please-change".hex(),
    b"your-super-secret-jwt-key-please-change".hex(":"),
    base64.b64encode(b"your-super-secret-jwt-key-please-change".hex().encode()).decode(),
    base64.b32encode(b"your-super-secret-jwt-key-please-change").decode(),
    base64.b64encode(bytes(range(32))).decode(),
    "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
    "a-long-string-of-" + "your-256-bit-secret-" * 40,
    "".join(map(chr, range(32, 96))),
]


@pytest.mark.parametrize("text", KNOWN)
def test_A13_known_and_repeated_secrets_are_refused(text: str) -> None:
    for use in (check_shared_secret, SigningKey.shared_secret, VerificationKey.shared_secret):
        with pytest.raises(InvalidKey) as caught:
            use(text.encode())  # type: ignore[operator]
        assert "guessed" in caught.value.message
        assert text not in caught.value.message


@pytest.mark.parametrize("length", [0, 1, 6, 16, 31])
def test_A13_short_secrets_are_refused_with_their_length(length: int) -> None:
    with pytest.raises(InvalidKey) as caught:
        check_shared_secret(os.urandom(length))
    assert f"has {length} bytes" in caught.value.message


@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_A13_a_secret_is_at_least_as_long_as_the_hash(algorithm: str, least: int) -> None:
    assert SigningKey.shared_secret(os.urandom(least), algorithm).algorithm == algorithm
    with pytest.raises(InvalidKey):
        SigningKey.shared_secret(os.urandom(least - 1), algorithm)


FORMS: dict[str, Callable[[], bytes]] = {
    "raw": lambda: os.urandom(32),
    "hex of 16": lambda: secrets.token_hex(16).encode(),
    "hex of 32": lambda: secrets.token_hex(32).encode(),
    "HEX of 32": lambda: secrets.token_hex(32).upper().encode(),
    "hex with colons": lambda: os.urandom(32).hex(":").encode(),
    "base64": lambda: base64.b64encode(os.urandom(32)),
    "base64url": lambda: secrets.token_urlsafe(32).encode(),
    "base64 of 64": lambda: base64.b64encode(os.urandom(64)),
    "base32": lambda: base64.b32encode(os.urandom(20)),
    "uuid": lambda: str(uuid.uuid4()).encode(),
    "password manager": lambda: drawn(string.ascii_letters + string.digits + string.punctuation, 32),
    "letters and digits": lambda: drawn(string.ascii_letters + string.digits, 32),
    "small letters": lambda: drawn(string.ascii_lowercase, 32),
    "digits": lambda: drawn(string.digits, 40),
    "hex of base64": lambda: base64.b64encode(os.urandom(32)).hex().encode(),
    "named": lambda: b"prod-jwt-secret-" + secrets.token_urlsafe(24).encode(),
}


def drawn(alphabet: str, length: int) -> bytes:
    return "".join(secrets.choice(alphabet) for _ in range(length)).encode()


@pytest.mark.parametrize("form", FORMS)
def test_random_secrets_are_accepted_in_every_usual_form(form: str) -> None:
    """None of 20,000 in all: the list must not stand in the way of people who did it right."""
    for _ in range(20_000 // len(FORMS)):
        check_shared_secret(FORMS[form]())


def test_words_that_no_tutorial_uses_are_accepted() -> None:
    """Six words by dice are as good as random."""
    check_shared_secret(b"violet-umbrella-canyon-pickle-orbit-walnut")


def test_checking_is_bounded() -> None:
    """A secret of a megabyte costs no more than its first 512 bytes do (and reading it)."""
    started = time.perf_counter()
    with pytest.raises(InvalidKey):
        check_shared_secret(b"my-32-character-ultra-secure-secret " * 30_000)
    assert time.perf_counter() - started < 5
