"""What a route needs of its callers, as one object: what adapters hold for each route or group of routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from watchword.errors import TokenError, WatchwordError
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.refusals import Refusal
from watchword.guard.slips import EVERYONE, FROM_CODE

if TYPE_CHECKING:
    from watchword.guard.guard import Guard

_NONE: Final[frozenset[str]] = frozenset()
Names = Annotated[str | Iterable[str], FROM_CODE]
"""Scopes or roles: several, or one text with spaces in between."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a route needs, bound to its guard: `check` a request by it, and turn what that raises into the answer.

    `scopes` and `roles`: each of them; `max_age`: seconds since log-in, or None.
    """

    guard: Guard
    scopes: frozenset[str] = _NONE
    roles: frozenset[str] = _NONE
    max_age: int | None = None
    recall: Callable[[Authorization], Caller | None] = field(init=False, repr=False, compare=False)
    """What `check` answers if that is certain at once, else None: so that an event loop needs no coroutine for it."""

    def __post_init__(self) -> None:
        checked_age(self.max_age)
        recall = self.guard.recall
        if self.roles or self.scopes or self.max_age is not None:
            recall = partial(recall, roles=self.roles, scopes=self.scopes, max_age=self.max_age)
        object.__setattr__(self, "recall", recall)

    def check(self, authorization: Authorization) -> Caller:
        """The caller, or an error as in `Guard.check`."""
        return self.guard.check(authorization, roles=self.roles, scopes=self.scopes, max_age=self.max_age)

    async def check_async(self, authorization: Authorization) -> Caller:
        """The caller, or an error as in `Guard.check`; waits without blocking the event loop."""
        return await self.guard.check_async(authorization, roles=self.roles, scopes=self.scopes, max_age=self.max_age)

    def check_optional(self, authorization: Authorization) -> Caller | None:
        """As `check`, but None where no token is shown. A token that is shown and is not good is still refused."""
        try:
            return self.check(authorization)
        except TokenError as error:
            if error.code == "token_missing":
                return None
            raise

    async def check_optional_async(self, authorization: Authorization) -> Caller | None:
        """As `check_optional`, without blocking the event loop."""
        try:
            return await self.check_async(authorization)
        except TokenError as error:
            if error.code == "token_missing":
                return None
            raise

    def check_needs(self, caller: Caller) -> None:
        """Whether a caller who was checked already has what is needed. :raises TokenError: something is missing."""
        self.guard.check_needs(caller, self.roles, self.scopes, self.max_age)

    def refusal(self, error: WatchwordError) -> Refusal:
        """The answer for an error that `check` raised."""
        return self.guard.refusal(error, scopes=self.scopes, max_age=self.max_age)


def names(given: Names) -> frozenset[str]:
    """Scopes or roles as a set.

    :raises ValueError: an empty text or list, as of a setting that is missing: any caller would do.
    """
    if type(given) is frozenset:  # as `checked_names` gave it
        return given
    found = frozenset(given.split() if isinstance(given, str) else given)
    if not found and given is not EVERYONE:
        raise ValueError("guard: roles or scopes are empty; leave them out where every caller may pass")
    return found


def checked_age(given: Any) -> int | None:
    """Seconds since log-in, where they are written down. :raises TypeError: not a number of seconds, and not None."""
    if given is not None and (type(given) is not int or given < 0):
        raise TypeError(f"guard: max_age is a number of whole seconds or None, unlike {given!r}")
    checked: int | None = given
    return checked


def checked_names(given: Any, name: str) -> frozenset[str]:
    """Scopes or roles as a set, where they are written down.

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
