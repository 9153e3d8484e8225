"""What is kept with a user: a name, and two objects of JSON that operators write. Bounded."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from math import isfinite
from typing import Any, Final, NamedTuple

import msgspec

from watchword import strict_json
from watchword.claim_names import OF_JAVASCRIPT
from watchword.errors import FieldError, InvalidInput
from watchword.identity.identifiers import FILLERS, JOINERS, is_blank, tidy
from watchword.tally import Log, Tally

LONGEST_NAME: Final = 100  # characters
MOST_BYTES: Final = 4096
"""Of each object, written as JSON in UTF-8."""

DEEPEST: Final = 6
"""Objects and lists inside each other, so that a token that carries the whole is not too deep for its readers."""

LONGEST_KEY: Final = 64
LARGEST: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

NOTHING: Final = "{}"

# Of formats (Cf) some turn the direction of text, others are not seen at all: a name could then look like another one.
_NOT_IN_NAMES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_MOST_READ = 8 * MOST_BYTES  # with blanks and escapes
_BOUNDS = strict_json.Bounds(names=MOST_BYTES, letters=MOST_BYTES, integer=LARGEST)
_unreadable = Tally(Log("watchword.users"), "stored_metadata_unreadable", level="error")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class UserData(NamedTuple):
    """What a new user begins with; both objects as stored text."""

    name: str | None = None
    public_metadata: str = NOTHING
    private_metadata: str = NOTHING


NO_DATA: Final = UserData()


def checked_name(text: str) -> str:
    """Return a name of a person, tidy and in Unicode's composed form. Raises `InvalidInput`."""
    if len(text) <= 4 * LONGEST_NAME:  # normalising longer text takes long
        name = tidy(unicodedata.normalize("NFC", tidy(text)))
        if 1 <= len(name) <= LONGEST_NAME:
            if not all(map(_may_be_in_name, name)) or is_blank(name):
                message = "A name has no line breaks, no control characters and no invisible ones."
                raise _invalid("name", "characters", message)
            return name
    raise _invalid("name", "length", f"A name has 1 to {LONGEST_NAME} characters.")


def _may_be_in_name(character: str) -> bool:
    if character in JOINERS:
        return True
    return unicodedata.category(character) not in _NOT_IN_NAMES and character not in FILLERS


def checked_metadata(value: Any, field: str) -> str:
    """Return a JSON object as the text that is stored. Raises `InvalidInput`.

    :param field: `public_metadata` or `private_metadata`.
    """
    if type(value) is not dict:
        raise _invalid(field, "wrong_type", "This must be an object.")
    if (fault := _fault(value)) is not None:
        raise _invalid(field, *fault)
    text = _encode(value)
    if len(text) > MOST_BYTES:
        raise _invalid(field, "too_large", f"As JSON this has {len(text):,} bytes; at most {MOST_BYTES:,} are kept.")
    return text.decode()


def metadata_of(data: bytes, field: str) -> str:
    """Return a JSON object in a file or an argument as the text that is stored. Raises `InvalidInput`."""
    if len(data) > _MOST_READ:
        raise _invalid(field, "too_large", f"This has more than {_MOST_READ:,} bytes.")
    try:
        value = strict_json.read_bounded(data, max_depth=DEEPEST, bounds=_BOUNDS)
    except strict_json.NotStrict as error:
        raise _invalid(field, "malformed", str(error)) from None
    return checked_metadata(value, field)


def read_metadata(text: str) -> dict[str, Any]:
    """Return a stored object.

    Text that `checked_metadata` did not make, which someone has written by hand, is logged and read as empty: no one
    is locked out by it.
    """
    with suppress(ValueError):  # msgspec's errors are
        value = _decode(text)
        if type(value) is dict:
            return value
    _unreadable.add(column="public_metadata or private_metadata of ww_users")
    return {}


def fault_in(value: dict[Any, Any]) -> str | None:
    """Return what is wrong with an object that is to be written as JSON, or None."""
    fault = _fault(value)
    return None if fault is None else fault[1]


def _fault(whole: dict[Any, Any]) -> tuple[str, str] | None:
    """Return code and sentence of the first fault, without recursion."""
    left: list[tuple[Any, int]] = [(whole, 1)]
    while left:
        value, depth = left.pop()
        if isinstance(value, dict | list):
            if depth > DEEPEST:
                return "too_deep", f"Objects and lists stand at most {DEEPEST} deep in each other."
            if isinstance(value, dict) and (fault := _fault_of_keys(value)) is not None:
                return fault
            left += [(each, depth + 1) for each in (value.values() if isinstance(value, dict) else value)]
        elif (fault := _fault_of_value(value)) is not None:
            return fault
    return None


def _fault_of_keys(value: dict[Any, Any]) -> tuple[str, str] | None:
    for key in value:
        if type(key) is not str or not 1 <= len(key) <= LONGEST_KEY or _unwritable(key) or not key.isprintable():
            return "key", f"A name in an object has 1 to {LONGEST_KEY} printable characters."
        if key in OF_JAVASCRIPT:
            return "key", "The names __proto__, constructor and prototype mean something else to JavaScript."
    return None


def _fault_of_value(value: Any) -> tuple[str, str] | None:
    if type(value) is str:
        return ("characters", "A text holds NUL or half of a surrogate pair.") if _unwritable(value) else None
    if type(value) is int:
        return None if abs(value) <= LARGEST else ("number", "A whole number is beyond 2^53, where readers round.")
    if type(value) is float:
        return None if isfinite(value) else ("number", "A number is not finite.")
    return None if value is None or type(value) is bool else ("wrong_type", "Only what JSON knows can be kept.")


def _unwritable(text: str) -> bool:
    """Tell whether PostgreSQL, or UTF-8, cannot hold a text."""
    if text.isascii():
        return "\0" in text
    return "\0" in text or any("\ud800" <= each <= "\udfff" for each in text)


def _invalid(field: str, code: str, message: str) -> InvalidInput:
    return InvalidInput(FieldError(field, code, message))
