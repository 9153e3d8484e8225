"""Shared secrets that everybody knows: our own list of the literals that tutorials, READMEs and templates use.

A secret is refused when, letters and digits only and in small letters, it is made of nothing but these words: so the
tutorial's text is found also when it is repeated, joined with dashes, put in capitals or padded with digits. A random
secret of 32 bytes is never made of them.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Final

from watchword.errors import InvalidKey

MIN_SECRET_BYTES: Final = 32
_MIN_DIFFERENT_BYTES: Final = 8
_MAX_CHECKED: Final = 512

# One per line of thought: what quick starts say, what templates ship, what people type instead.
_WORDS: Final = frozenset(
    """
    a an and any as at be by can do for from here i in is it me my mine not of on one only or our out s so some
    something that the this to too up use used using very we will with you your yours
    0 1 2 3 4 5 6 7 8 9 32 64 128 256 384 512 2020 2021 2022 2023 2024 2025 2026 2048
    abc abcd abcde abcdef abcdefgh abcdefghijklmnopqrstuvwxyz admin administrator api apikey app application asdf
    asdfghjkl at auth authentication backend bar base64 baz bit bits byte bytes cat change changed changeit changeme
    changethis char character characters class code config correct cryptographically default demo dev develop
    development django docker dont dummy encoded encryption enough env example express extra fake fastapi fill
    flask foo foobar generate generated go guess guessable hard hash hello hex hs256 hs384 hs512 hmac horse battery
    staple httponly insecure jason java javascript jsonwebtoken json jwt jwtsecret keep key keyboard keycloak keys
    laravel least length letmein local localhost long longer lorem ipsum dolor sit amet min minimum monkey must mykey
    mysecret name need needs nest nestjs next nextauth node nodejs oauth okay only openssl pass passphrase passw0rd
    password phrase placeholder please private prod production project public put python qwerty qwertyuiop
    qwertyuiopasdfghjklzxcvbnm zxcvbnm rails rand random randomly real really replace root ruby safe sample secret
    secretkey secrets secure security server service session set shared should sign signature signing simple spring
    springboot stage staging store stored string strong super supersecret supersecretkey symmetric test testing tests
    text token tokens top topsecret tutorial unguessable unsafe user value web word words world xxx xxxx yes yoursecret
    shhhhh shhhhhhh keyboardcat todo tbd fixme null none undefined true false nil iron man winter summer company
    signed verify verification access refresh bearer hunter2 trustno1 iloveyou dragon sunshine princess welcome login
    0123456789 1234567890 123456789 12345678 1234567 123456 12345 1234 0123456789abcdef fedcba9876543210 deadbeef
    cafebabe feedface now ok custom generation generator never ever always anyone everyone authorization supabase
    firebase fallback salt pepper cookie cookies csrf dotnet csharp asp core identity issuer audience microservice
    gateway new old own share same both different each unique complex algorithm minimum maximum size
    """.split()  # noqa: SIM905 - four hundred quoted words would be harder to read
)

# Whole literals, letters and digits only, that are not made of the words above.
_LITERALS: Final = frozenset(
    """
    09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7
    404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970
    gu4m2kngbpncwqvhzivylmkn0dvlbjqg
    aaaaaaaaaabbbbbbbbbbccccccccccdd
    insertyoursecrethere
    """.split()  # noqa: SIM905 - as above
)
_LONGEST_WORD: Final = max(map(len, _WORDS))
_MIN_FILLER: Final = 3  # "aaa", "000": one character, repeated, is padding
_TEXT: Final = frozenset(range(32, 127)) | frozenset(b"\t\r\n")


def check_shared_secret(secret: bytes) -> None:
    """Refuse a shared secret that can be guessed. To be called where secrets are configured.

    :raises InvalidKey: not bytes, shorter than 32 bytes, a repetition, few different bytes, or known from tutorials.
    """
    if not isinstance(secret, bytes | bytearray):
        raise InvalidKey("A shared secret is given as bytes.")
    if len(secret) < MIN_SECRET_BYTES:
        raise InvalidKey(f"The shared secret has {len(secret)} bytes; it needs at least {MIN_SECRET_BYTES}.")
    if len(set(secret)) < _MIN_DIFFERENT_BYTES or _is_repetition(secret):
        raise InvalidKey("The shared secret repeats itself, so it can be guessed.")
    if is_known(secret):
        raise InvalidKey("The shared secret is made of words that tutorials use, so it can be guessed.")


def is_known(secret: bytes) -> bool:
    """Whether the secret, or what it is the base64 of, is made of nothing but known words and literals."""
    return _is_made_of_words(secret) or _is_made_of_words(_unwrapped(secret))


def _unwrapped(secret: bytes) -> bytes:
    text = bytes(secret).strip().rstrip(b"=")
    try:
        return b64decode(
            text + b"=" * (-len(text) % 4), altchars=b"-_" if b"-" in text or b"_" in text else None, validate=True
        )
    except ValueError:
        return b""


def _is_repetition(secret: bytes) -> bool:
    # A text that occurs in its own doubling at an offset other than 0 and its length is a repetition of that offset.
    period = (secret + secret).find(secret, 1)
    return period < min(len(secret), MIN_SECRET_BYTES // 2)


def _is_made_of_words(secret: bytes) -> bool:
    if not secret or len(secret) > _MAX_CHECKED or not all(byte in _TEXT for byte in secret):
        return False
    text = "".join(chr(byte).lower() for byte in secret if chr(byte).isalnum())
    return text in _LITERALS or _splits_into_words(text)


def _splits_into_words(text: str) -> bool:
    reached = {0}  # where a word may begin: each place is left once, so the work is bounded
    for start in range(len(text)):
        if start not in reached:
            continue
        for end in range(start + 1, min(len(text), start + _LONGEST_WORD) + 1):
            piece = text[start:end]
            if piece in _WORDS or (end - start >= _MIN_FILLER and len(set(piece)) == 1):
                reached.add(end)
    return len(text) in reached
