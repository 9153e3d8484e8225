"""Strict form bodies (`application/x-www-form-urlencoded`) for OAuth, and query strings (J2)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from watchword.errors import Refused

MAX_FIELDS = 20
MAX_VALUE = 8192  # characters, as in the longest token
_PLAIN = re.compile(r"[a-z_]{1,32}")
_HEX = frozenset(b"0123456789abcdefABCDEF")


def decode_form(body: bytes, *, code: str = "malformed_form") -> dict[str, str]:
    """Return a form's fields; an empty field counts as omitted (RFC 6749 section 3.2).

    :raises Refused: `malformed_form`, for over 20 fields, a repeated one, a bad `%`, no UTF-8, a NUL.
    """
    fields: dict[str, str] = {}
    if not body:
        return fields
    pairs = body.split(b"&", MAX_FIELDS)
    if len(pairs) > MAX_FIELDS:
        raise Refused(f"A form may have at most {MAX_FIELDS} fields.", code=code)
    for pair in pairs:
        raw_name, _, raw_value = pair.partition(b"=")
        name = _text(raw_name, code)
        if name in fields:
            raise Refused(f"{_said(name)} was sent twice. Send it once.", code=code)
        fields[name] = _text(raw_value, code, name)
    return {name: value for name, value in fields.items() if value}


def _text(raw: bytes, code: str, name: str = "") -> str:
    """Return a name, or the value of the field with this name."""
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        raw = _unescaped(raw, code, name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(f"{_said(name)} is not UTF-8.", code=code) from None
    if "\0" in text:
        raise Refused(f"{_said(name)} holds a NUL character.", code=code)
    if len(text) > MAX_VALUE:
        raise Refused(f"{_said(name)} is longer than {MAX_VALUE} characters.", code=code)
    return text


def _unescaped(raw: bytes, code: str, name: str) -> bytes:
    for part in raw.split(b"%")[1:]:
        if not part[:1] or not part[1:2] or part[0] not in _HEX or part[1] not in _HEX:
            raise Refused(f"{_said(name)} has a `%` that is not followed by two hexadecimal digits.", code=code)
    return unquote_to_bytes(raw)


def _said(name: str) -> str:
    """Name a field, unless it has a name that no field of ours has: of that nothing is repeated."""
    return f"The field {name}" if _PLAIN.fullmatch(name) else "A field"
