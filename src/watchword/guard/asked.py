"""What an application writes to ask for scopes, roles or a recent log-in, checked and read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from watchword.guard.marks import EVERYONE, FROM_CODE
from watchword.tokens.needs import NOTHING, Needs

Names = Annotated[str | Iterable[str], FROM_CODE]
"""Scopes or roles: several, or one text with spaces in between."""
NONE: Final[frozenset[str]] = NOTHING.roles


def needs_of(roles: Names, scopes: Names, max_age: int | None) -> Needs:
    """Return what one check asks for. :raises ValueError: as `names`."""
    if roles is NONE and scopes is NONE and max_age is None:
        return NOTHING
    return Needs(names(roles), names(scopes), max_age)


def names(given: Names) -> frozenset[str]:
    """Return scopes or roles as a set.

    :raises ValueError: an empty text or list, as of a setting that is missing: any caller would do.
    """
    if type(given) is frozenset:  # as `checked_names` gave it
        return given
    found = frozenset(given.split() if isinstance(given, str) else given)
    if not found and given is not EVERYONE:
        raise ValueError("guard: roles or scopes are empty; leave them out where every caller may pass")
    return found


def checked_age(given: Any) -> int | None:
    """Return seconds since log-in, as they are written down.

    :raises TypeError: not a number of seconds, and not None.
    """
    if given is not None and (type(given) is not int or given < 0):
        raise TypeError(f"guard: max_age is a number of whole seconds or None, unlike {given!r}")
    checked: int | None = given
    return checked


def checked_names(given: Any, name: str) -> frozenset[str]:
    """Return scopes or roles as a set, as they are written down.

    :raises TypeError: something else, such as None or a number.
    :raises ValueError: an empty text or list, as of a setting that is missing: any caller would do.
    """
    if not isinstance(given, Iterable) or isinstance(given, bytes | bytearray):
        raise TypeError(f"guard: {name} are texts, or one text with spaces between them, unlike {given!r}")
    found = frozenset(given.split() if isinstance(given, str) else given)
    for each in found:
        if not isinstance(each, str):
            raise TypeError(f"guard: {name} are texts, unlike {each!r}")
    if not found and given is not EVERYONE:
        raise ValueError(f"guard: {name} are empty; leave them out where every caller may pass")
    if "" in found:
        raise ValueError(f"guard: one of the {name} is empty")
    return found
