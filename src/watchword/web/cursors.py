"""Cursors of lists: the id of the last item, checked for its form before it reaches the database."""

from __future__ import annotations

from watchword.errors import FieldError, InvalidInput
from watchword.web.forms import decode_form
from watchword.web.route import Call

_ID_LENGTH = 36


def cursor_of(call: Call) -> str:
    """Return the query's `cursor`, or an empty text. Raises `InvalidInput`."""
    cursor = decode_form(call.scope["query_string"], code="invalid_request").get("cursor", "")
    if cursor and not is_id(cursor):
        raise InvalidInput(FieldError("cursor", "cursor", "This is not a cursor that an earlier page gave."))
    return cursor


def is_id(text: str) -> bool:
    """Return whether text has the form of an id; nothing else reaches the database."""
    return len(text) == _ID_LENGTH and set(text) <= set("0123456789abcdef-")
