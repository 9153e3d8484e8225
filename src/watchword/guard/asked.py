"""Reads and checks the scopes, roles and age that an application asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from watchword.guard.marks import EVERYONE, FROM_CODE
from watchword.tokens.needs import NOTHING, Needs

Names = Annotated[str | Iterable[str], FROM_CODE]
"""Scopes or roles: several, or one text with spaces."""


def needs_of(roles: Names, scopes: Names, max_age: int | None, api_keys: bool = False) -> Needs:
    """Return what one check asks for.

    :raises TypeError: not names, not seconds, or not a switch.
    :raises ValueError: empty names, as of a missing setting: any caller would pass.
    """
    if roles is EVERYONE and scopes is EVERYONE and max_age is None and api_keys is False:
        return NOTHING
    found = Needs(checked_names(roles, "roles"), checked_names(scopes, "scopes"), checked_age(max_age))
    return found._replace(api_keys=checked_switch(api_keys, found))


def checked_switch(given: Any, needs: Needs) -> bool:
    """Return whether API keys are accepted.

    :raises TypeError: neither True nor False.
    :raises ValueError: roles or a recent log-in are needed too, which no key has.
    """
    if not isinstance(given, bool):
        raise TypeError(f"guard: api_keys is True or False, unlike {given!r}")
    if given and (needs.roles or needs.max_age is not None):
        raise ValueError("guard: an API key has scopes, and neither roles nor a log-in: leave roles and max_age out")
    return given


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
