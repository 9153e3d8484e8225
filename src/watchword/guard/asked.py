"""Reads and checks the scopes, roles and age that an application asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from watchword.guard.marks import EVERYONE, FROM_CODE
from watchword.tokens.needs import NOTHING, Needs

Names = Annotated[str | Iterable[str], FROM_CODE]
"""Scopes or roles: several, or one text with spaces."""
NONE: Final[frozenset[str]] = NOTHING.roles


def needs_of(roles: Names, scopes: Names, max_age: int | None) -> Needs:
    """Return what one check asks for. :raises ValueError: as `names`."""
    if roles is NONE and scopes is NONE and max_age is None:
        return NOTHING
    return Needs(names(roles), names(scopes), max_age)


def names(given: Names) -> frozenset[str]:
    """Return scopes or roles as a set. :raises ValueError: they are empty, so any caller would pass."""
    if type(given) is frozenset:  # from `checked_names`
        return given
    found = frozenset(given.split() if isinstance(given, str) else given)
    if not found and given is not EVERYONE:
        raise ValueError("guard: roles or scopes are empty; leave them out where every caller may pass")
    return found


def checked_age(given: Any) -> int | None:
    """Return the seconds since log-in. :raises TypeError: neither whole seconds nor None."""
    if given is not None and (type(given) is not int or given < 0):
        raise TypeError(f"guard: max_age is a number of whole seconds or None, unlike {given!r}")
    checked: int | None = given
    return checked


def checked_names(given: Any, name: str) -> frozenset[str]:
    """Return scopes or roles as a set, and check all of it.

    :raises TypeError: something else, such as None.
    :raises ValueError: they are empty, as from a missing setting.
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
