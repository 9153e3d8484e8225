"""Usernames and e-mail addresses: how they are stored and found.

Two people never share a key. No one needs to remember how they typed an identifier. Functions are pure.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from watchword.errors import FieldError, InvalidInput

USERNAME_MAX = 64
EMAIL_MAX = 254
_RAW_MAX = 254
"""Characters that are looked at at all: the time that normalising takes grows with the square of the length."""
_USERNAME_MARKS = frozenset("._-")
# Scripts that are written together; other mixtures make look-alikes.
_TOGETHER = (frozenset({"CJK", "HIRAGANA", "KATAKANA"}), frozenset({"CJK", "HANGUL"}), frozenset({"CJK", "BOPOMOFO"}))
# Unicode's names for the scripts of a few characters → the script they are written with.
_SCRIPT_OF = {"IDEOGRAPHIC": "CJK", "EXTENDED": "ARABIC"}
# Invisible letters and marks: Unicode's default ignorable ones (RFC 8264 section 9.13).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f").union(
    map(chr, range(0xFE00, 0xFE10)), map(chr, range(0xE0100, 0xE01F0))
)
JOINERS = frozenset("\u200c\u200d")
"""Formats without which some scripts are misspelt."""
FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and marks that are blank."""
_BLANK = _INVISIBLE | JOINERS | FILLERS
_AROUND = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\u200b\u200e\u200f\u2060\ufeff"
_LIKE_AN_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_PRIVATE = frozenset(SPECIAL_USE_DOMAIN_NAMES) | {
    *("local", "localhost", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "home.arpa"),
    *("test", "invalid"),
}
_BELOW_PRIVATE = tuple(f".{each}" for each in _PRIVATE)
_PUBLIC = ".example.org"
# Most addresses: what the library says of them is known, and it takes a hundred times as long to say so.
_ORDINARY = re.compile(
    r"(?=.{1,64}@)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[A-Za-z0-9](?!.--)[A-Za-z0-9-]{0,40}[A-Za-z0-9]\.){1,4}[A-Za-z]{2,20}"
)
_PLAIN = re.compile(rf"[A-Za-z0-9._-]{{1,{USERNAME_MAX}}}")  # most usernames: nothing is to be normalised
_RESERVED = frozenset({"me", "self", "null", "undefined", "anonymous", "watchword"})


class Identifier(NamedTuple):
    """A username or an e-mail address. `text` is shown, `key` is unique and looked up."""

    kind: str
    text: str
    key: str


def username(text: str) -> Identifier:
    """Return a new username, neither reserved nor like an id. Raises `InvalidInput`."""
    chosen = _username(text)
    if chosen.key in _RESERVED:
        raise _invalid("username", "reserved", "This username is reserved.")
    if _LIKE_AN_ID.fullmatch(chosen.key):
        raise _invalid("username", "reserved", "A username cannot look like an id.")
    return chosen


def _username(text: str) -> Identifier:
    """Check letters and digits of one script, `.`, `_`, `-`; NFKC and case-folded for look-up (RFC 8265).

    `@` is refused, so that it is never taken for an address. Raises `InvalidInput`.
    """
    if _PLAIN.fullmatch(text):
        return Identifier("username", text, text.lower())
    shown = _normal(text)
    if not 1 <= len(shown) <= USERNAME_MAX:
        raise _invalid("username", "length", f"A username has 1 to {USERNAME_MAX} characters.")
    if not all(map(_may_be_in_username, shown)):
        raise _invalid("username", "characters", "A username has only letters, digits, '.', '_' and '-'.")
    if not shown.isascii() and not _one_script(shown):
        raise _invalid("username", "mixed_scripts", "A username has letters of one script only.")
    return Identifier("username", shown, unicodedata.normalize("NFKC", shown.casefold()))


