"""JSON read strictly: what RFC 8259 leaves open is refused here, because parsers disagree about it.

Refused: a name twice in one object at any level, NaN and Infinity, numbers beyond a double, invalid UTF-8, UTF-16,
a byte order mark, lone surrogates, deep nesting.

msgspec is three times as fast but lets the last of two equal names win. So it reads first, and its word is taken only
if writing the value again gives the very same bytes: then nothing was dropped, and nothing is unusual. That is the
case for everything we wrote ourselves; whatever else there is goes the long way.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, NoReturn

import msgspec

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # also an unfinished one, so that no text is scanned twice
_NOT_BRACKET = re.compile(r"[^\[\]{}]+")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError("a number beyond the range of a double")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant).decode
_fast_decode = msgspec.json.Decoder().decode
_fast_encode = msgspec.json.Encoder().encode


def read(data: bytes, *, max_depth: int) -> Any:
    """The value that the UTF-8 bytes hold.

    :param max_depth: how many objects and arrays may be open at once; `{}` has depth 1.
    :raises ValueError: anything that is not strict JSON.
    """
    # Each level needs an opening bracket, so few brackets mean little depth.
    if data.count(b"[") + data.count(b"{") <= max_depth:
        try:
            value = _fast_decode(data)
            if _fast_encode(value) == data:
                return value
        except ValueError:  # msgspec's own errors among them: the long way says what is wrong
            pass
    return _read_slowly(data, max_depth)


def read_object(data: bytes, *, max_depth: int) -> dict[str, Any]:
    """As `read`, and the value must be an object."""
    value = read(data, max_depth=max_depth)
    if type(value) is not dict:
        raise ValueError("not a JSON object")
    return value


def _read_slowly(data: bytes, max_depth: int) -> Any:
    text = data.decode("utf-8")
    if _depth(text) > max_depth:
        raise ValueError("nested too deeply")
    try:
        value = _decode(text)
    except RecursionError:  # unreachable after the check above, unless the caller's own stack is nearly used up
        raise ValueError("nested too deeply") from None
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate has no UTF-8
    return value


def _depth(text: str) -> int:
    deepest = level = 0
    for bracket in _NOT_BRACKET.sub("", _STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest
