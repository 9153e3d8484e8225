"""Holds what a route, or a group of routes, needs of its callers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Never, Protocol

from watchword import api_keys
from watchword.authorization import key_in_address
from watchword.browsers import Sent
from watchword.errors import TokenError, WatchwordError
from watchword.guard.asked import Names, needs_of
from watchword.guard.asking import Steps, known
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.judging import Judging
from watchword.guard.marks import EVERYONE
from watchword.guard.places import Places
from watchword.guard.refusals import Refusal
from watchword.guard.seen import Recall, Serve
from watchword.tokens.needs import NOTHING, Needs


class Judge(Protocol):
    """Is a `Guard` to a requirement."""

    @property
    def recaller(self) -> Callable[[Needs], Recall]: ...  # noqa: D102

    @property
    def passing(self) -> Callable[[Needs, Serve, Serve], Serve]: ...  # noqa: D102

    @property
    def check_needs(self) -> Callable[[Caller, Needs], None]: ...  # noqa: D102

    def can_ask(self, needs: Needs) -> Needs: ...  # noqa: D102

    def check_for(self, authorization: Authorization, needs: Needs) -> Caller: ...  # noqa: D102

    def check_for_async(self, authorization: Authorization, needs: Needs) -> Coroutine[Any, Any, Caller]: ...  # noqa: D102

    @property
    def places(self) -> Places | None: ...  # noqa: D102

    def verify_for(self, token: str, needs: Needs) -> Caller: ...  # noqa: D102

    def verify_for_async(self, token: str, needs: Needs) -> Coroutine[Any, Any, Caller]: ...  # noqa: D102

    def judging_for(self, authorization: Authorization, needs: Needs) -> Judging: ...  # noqa: D102

    def judging_token_for(self, token: str, needs: Needs) -> Judging: ...  # noqa: D102

    def refusal(  # noqa: D102
        self, error: WatchwordError, *, scopes: Iterable[str], max_age: int | None
    ) -> Refusal: ...


@dataclass(frozen=True, slots=True)
class Requirement:
    """Binds what a route needs to its guard."""

    guard: Judge
    asked: Needs = NOTHING
    recall: Recall = field(init=False, repr=False, compare=False)
    """Return what `check` would, if it is certain at once, else None: an event loop then needs no coroutine."""
    places: Places | None = field(init=False, repr=False, compare=False)
    """Where a token may be besides the Authorization header; None: nowhere, and `check` is enough."""

    def __post_init__(self) -> None:
        self.guard.can_ask(self.asked)
        object.__setattr__(self, "places", self.guard.places)
        asked = NOTHING if self.asked == NOTHING else self.asked  # the one object that callers are known to meet
        object.__setattr__(self, "asked", asked)
        object.__setattr__(self, "recall", self.guard.recaller(asked))

    def __bool__(self) -> Never:
        """Refuse to count as True, as the result of code that only makes a requirement."""
        raise TypeError("guard: a requirement checks nothing by itself; ask `needs.check(authorization)`")

    def passing(self, serve: Serve, otherwise: Serve) -> Serve:
        """Return what hands requests of known callers on to `serve`, and all else to `otherwise`, which checks them."""
        return self.guard.passing(self.asked, serve, otherwise)

    def check(self, authorization: Authorization) -> Caller:
        """Return the caller, or raise as `Guard.check`."""
        return self.guard.check_for(authorization, self.asked)

    def check_async(self, authorization: Authorization) -> Coroutine[Any, Any, Caller]:
        """Check on an event loop."""
        return self.guard.check_for_async(authorization, self.asked)

    def check_optional(self, authorization: Authorization) -> Caller | None:
        """Return the caller, or None without a token. A bad token is still refused."""
        try:
            return self.check(authorization)
        except TokenError as error:
            if error.code == "token_missing":
                return None
            raise

    def check_optional_async(self, authorization: Authorization) -> Coroutine[Any, Any, Caller | None]:
        """Check likewise on an event loop."""
        try:
            return self.check_async(authorization)
        except TokenError as error:
            if error.code == "token_missing":
                return known(None)
            raise

    def admit(self, sent: Sent) -> Caller:
        """Return the caller of a request by the guard's places, or raise as `Guard.check`; also 403, `Forbidden`."""
        if self.places is None:
            return self.check(sent.values("authorization"))
        return self.guard.verify_for(self.places.find(sent).token, self.asked)

    def admit_async(self, sent: Sent) -> Coroutine[Any, Any, Caller]:
        """Admit on an event loop."""
        if self.places is None:
            return self.check_async(sent.values("authorization"))
        return self.guard.verify_for_async(self.places.find(sent).token, self.asked)

    def admit_optional(self, sent: Sent) -> Caller | None:
        """Return the caller, or None without a token. A bad token is still refused."""
        try:
            return self.admit(sent)
        except TokenError as error:
            if error.code == "token_missing":
                return None
            raise

    def admit_optional_async(self, sent: Sent) -> Coroutine[Any, Any, Caller | None]:
        """Admit likewise on an event loop."""
        try:
            return self.admit_async(sent)
        except TokenError as error:
            if error.code == "token_missing":
                return known(None)
            raise

    def find(self, authorization: Authorization, sent: Sent, *, optional: bool) -> Caller | None:
        """Return the caller of a request: by its header, or by the guard's places if it has some.

        :param optional: whether a request without a token has the caller None, in place of an error.
        """
        if self.places is not None:
            return self.admit_optional(sent) if optional else self.admit(sent)
        return self.check_optional(authorization) if optional else self.check(authorization)

    def find_async(
        self, authorization: Authorization, sent: Sent, *, optional: bool
    ) -> Coroutine[Any, Any, Caller | None]:
        """Find likewise on an event loop."""
        if self.places is not None:
            return self.admit_optional_async(sent) if optional else self.admit_async(sent)
        return self.check_optional_async(authorization) if optional else self.check_async(authorization)

    def finding(self, authorization: Authorization, sent: Sent, *, optional: bool) -> Steps[Caller | None]:
        """Find likewise, and yield what to wait for."""
        try:
            if self.places is None:
                return (yield from self.guard.judging_for(authorization, self.asked))
            return (yield from self.guard.judging_token_for(self.places.find(sent).token, self.asked))
        except TokenError as error:
            if optional and error.code == "token_missing":
                return None
            raise

    def check_needs(self, caller: Caller) -> None:
        """Check that a known caller has what is needed. :raises TokenError: something is missing."""
        self.guard.check_needs(caller, self.asked)

    def refusal(self, error: WatchwordError, sent: Sent | None = None) -> Refusal:
        """Return the answer for an error that `check` or `admit` raised.

        :param sent: the request: a browser may be led to the log-in page, and a key in the address is told of.
        """
        if sent is not None and error.code == "token_missing" and api_keys.in_address(sent.target()):
            error = key_in_address()
        refusal = self.guard.refusal(error, scopes=self.asked.scopes, max_age=self.asked.max_age)
        places = self.places
        return refusal if sent is None or places is None else places.answer(refusal, sent)


def needed(
    guard: Judge,
    *,
    scopes: Names = EVERYONE,
    roles: Names = EVERYONE,
    max_age: int | None = None,
    api_keys: bool = False,
) -> Requirement:
    """Return what a route needs. :raises TypeError: wrong types. :raises ValueError: an empty list of names."""
    return Requirement(guard, needs_of(roles, scopes, max_age, api_keys))
