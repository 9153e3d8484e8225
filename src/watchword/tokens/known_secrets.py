"""Shared secrets that everybody knows: our own list of the words and literals of tutorials, READMEs and templates.

A secret is refused when it is one of the literals, or when known words, runs along an alphabet or a keyboard, and
repetitions leave too little of it that has to be guessed: so the tutorial's text is found also when it is repeated,
joined with dashes, put in capitals, padded with digits, or written as hex or base64. A random secret of 32 bytes is
never so, in whatever form it is written.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32decode, b64decode
from collections.abc import Iterator
from functools import cache
from typing import Final

from watchword.errors import InvalidKey
from watchword.tokens.secret_strength import ENOUGH_BITS, guessing_bits, is_climbing, is_progression

MIN_SECRET_BYTES: Final = 32
_MIN_DIFFERENT_BYTES: Final = 6  # of 40 random digits, so few are different once in 10^10 times
_DEEPEST: Final = 2  # base64 of hex of words
_HEX: Final = re.compile(r"(0x)?([0-9a-fA-F]{2}[:\s-]?)+")

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
    gateway new old own share same both different each unique complex algorithm minimum maximum size ultra bezkoder
    high highly secured securely extremely sufficiently insert enter paste replaceme set yours here goes blog todo app
    ecommerce shop store chat social mern mean react angular vue svelte nuxt vite prisma mongoose mongo mongodb mysql
    postgres postgresql redis sqlite database url uri http https www com org net io kubernetes aws azure google github
    gitlab heroku vercel netlify aspnet aspnetcore netcore golang gin fiber echo rust actix axum kotlin ktor scala php
    symfony wordpress strapi directus hasura parse flaskjwt djangorest rest restful graphql nodejwt authsecret
    authtoken accesstoken refreshtoken jwtkey jwttoken jwtsecretkey signingkey privatekey secretkeyhere thisis thisisa
    mysecretkey mysupersecretkey verysecret verysecure verylong longsecret longstring somesecret somerandom randomstring
    at256bits hmacsha256 hmacsha512 sha256 sha384 sha512 sha login logout signin signup register session sessions
    nobody because when what which who nothing somebody everything knows about be able are was
    customer client admin123 root123 test123 password1 password123 qwerty123 letmein123 abc123 welcome1 monkey123
    please123 hogwarts gandalf starwars matrix batman superman spiderman naruto pokemon football baseball soccer master
    shadow michael jordan jennifer ashley daniel thomas robert charlie buster pepper ginger summer2024 winter2024 spring
    autumn fall january february march april may june july august september october november december monday friday
    """.split()  # noqa: SIM905 - hundreds of quoted words would be harder to read
)

# Whole literals, in small letters and digits only, that look random and are in everybody's search results.
_LITERALS: Final = frozenset(
    """
    09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7
    gu4m2kngbpncwqvhzivylmkn0dvlbjqg
    aaaaaaaaaabbbbbbbbbbccccccccccdd
    insertyoursecrethere
    3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b
    jwtauthenticationhighsecuredpasswordvvvp1oh7xzyr
    byym000ollmqg6vvvp1oh7xzyr7ghuw1qvuc5dcgt3snm
    yh2k7qsu4l8czg5p6x3pna9l0miy4d3bvt0jvr87ucoj69kqw5r2nmf4fws03hdx
    dhftos5uphk3vmcjqrexst1rsyjzbjxwrgjmfpu4
    fedaf7d8863b48e197b9287d492b708e
    e546c8df278cd5931069b522e695d4f2
    ixrajdoa2fqelo7ihrsrujelhuckepepvpaeplsxaw
    856fecba3b06519c8dddbc80bb080553
    db3oisjbxe9nzdy0t8w3tcnekrf2d1sfnwg4hnv8tzy30itodtvwjg8abwvb1glogjuqzdcf2luqmhccmw
    gqdstcksx0nhjpouxoyg5mbej1xt0ufiwdvvvbrk
    daf66e01593f61a15b857cf433aae03a005812b31234e149036bcc8dee755dbb
    9a4f2c8d3b7a1e6f45c8a0b3f267d8b1d4e6f3c8a9d2b5f8e3a9c8b5f6v8a3d9
    586b633834416e396d7436753879382f423f4428482b4c6250655367566b5970
    123e4567e89b12d3a456426614174000
    550e8400e29b41d4a716446655440000
    6ba7b8109dad11d180b400c04fd430c8
    f47ac10b58cc4372a5670e02b2c3d479
    603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4
    2b7e151628aed2a6abf7158809cf4f3c
    """.split()  # noqa: SIM905 - as above
)
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
        raise InvalidKey("The shared secret is made of what tutorials use, so it can be guessed.")


def is_known(secret: bytes) -> bool:
    """Whether the secret, or what it is the hex, base32 or base64 of, is known or leaves too little to guess."""
    return any(map(_is_guessable, _readings(bytes(secret), _DEEPEST)))


def _readings(secret: bytes, deep: int) -> Iterator[bytes]:
    """The secret, and what it may be an encoding of."""
    yield secret
    if deep and secret and _is_text(secret):
        for decoded in _decoded(secret.decode("ascii").strip()):
            yield from _readings(decoded, deep - 1)


def _decoded(text: str) -> Iterator[bytes]:
    if _HEX.fullmatch(text):
        yield bytes.fromhex(re.sub(r"[:\s-]", "", text.removeprefix("0x")))
    bare = text.rstrip("=")
    for decode, block, form in ((_base64, 4, bare), (b32decode, 8, bare.upper())):
        try:
            yield decode(form + "=" * (-len(form) % block))
        except ValueError:
            continue


def _base64(text: str) -> bytes:
    return b64decode(text, altchars=b"-_" if "-" in text or "_" in text else None, validate=True)


def _is_repetition(secret: bytes) -> bool:
    # A text that occurs in its own doubling at an offset other than 0 and its length is a repetition of that offset.
    period = (secret + secret).find(secret, 1)
    return period < min(len(secret), MIN_SECRET_BYTES // 2)


def _is_guessable(secret: bytes) -> bool:
    if is_progression(secret):
        return True
    if not secret or not _is_text(secret):
        return False
    text = secret.decode("ascii")
    plain = "".join(char for char in text if char.isalnum()).lower()
    if plain in _LITERALS or plain in _digests():
        return True
    return is_climbing(text.strip()) or guessing_bits(text, _WORDS) < ENOUGH_BITS


@cache
def _digests() -> frozenset[str]:
    """The hashes of single words, which some take for a random secret."""
    kinds = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
    return frozenset(
        hashlib.new(kind, word.encode(), usedforsecurity=False).hexdigest() for word in ("", *_WORDS) for kind in kinds
    )


def _is_text(secret: bytes) -> bool:
    return all(byte in _TEXT for byte in secret)
