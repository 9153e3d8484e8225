"""Query strings of lists: known names only, each with its form."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from watchword.errors import FieldError, InvalidInput
from watchword.web.forms import decode_form
from watchword.web.route import Call

PAGE: Final = 50
MOST: Final = 100
_LONGEST: Final = 255
PAGING: Final = {
    "cursor": "`next_cursor` of the page before, with the same filters",
    "limit": f"how many, 1 to {MOST}; {PAGE} without it",
}


def filters_of(call: Call, known: Collection[str]) -> tuple[Mapping[str, str], str, int]:
    """Return the filters that were given, the cursor, and how many items are wanted.

    :raises InvalidInput: for names that are not known, and values that cannot be.
    """
    query = decode_form(call.scope["query_string"], code="invalid_request")
    faults = [_unknown(name) for name in query if name not in known and name not in PAGING]
    faults += [_long(name) for name, value in query.items() if name in known and len(value) > _LONGEST]
    limit = query.pop("limit", str(PAGE))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= len(str(MOST)) and 1 <= int(limit) <= MOST):
        faults.append(FieldError("limit", "number", f"This must be a whole number from 1 to {MOST}."))
    if faults:
        raise InvalidInput(*faults)
    cursor = query.pop("cursor", "")
    return query, cursor, int(limit)


def flag(filters: Mapping[str, str], name: str) -> bool | None:
    """Return a filter that is `true` or `false`; None without it. Raises `InvalidInput`."""
    value = filters.get(name)
    if value not in (None, "true", "false"):
        raise InvalidInput(FieldError(name, "flag", "This must be true or false."))
    return None if value is None else value == "true"


def _unknown(name: str) -> FieldError:
    return FieldError(name[:_LONGEST], "unknown_field", "There is no parameter of this name here.")


def _long(name: str) -> FieldError:
    return FieldError(name, "too_long", f"This has at most {_LONGEST} characters.")
