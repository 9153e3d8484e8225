"""A13: secrets that tutorials use are refused where they are configured, and random ones never are."""

from __future__ import annotations

import base64
import os
import secrets

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


def test_random_secrets_are_accepted_in_every_usual_form() -> None:
    """None of 2,000: the list must not stand in the way of people who did it right."""
    for _ in range(500):
        check_shared_secret(os.urandom(32))
        check_shared_secret(secrets.token_urlsafe(32).encode())
        check_shared_secret(secrets.token_hex(32).encode())
        check_shared_secret(base64.b64encode(os.urandom(32)))
    check_shared_secret(b"violet-umbrella-canyon-pickle-orbit-walnut")
