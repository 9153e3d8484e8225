"""Holds what a route, or a group of routes, needs of its callers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from watchword.errors import TokenError, WatchwordError
from watchword.guard.asked import Names
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.refusals import Refusal
from watchword.tokens.needs import NOTHING, Needs


class Judge(Protocol):
    """Is a `Guard` to a requirement."""

    @property
    def recall(self) -> Callable[..., Caller | None]: ...  # noqa: D102

    @property
    def check_needs(self) -> Callable[[Caller, Needs], None]: ...  # noqa: D102

    def check(  # noqa: D102
        self, authorization: Authorization, *, roles: Names, scopes: Names, max_age: int | None
    ) -> Caller: ...

    async def check_async(  # noqa: D102
        self, authorization: Authorization, *, roles: Names, scopes: Names, max_age: int | None
    ) -> Caller: ...

    def refusal(  # noqa: D102
        self, error: WatchwordError, *, scopes: Iterable[str], max_age: int | None
    ) -> Refusal: ...


@dataclass(frozen=True, slots=True)
class Requirement:
    """Binds what a route needs to its guard."""

    guard: Judge
    asked: Needs = NOTHING
    recall: Callable[[Authorization], Caller | None] = field(init=False, repr=False, compare=False)
    """Return what `check` would, if it is certain at once, else None: an event loop then needs no coroutine."""

    def __post_init__(self) -> None:
        recall = self.guard.recall
        object.__setattr__(self, "recall", recall if self.asked == NOTHING else partial(recall, needs=self.asked))

    def check(self, authorization: Authorization) -> Caller:
        """Return the caller, or raise as `Guard.check`."""
        roles, scopes, max_age = self.asked
        return self.guard.check(authorization, roles=roles, scopes=scopes, max_age=max_age)

    async def check_async(self, authorization: Authorization) -> Caller:
        """Check on an event loop."""
        roles, scopes, max_age = self.asked
        return await self.guard.check_async(authorization, roles=roles, scopes=scopes, max_age=max_age)

    def check_optional(self, authorization: Authorization) -> Caller | None:
        """Return the caller, or None without a token. A bad token is still refused."""
        try:
            return self.check(authorization)
        except TokenError as error:
            if error.code == "token_missing":
                return None
            raise

    async def check_optional_async(self, authorization: Authorization) -> Caller | None:
        """Check likewise on an event loop."""
        try:
            return await self.check_async(authorization)
        except TokenError as error:
            if error.code == "token_missing":
                return None
            raise

    def check_needs(self, caller: Caller) -> None:
        """Check that a known caller has what is needed. :raises TokenError: something is missing."""
        self.guard.check_needs(caller, self.asked)

    def refusal(self, error: WatchwordError) -> Refusal:
        """Return the answer for an error that `check` raised."""
        return self.guard.refusal(error, scopes=self.asked.scopes, max_age=self.asked.max_age)
