"""Which passwords may be set. Log-in never asks: an accepted password keeps working.

SP 800-63B-4 section 3.1.1: length and a list of common passwords; no kinds of characters, no expiry.
"""

from __future__ import annotations

import gzip
import string
import unicodedata
from functools import cache
from importlib.resources import files

from watchword.errors import FieldError
from watchword.identity.hashing import BCRYPT_MAX_BYTES, PASSWORD_MAX_BYTES

_MINIMUM = {"default": 8, "nist": 15}
_LEAST_IDENTIFIER = 3
_LEAST_LISTED = 8
_DECORATION = string.digits + string.punctuation + " "
_SEQUENCES = (
    "abcdefghijklmnopqrstuvwxyz" * 2,
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik",
)


@cache
def _common() -> frozenset[str]:
    """Return common passwords of at least eight characters, lower-cased. NOTICE names the origin."""
    data = files("watchword.identity").joinpath("common_passwords.txt.gz").read_bytes()
    return frozenset(gzip.decompress(data).decode().split("\n"))


def faults(
    password: str, *, identifiers: tuple[str, ...], policy: str, hash_kind: str, field: str = "password"
) -> list[FieldError]:
    """Return every rule that the password breaks.

    :param identifiers: its user's username and e-mail address.
    :param policy: `default` (at least 8 characters) or `nist` (at least 15).
    """
    if len(password) > PASSWORD_MAX_BYTES:  # before anything whose time grows with the square of the length
        return [FieldError(field, "too_long", f"A password has at most {PASSWORD_MAX_BYTES} bytes.")]
    normal = unicodedata.normalize("NFKC", password)
    minimum = _MINIMUM[policy]
    found = []
    if len(normal) < minimum:
        found.append(FieldError(field, "too_short", f"A password has at least {minimum} characters."))
    limit = BCRYPT_MAX_BYTES if hash_kind == "bcrypt" else PASSWORD_MAX_BYTES
    if len(normal.encode()) > limit:
        found.append(FieldError(field, "too_long", f"A password has at most {limit} bytes."))
    elif _is_common(normal.casefold()) or (policy == "nist" and _is_common(normal.casefold().strip(_DECORATION))):
        found.append(FieldError(field, "too_common", "This password is on the list of those that attackers try first."))
    if _contains_identifier(normal.casefold(), identifiers):
        found.append(FieldError(field, "contains_identifier", "A password does not contain the username or e-mail."))
    return found


def _is_common(password: str) -> bool:
    if password in _common() or len(set(password)) <= 2:  # noqa: PLR2004
        return True
    piece = _repeated(password)
    if piece and (len(piece) < _LEAST_LISTED or piece in _common()):
        return True
    return any(password in row or password[::-1] in row for row in _SEQUENCES)


def _repeated(password: str) -> str:
    """Return the piece that the password repeats (`passwordpassword`, `abcabcab`), or an empty string."""
    for length in range(1, len(password) // 2 + 1):
        if password[length:] == password[:-length]:
            return password[:length]
    return ""


def _contains_identifier(password: str, identifiers: tuple[str, ...]) -> bool:
    for identifier in identifiers:
        folded = unicodedata.normalize("NFKC", identifier).casefold()
        if password in {folded, folded.partition("@")[0]}:
            return True
        # A name of one or two letters is inside most passwords.
        if len(folded) >= _LEAST_IDENTIFIER and folded in password:
            return True
    return False
