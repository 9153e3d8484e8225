"""Accepts the tokens of several issuers, such as during a migration from one service to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Final

from watchword.clock import monotonic
from watchword.guard.bearer import Authorization, likely_token
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.judging import Judge, Judging
from watchword.guard.seen import Recall, SeenCallers
from watchword.tokens.needs import NOTHING, Needs
from watchword.tokens.verify import claimed

_TWO: Final = 2


class SeveralIssuers(Guard):
    """Joins guards of different issuers to one, which stands wherever a `Guard` does.

        guard = SeveralIssuers(Guard("https://auth.example"), Guard("https://old.example", guard_key=…))

    Each guard keeps its own keys, list of revocations, audience and staleness. A token is judged by the guard of the
    issuer that it names, and by no other; one that names none of them by the first guard. The first one also says what
    refusals look like, and where tokens may be (`tokens_from`).

    :raises TypeError: something else than guards, or fewer than two.
    :raises ValueError: two of them have one issuer, or one has none.
    """

    def __init__(self, first: Guard, *others: Guard) -> None:
        guards = (first, *others)
        if len(guards) < _TWO or not all(type(each) is Guard for each in guards):
            raise TypeError("guard: SeveralIssuers takes two or more objects of the class Guard")
        issuers = [each.issuer for each in guards]
        if len(set(issuers)) < len(issuers) or "" in issuers:
            raise ValueError("guard: each guard of SeveralIssuers has an issuer of its own")
        self._guards = guards
        self.issuer, self.audience, self.places = first.issuer, first.audience, first.places
        self._events = first._events  # noqa: SLF001  a guard made of guards, here and below
        self._is_local = first._is_local  # noqa: SLF001  and it is the first one that is sent API keys
        self._judge = self._judges = _Judges(guards)
        self.recall, self._recall_token = self.recaller(), self._recaller(NOTHING, lambda judge: judge.by_token)
        self.check_needs, self.passing = first.check_needs, first.passing  # what the others know takes a step more

    def recaller(self, asked: Needs = NOTHING) -> Recall:
        """Return what finds a caller by a header that any of them remembers."""
        return self._recaller(asked, lambda judge: judge.by_header)

    def _recaller(self, asked: Needs, seen_of: Callable[[Judge], SeenCallers]) -> Recall:
        judges = self._judges
        first = seen_of(judges.first).recaller(asked)
        others = {issuer: seen_of(judge).recaller(asked) for issuer, judge in judges.others.items()}

        def recall(_: SeveralIssuers, shown: Authorization, needs: Needs = asked) -> Caller | None:
            found = first(shown, needs)
            # None of them counts while another guard stands in.
            for issuer in judges.others if found is None else ():
                found = found or others[issuer](shown, needs)
            return found

        return MethodType(recall, self)

    def start(self) -> None:
        """Begin to fetch in the background, for each issuer."""
        for each in self._guards:
            each.start()

    def stop(self) -> None:
        """End the background threads. The next check starts new ones."""
        for each in self._guards:
            each.stop()

    def wait_until_ready(self, seconds: float = 10.0) -> bool:
        """Start, block until all are `ready` or for so long in all, and return `ready`. If not, log why."""
        self.start()
        until = monotonic() + seconds
        ready = [each.wait_until_ready(max(until - monotonic(), 0.0)) for each in self._guards]
        return all(ready)

    @property
    def why_not_ready(self) -> str | None:
        """Return why it is not ready, for the operator, or None."""
        found = [f"{each.issuer}: {why}" for each in self._guards if (why := each.why_not_ready) is not None]
        return "; ".join(found) or None

    @property
    def ready(self) -> bool:
        """Return whether there are keys and a complete list of each issuer."""
        return all(each.ready for each in self._guards)

    def feed_age(self) -> float | None:
        """Return the age of the oldest list in seconds; None while one is missing."""
        ages = [each.feed_age() for each in self._guards]
        known = [age for age in ages if age is not None]
        return max(known) if len(known) == len(ages) else None

    @contextmanager
    def standing_in(self, other: Guard) -> Iterator[None]:
        """Judge as another guard for a while, and accept none of these issuers: for an application's tests."""
        judges = self._judges
        first, alone = self._guards[0], judges.others
        mine = self.issuer, self.audience
        judges.others = {}
        try:
            with first.standing_in(other):
                self.issuer, self.audience = other.issuer, other.audience
                yield
        finally:
            self.issuer, self.audience = mine
            judges.others = alone


class _Judges(Judge):
    """The first guard's judge, who gives a token to another one where it names that one's issuer."""

    def __init__(self, guards: tuple[Guard, ...]) -> None:
        self.first, *others = [each._judge for each in guards]  # noqa: SLF001
        self.by_header, self.by_token = self.first.by_header, self.first.by_token
        self.others = {guard.issuer: judge for guard, judge in zip(guards[1:], others, strict=True)}

    def header(self, authorization: Authorization, needs: Needs) -> Judging:
        """Judge an Authorization header. :raises TokenError, Refused, Unready: as `Guard.check`."""
        if not self.others:
            return self.first.header(authorization, needs)
        return self._header(authorization, needs)

    def _header(self, authorization: Authorization, needs: Needs) -> Judging:
        return (yield from self._of(likely_token(authorization)).header(authorization, needs))

    def token(self, token: str, needs: Needs) -> Judging:
        """Judge a bare token. :raises TokenError, Unready: as `Guard.verify`."""
        return self._of(token).token(token, needs)

    def _of(self, token: str) -> Judge:
        """Return the judge of the issuer that an unverified token names; the judge checks that too."""
        issuer = claimed(token, "iss") if self.others else None
        return self.others.get(issuer or "", self.first)
