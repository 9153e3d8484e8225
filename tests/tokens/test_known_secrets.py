"""A13: secrets that tutorials use are refused where they are configured, and random ones never are."""

from __future__ import annotations

import base64
import os
import secrets
import string
import uuid
from collections.abc import Callable

import pytest

from watchword.errors import InvalidKey
from watchword.known_secrets import check_shared_secret
from watchword.tokens import SigningKey, VerificationKey

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
    "a" * 64,
    "0" * 64,
    "ab12cd34" * 8,
    "JWTAuthenticationHIGHsecuredPasswordVVVp1OH7Xzyr",
    "ByYM000OLlMQG6VVVp1OH7Xzyr7gHuw1qvUC5dcGt3SNM",
    "my-32-character-ultra-secure-and-ultra-long-secret",
    "bezKoderSecretKeybezKoderSecretKey",
    "3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b",
    "Yh2k7QSu4l8CZg5p6X3Pna9L0Miy4D3Bvt0JVr87UcOj69Kqw5R2Nmf4FWs03Hdx",
    "aVeryLongSecretKeyThatNobodyCanGuessBecauseItIsSoLong",
    "abcdefghijklmnopqrstuvwxyz012345",
    "a-long-string-of-" + "your-256-bit-secret-" * 40,
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


def test_a_long_text_is_judged_by_its_beginning() -> None:
    """A secret of a megabyte costs no more than its first 512 bytes do (and reading it)."""
    with pytest.raises(InvalidKey):
        check_shared_secret(b"my-32-character-ultra-secure-secret " * 30_000 + b"?")