def email(text: str, *, private: bool = False) -> Identifier:
    """Normalise and check an e-mail address. The key is lower-cased local part and IDNA domain.

    Dots and plus signs stay: their meaning is the provider's business.

    :param private: accept domains of closed networks too: `.local`, `.internal`, `localhost`, any without a dot.
    :raises InvalidInput:
    """
    normal = _normal(text)
    if len(normal) > EMAIL_MAX or normal.count("@") != 1:
        raise _invalid("email", "email", "This is not an e-mail address.")
    closed = _is_private(normal.rpartition("@")[2].lower())
    if not closed and _ORDINARY.fullmatch(normal):
        local, _, domain = normal.partition("@")
        return Identifier("email", f"{local}@{domain.lower()}", normal.lower())
    # The library always refuses such domains; below a public one it checks the rest.
    below = _PUBLIC if closed else ""
    try:
        checked = validate_email(normal + below, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as error:
        raise _invalid("email", "email", f"This is not an e-mail address: {error}") from error
    if closed and not private:
        message = "This address is of a closed network. The operator can accept these with WATCHWORD_PRIVATE_EMAIL."
        raise _invalid("email", "private_domain", message)
    key = f"{checked.local_part.lower()}@{checked.ascii_domain.lower()}"
    return Identifier("email", checked.normalized.removesuffix(below), key.removesuffix(below))


def mailbox(stored: str) -> str:
    """Return a stored address as SMTP takes it: the local part as it was given, the domain in ASCII."""
    try:
        key = email(stored, private=True).key
    except InvalidInput:
        return stored
    return f"{stored.rpartition('@')[0]}@{key.rpartition('@')[2]}"


def same_mailbox(key: str) -> str:
    """Return what many providers take for one mailbox: without dots and what follows a plus sign. For limits only."""
    local, _, domain = key.rpartition("@")
    return f"{local.partition('+')[0].replace('.', '')}@{domain}"


def typed(text: str) -> Identifier:
    """Return what a user typed to log in: an address if it has an `@` once normalised, else a username.

    Reserved names are found too, and names that another system allowed, since users may have them. Never raises: other
    text is looked up as it is, and found by no one.
    """
    is_email = "@" in _normal(text)
    try:
        return email(text, private=True) if is_email else _username(text)
    except InvalidInput:
        kind = "email" if is_email else "username"
    try:
        return Identifier(kind, text, _foreign(text).key)
    except InvalidInput:
        return Identifier(kind, text, f"\x1f{text}")


def imported_username(text: str) -> Identifier:
    """Return a username that another system allowed: reserved, long, with spaces, `+` or `@`. Raises `InvalidInput`.

    Its key is that of `typed`. One that reads as an e-mail address has the key of that address: who is meant must not
    depend on the column. Anyone who inserts one checks that the address is no one else's, and the other way round.
    """
    if _PLAIN.fullmatch(text):
        return _username(text)
    found, shown = typed(text), _foreign(text)
    return shown._replace(key=found.key)


def _foreign(text: str) -> Identifier:
    """Check that a name can be seen and typed. Raises `InvalidInput`."""
    shown = _normal(text)
    if not 1 <= len(shown) <= _RAW_MAX:
        raise _invalid("username", "length", f"An imported username has 1 to {_RAW_MAX} characters.")
    if not shown.isprintable() or _INVISIBLE.intersection(shown):
        raise _invalid("username", "characters", "An imported username has no invisible characters.")
    return Identifier("username", shown, unicodedata.normalize("NFKC", shown.casefold()))


def is_blank(text: str) -> bool:
    """Tell whether nothing of a text can be seen."""
    return all(character.isspace() or character in _BLANK for character in text)


def tidy(text: str) -> str:
    """Remove invisible ends, which copying and phones' keyboards add."""
    return text.strip(_AROUND)


def _normal(text: str) -> str:
    """Return tidy NFKC; overlong text stays as it is, and too long."""
    tidied = tidy(text)
    return tidied if len(tidied) > _RAW_MAX else tidy(unicodedata.normalize("NFKC", tidied))


def _is_private(domain: str) -> bool:
    """Return whether a domain is local to a network, or reserved (RFC 6761, 6762, 8375)."""
    return "." not in domain or domain in _PRIVATE or domain.endswith(_BELOW_PRIVATE)


def _may_be_in_username(character: str) -> bool:
    if character in _USERNAME_MARKS:
        return True
    return unicodedata.category(character)[0] in "LMN" and character not in _INVISIBLE


def _one_script(text: str) -> bool:
    # Digits count too: the Arabic zero looks like a full stop. ASCII's belong to every script.
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


def masked(address: str) -> str:
    """Return an address so that those who know it recognise it, and no mail program makes a link: `m…@e….net`."""
    local, _, domain = address.rpartition("@")
    name, dot, last = domain.rpartition(".")
    return f"{local[:1]}…@{name[:1]}…{dot}{last}"
