"""Read JSON strictly: refuse what RFC 8259 leaves open, because parsers disagree about it.

Refused: a name twice in one object at any level, NaN and Infinity, numbers beyond a double, invalid UTF-8, UTF-16, a
byte order mark, lone surrogates, deep nesting.

msgspec is three times as fast, but of two equal names the last wins. So its value counts only if writing it gives the
very same bytes. Anything else, and anything with bounds, is read by the standard library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from math import isfinite
from typing import Any, NamedTuple, NoReturn

import msgspec

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # also an unfinished one: no text is scanned twice
_NOT_BRACKET = re.compile(r"[^\[\]{}]+")
_fast_decode = msgspec.json.Decoder().decode
_fast_encode = msgspec.json.Encoder().encode


class NotStrict(ValueError):
    """Not strict JSON. The message says why, and repeats nothing of the text."""


class Bounds(NamedTuple):
    """Bounds on a stranger's JSON, which also refuse NUL.

    :param names: per object.
    :param letters: characters per string and name.
    :param integer: the largest, with either sign.
    """

    names: int
    letters: int
    integer: int


def read(data: bytes, *, max_depth: int) -> Any:
    """Return the value of UTF-8 bytes.

    :param max_depth: objects and arrays open at once; `{}` has depth 1.
    :raises ValueError: for anything but strict JSON.
    """
    # Each level needs a bracket: few brackets mean little depth.
    if data.count(b"[") + data.count(b"{") <= max_depth:
        try:
            value = _fast_decode(data)
            if _fast_encode(value) == data:
                return value
        except ValueError:  # msgspec's errors too: the other reader says what is wrong
            pass
    return _read_slowly(data, max_depth, None)


def read_object(data: bytes, *, max_depth: int) -> dict[str, Any]:
    """Read an object, as `read`."""
    value = read(data, max_depth=max_depth)
    if type(value) is not dict:
        raise NotStrict("This is not a JSON object.")
    return value


def read_bounded(data: bytes, *, max_depth: int, bounds: Bounds) -> Any:
    """Read within bounds, as `read`: about 2 µs for a log-in.

    :raises NotStrict: for anything but strict JSON, or too much of it.
    """
    return _read_slowly(data, max_depth, bounds)


def _read_slowly(data: bytes, max_depth: int, bounds: Bounds | None) -> Any:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrict("This is not UTF-8.") from None
    if text.count("[") + text.count("{") > max_depth and _depth(text) > max_depth:
        raise _too_deep(max_depth)
    try:
        value = _decoder(bounds)(text)
    except RecursionError:  # only when the caller's own stack is nearly used up
        raise _too_deep(max_depth) from None
    except json.JSONDecodeError as error:
        raise NotStrict(f"This is not JSON: see line {error.lineno}, column {error.colno}.") from None
    # Only escapes make surrogates and NUL here; a long string needs a long text.
    if "\\u" in text or (bounds is not None and len(text) > bounds.letters):
        for each in _strings(value):
            _check_string(each, bounds)
    return value


def _too_deep(max_depth: int) -> NotStrict:
    return NotStrict(f"This is nested more than {max_depth} levels deep.")


def _depth(text: str) -> int:
    deepest = level = 0
    for bracket in _NOT_BRACKET.sub("", _STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


@cache
def _decoder(bounds: Bounds | None) -> Callable[[str], Any]:
    """Make the standard library's decoder; its hooks see both of two equal names."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if bounds is not None and len(found) > bounds.names:
            raise NotStrict(f"An object has more than {bounds.names} names.")
        made = dict(found)
        if len(made) != len(found):
            raise NotStrict("An object holds the same name twice.")
        return made

    def integer(digits: str) -> int:
        if bounds is not None and (len(digits) > len(str(-bounds.integer)) or abs(int(digits)) > bounds.integer):
            raise NotStrict("A number is too large.")
        return int(digits)

    return json.JSONDecoder(
        object_pairs_hook=pairs, parse_int=integer, parse_float=_fraction, parse_constant=_constant
    ).decode


def _fraction(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise NotStrict("A number is too large.")
    return value


def _constant(_: str) -> NoReturn:
    raise NotStrict("NaN and Infinity are not JSON.")


def _strings(value: Any) -> Iterator[str]:
    """Yield every string and name of a value, without recursion."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list | dict):
            left += one
            if isinstance(one, dict):
                left += one.values()


def _check_string(text: str, bounds: Bounds | None) -> None:
    if bounds is not None and len(text) > bounds.letters:
        raise NotStrict(f"A string is longer than {bounds.letters} characters.")
    if bounds is not None and "\0" in text:
        raise NotStrict("A string holds a NUL character.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise NotStrict("A string holds half of a surrogate pair.") from None
