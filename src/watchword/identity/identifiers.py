"""Usernames and e-mail addresses: how they are kept, and under which key they are found.

Two people must never share a key, and one person must not need to remember how they once typed it. Pure functions.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from email_validator import EmailNotValidError, validate_email

from watchword.errors import FieldError, InvalidInput

USERNAME_MAX = 64
EMAIL_MAX = 254
_RAW_MAX = 254
"""Characters that are looked at at all: the time that normalising takes grows with the square of the length."""
_USERNAME_MARKS = frozenset("._-")
# Scripts that are written together; any other mixture within one username is how look-alikes are made.
_TOGETHER = (frozenset({"CJK", "HIRAGANA", "KATAKANA"}), frozenset({"CJK", "HANGUL"}), frozenset({"CJK", "BOPOMOFO"}))
# What Unicode calls the script of a few characters, and which one they are written with.
_SCRIPT_OF = {"IDEOGRAPHIC": "CJK", "EXTENDED": "ARABIC"}
# Letters and marks that show nothing: Unicode's default ignorable ones (RFC 8264 section 9.13).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f").union(
    map(chr, range(0xFE00, 0xFE10)), map(chr, range(0xE0100, 0xE01F0))
)
_RESERVED = frozenset({"me", "self", "null", "undefined", "anonymous", "watchword"})


class Identifier(NamedTuple):
    """A username or an e-mail address. `text` is kept and shown, `key` is unique and looked up."""

    kind: str
    text: str
    key: str


def username(text: str) -> Identifier:
    """A username: letters and digits of one script, `.`, `_`, `-`; NFKC and case-folded for look-up (RFC 8265).

    No `@`, so that it can never be taken for an address. Raises `InvalidInput`.
    """
    shown = _normal(text)
    if not 1 <= len(shown) <= USERNAME_MAX:
        raise _invalid("username", "length", f"A username has 1 to {USERNAME_MAX} characters.")
    if not all(map(_may_be_in_username, shown)):
        raise _invalid("username", "characters", "A username has only letters, digits, '.', '_' and '-'.")
    if not shown.isascii() and not _one_script(shown):
        raise _invalid("username", "mixed_scripts", "A username has letters of one script only.")
    key = unicodedata.normalize("NFKC", shown.casefold())
    if key in _RESERVED:
        raise _invalid("username", "reserved", "This username is reserved.")
    return Identifier("username", shown, key)


def email(text: str) -> Identifier:
    """An e-mail address: normalised first, then checked; look-up is by lower-cased local part and IDNA domain.

    Dots and plus signs in the local part are left alone: whether they matter is the provider's business.
    Raises `InvalidInput`.
    """
    normal = _normal(text)
    if len(normal) > EMAIL_MAX or normal.count("@") != 1:
        raise _invalid("email", "email", "This is not an e-mail address.")
    try:
        checked = validate_email(normal, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    except EmailNotValidError as error:
        raise _invalid("email", "email", f"This is not an e-mail address: {error}") from error
    key = f"{checked.local_part.lower()}@{checked.ascii_domain.lower()}"
    return Identifier("email", checked.normalized, key)


def typed(text: str) -> Identifier:
    """What somebody typed to log in: an address if it has an `@` once normalised, else a username.

    Never raises: what cannot be either is looked up as it stands and found by nobody.
    """
    is_email = "@" in _normal(text)
    try:
        return email(text) if is_email else username(text)
    except InvalidInput:
        return Identifier("email" if is_email else "username", text, f"\x1f{text}")


def _normal(text: str) -> str:
    """NFKC; a text that is too long for anything stays as it is, and too long."""
    return text if len(text) > _RAW_MAX else unicodedata.normalize("NFKC", text)


def _may_be_in_username(character: str) -> bool:
    if character in _USERNAME_MARKS:
        return True
    return unicodedata.category(character)[0] in "LMN" and character not in _INVISIBLE


def _one_script(text: str) -> bool:
    # Digits count as well: the Arabic zero looks like a full stop. ASCII's belong to every script.
    scripts = {
        _script(character)
        for character in text
        if unicodedata.category(character)[0] in "LN" and character not in "0123456789"
    }
    return len(scripts) <= 1 or any(scripts <= together for together in _TOGETHER)


def _script(character: str) -> str:
    first = unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]
    return _SCRIPT_OF.get(first, first)


def _invalid(field: str, code: str, message: str) -> InvalidInput:
    return InvalidInput(FieldError(field, code, message))
