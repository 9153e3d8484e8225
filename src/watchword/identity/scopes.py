"""Scopes: how much of them fits a token."""

from __future__ import annotations

from typing import Final

from watchword.errors import FieldError, InvalidInput
from watchword.settings.scopes import SCOPE_FORM, is_scope

MOST_TEXT: Final = 1024
"""Characters that the scopes of one token have at most, with a space between each two."""


def checked(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return these scopes sorted, each once. Raises `InvalidInput` for a malformed one and for too many."""
    if not all(map(is_scope, scopes)):
        raise InvalidInput(FieldError("scopes", "characters", SCOPE_FORM))
    found = tuple(sorted(set(scopes)))
    if len(" ".join(found)) > MOST_TEXT:
        message = f"These scopes have more than the {MOST_TEXT} characters that a token can hold."
        raise InvalidInput(FieldError("scopes", "too_many", message))
    return found
