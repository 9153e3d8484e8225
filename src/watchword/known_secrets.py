"""Refuse public shared secrets, by our own list from tutorials and templates.

Refused are short, repeating and literal secrets, those of few different bytes, and those made of listed words. This
does not measure randomness.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from watchword.errors import InvalidKey

MIN_SECRET_BYTES: Final = 32
_MIN_DIFFERENT_BYTES: Final = 7  # 40 random digits have fewer once in 400,000 times
_MAX_CHECKED: Final = 512  # bytes

_WORDS: Final = frozenset(
    """
    a an and any as at be by can do for from here i in is it me my mine not of on one only or our out s so some
    something that the this to too up use used using very we will with you your yours
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
    0123456789abcdef fedcba9876543210 deadbeef
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
    valid nobody because when what which who nothing somebody everything knows about be able are was
    customer client admin123 root123 test123 password1 password123 qwerty123 letmein123 abc123 welcome1 monkey123
    please123 hogwarts gandalf starwars matrix batman superman spiderman naruto pokemon football baseball soccer master
    shadow michael jordan jennifer ashley daniel thomas robert charlie buster pepper ginger summer2024 winter2024 spring
    autumn fall january february march april may june july august september october november december monday friday
    """.split()  # noqa: SIM905 - easier to read
)

# Web pages' literals that look random: lower-case letters and digits only.
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
_LONGEST_WORD: Final = max(map(len, _WORDS))
# As tutorials write them, byte for byte.
_PHRASES: Final = (
    "your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret", "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long", "your-secret-key", "your_secret_key",
    "my-secret-key", "my_secret_key", "super-secret", "super-secret-key", "super_secret_key", "jwt-secret",
    "jwt_secret", "change-me", "change_me", "change-this", "secret-key", "secret_key", "access-token-secret",
    "access_token_secret", "keyboard cat", "django-insecure", "your-super-secret-jwt-key", "your_jwt_secret",
    "your-jwt-secret",
    "your-super-secret-jwt-token-with-at-least-32-characters-long", "JWT_SECRET", "ACCESS_TOKEN_SECRET", "SECRET_KEY",
)  # fmt: skip


def check_shared_secret(secret: bytes, *, least: int = MIN_SECRET_BYTES) -> None:
    """Refuse a known or repeating secret. Call this where secrets are set.

    :param least: bytes that it needs.
    :raises InvalidKey: not bytes, too few, repeating, or known from tutorials.
    """
    if not isinstance(secret, bytes | bytearray):
        raise InvalidKey("A shared secret is given as bytes.")
    if len(secret) < least:
        raise InvalidKey(f"The shared secret has {len(secret)} bytes; it needs at least {least}.")
    if len(set(secret)) < _MIN_DIFFERENT_BYTES or _is_repetition(secret):
        raise InvalidKey("The shared secret repeats itself, so it can be guessed.")
    if _is_known(secret):
        raise InvalidKey("The shared secret is made of what tutorials use, so it can be guessed.")


def guesses() -> Iterator[bytes]:
    """Yield what an attacker tries first: known secrets as they are written, words alone and twice."""
    yield b""
    for text in (*_PHRASES, *sorted(_LITERALS)):
        yield text.encode()
    for word in sorted(_WORDS):
        for text in (word, word.upper(), word.capitalize(), word + "123", word * 2):
            yield text.encode()


def _is_known(secret: bytes) -> bool:
    text = secret[:_MAX_CHECKED].decode("latin-1").strip()
    if not (text.isascii() and text.replace("\n", " ").isprintable()):
        return False  # random bytes: letters are no words
    plain = "".join(filter(str.isalnum, text.lower()))
    return plain in _LITERALS or _is_made_of_words(plain, cut=len(secret) > _MAX_CHECKED)


def _is_made_of_words(plain: str, *, cut: bool) -> bool:
    if sum(map(str.isdecimal, plain)) * 2 > len(plain):
        return False  # a text of digits may be random
    ends = {0}  # where words and digits can end
    for end in range(1, len(plain) + 1):
        if (end - 1 in ends and plain[end - 1].isdecimal()) or any(
            start in ends and plain[start:end] in _WORDS for start in range(max(0, end - _LONGEST_WORD), end)
        ):
            ends.add(end)
    return len(plain) - max(ends) < (_LONGEST_WORD if cut else 1)


def _is_repetition(secret: bytes) -> bool:
    # A text found in its own doubling repeats at that offset.
    return (secret + secret).find(secret, 1) <= min(len(secret), MIN_SECRET_BYTES) // 2
