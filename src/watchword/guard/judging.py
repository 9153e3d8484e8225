"""Decides who sends a token. `Judge` never waits: it yields what to wait for.

`blocking` waits in a thread, `awaiting` on an event loop.
"""

from __future__ import annotations

from collections.abc import Generator

from watchword.authorization import check_form
from watchword.clock import Clock
from watchword.errors import TokenError
from watchword.guard.bearer import Authorization, likely_token
from watchword.guard.caller import Caller
from watchword.guard.following.events import Events
from watchword.guard.following.follower import ServiceFollower
from watchword.guard.following.waiting import WAIT, Pending
from watchword.guard.seen import Basis as SeenBasis
from watchword.guard.seen import SeenCallers
from watchword.guard.standing import Standing, TokenVerifier, not_ready
from watchword.tokens import compact
from watchword.tokens.needs import Needs
from watchword.tokens.verify import Verifier

Judging = Generator[Pending, None, Caller]
Basis = tuple[Standing, ServiceFollower | None, SeenBasis]


class Judge:
    """Judges tokens by a standing. Threads may share it."""

    def __init__(self, standing: Standing, clock: Clock, follower: ServiceFollower | None, events: Events) -> None:
        self.standing = standing
        self.follower = follower
        # Two: a bare token is no header, and the other way round.
        self.by_header, self.by_token = SeenCallers(standing, clock), SeenCallers(standing, clock)
        self._events = events
        self._too_early = 0

    def header(self, authorization: Authorization, needs: Needs) -> Judging:
        """Judge an Authorization header. :raises TokenError, Refused, Unready: as `Guard.check`."""
        token = likely_token(authorization)
        try:
            return (yield from self._judge(authorization, token, self.by_header, needs))
        except TokenError as error:
            if error.code == "token_malformed":
                check_form(token)
            raise

    def token(self, token: str, needs: Needs) -> Judging:
        """Judge a bare token. :raises TokenError, Unready: as `Guard.verify`."""
        return self._judge(token, token, self.by_token, needs)

    def _judge(self, sent: Authorization, token: str, seen: SeenCallers, needs: Needs) -> Judging:
        standing = self.standing
        if not standing.settled(seen.now()) and (pending := self._attend()) is not None:
            yield pending
            if self._attend(waited=True) is not None:
                raise not_ready()
        verifier = standing.verifier
        try:
            return seen.verify(sent, token, needs)
        except TokenError as error:
            pending = self._worth_waiting(error, token, verifier)
            if pending is None:
                self._report_early(error, verifier)
                raise
        yield pending
        return seen.verify(sent, token, needs)

    @property
    def basis(self) -> Basis:
        """Return standing, follower and callers' basis."""
        return self.standing, self.follower, self.by_header.basis

    def judge_by(self, basis: Basis) -> None:
        """Replace the basis, and forget who was seen."""
        self.standing, self.follower, seen = basis
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
        return self.follower.ask_for_key() if _names_unknown_key(token, verifier) else None


def blocking(judging: Judging) -> Caller:
    """Wait in this thread, at most `WAIT` seconds each time."""
    try:
        while True:
            next(judging).wait(WAIT)
    except StopIteration as end:
        caller: Caller = end.value
        return caller


async def awaiting(judging: Judging) -> Caller:
    """Wait likewise on an event loop."""
    try:
        while True:
            await next(judging).wait_async(WAIT)
    except StopIteration as end:
        caller: Caller = end.value
        return caller


def _names_unknown_key(token: str, verifier: Verifier) -> bool:
    try:
        header = compact.read_header(compact.split(token).header)
        kid = compact.header_kid(header, own=True)
    except TokenError:
        return False
    return kid is not None and header.get("alg") in verifier.policy.algorithms and kid not in verifier.key_set
