"""Decides who sends a token. `Judge` never waits: it yields what to wait for.

`blocking` waits in a thread, `asking.ask` on an event loop.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from watchword import api_keys
from watchword.authorization import check_form
from watchword.clock import Clock
from watchword.errors import TokenError
from watchword.guard.bearer import Authorization, likely_token
from watchword.guard.caller import Caller
from watchword.guard.following.events import Events
from watchword.guard.following.follower import ServiceFollower
from watchword.guard.following.key_exchange import KeyExchange
from watchword.guard.following.waiting import WAIT, Pending
from watchword.guard.seen import Basis as SeenBasis
from watchword.guard.seen import SeenCallers
from watchword.guard.standing import Standing, TokenVerifier, not_ready
from watchword.tokens import compact
from watchword.tokens.needs import Needs, no_key_here
from watchword.tokens.verify import Verifier

T = TypeVar("T")
Judging = Generator[Pending, None, Caller]
Basis = tuple[Standing, ServiceFollower | None, SeenBasis, KeyExchange | None]


class Judge:
    """Judges tokens by a standing. Threads may share it."""

    def __init__(
        self,
        standing: Standing,
        clock: Clock,
        follower: ServiceFollower | None,
        events: Events,
        keys: KeyExchange | None = None,
    ) -> None:
        self.standing = standing
        standing.watches.clock = clock
        self.follower = follower
        # Two: a bare token is no header, and the other way round.
        self.by_header, self.by_token = SeenCallers(standing, clock), SeenCallers(standing, clock)
        self._events = events
        self.keys = keys
        self._too_early = 0

    def header(self, authorization: Authorization, needs: Needs) -> Judging:
        """Judge an Authorization header. :raises TokenError, Refused, Unready: as `Guard.check`."""
        token = likely_token(authorization)
        try:
            return (yield from self._admit(authorization, token, self.by_header, needs))
        except TokenError as error:
            if error.code == "token_malformed":
                check_form(token)
            raise

    def token(self, token: str, needs: Needs) -> Judging:
        """Judge a bare token. :raises TokenError, Unready: as `Guard.verify`."""
        return self._admit(token, token, self.by_token, needs)

    def _admit(self, sent: Authorization, token: str, seen: SeenCallers, needs: Needs) -> Judging:
        """Judge a token, or an API key by the token that it is exchanged for, once for as long as that is good.

        A remembered token that the list refuses is exchanged anew: the owner may have fewer rights now, or the same.
        """
        if not api_keys.looks_like(token):
            return (yield from self._judge(sent, token, seen, needs))
        if not needs.api_keys:
            raise no_key_here()
        if not isinstance(sent, str | bytes):  # several headers are not remembered, and the key would be sent each time
            sent, seen = token, self.by_token
        yield from self._settle(seen)
        caller = seen.known(sent)
        if caller is not None:
            seen.check_needs(caller, needs)
            return caller
        if self.keys is None:
            raise TokenError("This API exchanges no API keys.")
        exchanged = yield from self.keys.exchange(token)
        seen.forget(sent)
        return (yield from self._judge(sent, exchanged, seen, needs))

    def _judge(self, sent: Authorization, token: str, seen: SeenCallers, needs: Needs) -> Judging:
        yield from self._settle(seen)
        verifier = self.standing.verifier
        try:
            return seen.verify(sent, token, needs)
        except TokenError as error:
            pending = self._worth_waiting(error, token, verifier)
            if pending is None:
                self._report_early(error, verifier)
                raise
        yield pending
        return seen.verify(sent, token, needs)

    def _settle(self, seen: SeenCallers) -> Generator[Pending, None, None]:
        """Wait until requests may rely on the standing. :raises Unready: they may not."""
        if not self.standing.settled(seen.now()) and (pending := self._attend()) is not None:
            yield pending
            if self._attend(waited=True) is not None:
                raise not_ready()

    @property
    def basis(self) -> Basis:
        """Return standing, follower, callers' basis, and what exchanges keys."""
        return self.standing, self.follower, self.by_header.basis, self.keys

    def judge_by(self, basis: Basis) -> None:
        """Replace the basis, and forget who was seen."""
        self.standing, self.follower, seen, self.keys = basis
        self.by_header.judge_by(seen)
        self.by_token.judge_by(seen)

    def _attend(self, *, waited: bool = False) -> Pending | None:
        assert self.follower is not None, "only a guard that follows something is ever unsettled"
        return self.follower.attend(waited=waited)

    def _report_early(self, error: TokenError, verifier: TokenVerifier) -> None:
        """Report a genuine token that is not valid yet: the clocks differ."""
        if error.early_by and isinstance(verifier, Verifier):
            self._too_early += 1
            leeway = verifier.policy.leeway
            self._events.emit("clock_behind", seconds=error.early_by, leeway=leeway, failures=self._too_early)

    def _worth_waiting(self, error: TokenError, token: str, verifier: TokenVerifier) -> Pending | None:
        """Return what to wait for if unknown keys could make the token good, or None."""
        if error.code != "token_invalid" or self.follower is None or not isinstance(verifier, Verifier):
            return None
        if self.standing.verifier_of(token, verifier) is not verifier:
            return None
        return self.follower.ask_for_key() if _names_unknown_key(token, verifier) else None


def blocking(judging: Generator[Pending, None, T]) -> T:
    """Wait in this thread, at most `WAIT` seconds each time."""
    try:
        while True:
            next(judging).wait(WAIT)
    except StopIteration as end:
        found: T = end.value
        return found


def _names_unknown_key(token: str, verifier: Verifier) -> bool:
    try:
        header = compact.read_header(compact.split(token).header)
        kid = compact.header_kid(header, own=True)
    except TokenError:
        return False
    return kid is not None and header.get("alg") in verifier.policy.algorithms and kid not in verifier.key_set
