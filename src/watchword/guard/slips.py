"""Finds slips where a framework would call a guard's methods with data of requests."""

from __future__ import annotations

from typing import Never, Self

from watchword.guard import misuse
from watchword.guard.asked import Names, needs_of
from watchword.guard.guard import Guard
from watchword.guard.requirement import Requirement


def needs(guard: Guard, where: str, scopes: Names, roles: Names, max_age: int | None, api_keys: bool) -> Requirement:
    """Return what a route needs. :raises TypeError: wrong types. :raises ValueError: an empty list of names."""
    return Requirement(misuse.a_guard(guard, where), needs_of(roles, scopes, max_age, api_keys))


def by_name(misplaced: tuple[object, ...], written: str, hint: str) -> None:
    """Refuse arguments without a name, as from a framework. :raises TypeError: says what to write."""
    if misplaced and isinstance(misplaced[0], str | list | tuple | set | frozenset):
        raise TypeError(f'guard: roles or scopes? Write {written}(roles="…"), unlike {written}({misplaced[0]!r:.100})')
    if misplaced:
        raise TypeError(hint)


class ToCall:
    """Raises where a framework reads its signature: the parentheses are missing."""

    def __init__(self, hint: str) -> None:
        self.hint = hint

    @property
    def __signature__(self) -> Never:
        raise TypeError(self.hint)

    def __deepcopy__(self, _: object) -> Self:
        return self  # frameworks copy first
