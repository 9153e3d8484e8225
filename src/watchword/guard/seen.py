"""Remembers callers by the header or token that they sent. Most requests are answered from here.

An entry counts only in the token's lifetime, and while the same verifier (policy and keys) is in force. A changed list
of revocations is asked again.
"""

from __future__ import annotations

from collections.abc import Callable

from watchword.clock import STEP_BACK, Clock, SystemClock
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller, let_in
from watchword.guard.standing import Standing, TokenVerifier
from watchword.tokens.cache import TokenCache
from watchword.tokens.legacy import Legacy
from watchword.tokens.needs import NOTHING, Needs, is_machine
from watchword.tokens.verify import Verifier, revoked

Basis = tuple[Standing, Callable[[], int], Callable[[], float], int]
"""What callers are judged by: standing, two readings of the time, and the margin before a token's end."""


class SeenCallers:
    """Finds the caller of a token, and remembers good ones. Threads share it without a lock."""

    __slots__ = ("_cache", "_margin", "_read", "_standing", "now")

    _read: Callable[[], float]

    def __init__(self, standing: Standing, clock: Clock) -> None:
        self._standing = standing
        self.now = clock.now
        # `read` is twice as fast as `now`, but may go back a little and revive an expired token. So no token is
        # recalled in its last seconds.
        self._read, self._margin = clock.now, 0
        if type(clock) is SystemClock:
            self._read, self._margin = clock.read, STEP_BACK
        self._cache: TokenCache[_Seen] = TokenCache()

    @property
    def basis(self) -> Basis:
        """Return what callers are judged by."""
        return self._standing, self.now, self._read, self._margin

    def judge_by(self, basis: Basis) -> None:
        """Replace the basis, and forget who was seen."""
        self._standing, self.now, self._read, self._margin = basis
        self._cache = TokenCache()

    def recall(self, shown: Authorization, needs: Needs = NOTHING) -> Caller | None:
        """Return the caller if that is certain at once, or None: ask `verify`."""
        try:
            seen = self._cache.young.get(shown)  # type: ignore[arg-type]
        except TypeError:  # several headers
            return None
        standing = self._standing
        if (
            seen is None
            or seen.verifier is not standing.verifier
            or (seen.list_state is not standing.revocations.state and not seen.passes(standing))
            or not seen.valid_from <= (now := self._read()) < seen.recalled_until
            or now >= standing.recall_until
            or (standing.strict and not standing.settled(now))
        ):
            return None
        if needs is not seen.met and not self._meets(seen, needs):
            return None
        return seen.caller

    def _meets(self, seen: _Seen, needs: Needs) -> bool:
        """Return whether a remembered caller has what is needed, and remember that where it lasts."""
        recent = needs.max_age is not None
        if needs.lack(seen.caller.claims, now=self.now() if recent else None) is not None:
            return False
        if not recent:
            seen.met = needs
        return True

    def verify(self, shown: Authorization, token: str, needs: Needs) -> Caller:
        """Return a token's caller, and remember it by what was sent. :raises TokenError: as `Guard.check`."""
        now, standing = self.now(), self._standing
        seen = self._find(shown)
        if seen is None or seen.verifier is not standing.verifier:
            caller = self._verify_and_remember(shown, token, now)
        else:
            if not seen.valid_from <= now < seen.valid_until:
                raise seen.judge.untimely(seen.caller.claims, now)
            if not seen.passes(standing):
                raise revoked()
            caller = seen.caller
        needs.check(caller.claims, now=now)
        return caller

    def known(self, shown: Authorization) -> Caller | None:
        """Return a remembered caller whose token is still good, whatever is needed."""
        seen, standing = self._find(shown), self._standing
        if seen is None or seen.verifier is not standing.verifier:
            return None
        good = seen.valid_from <= self.now() < seen.valid_until and seen.passes(standing)
        return seen.caller if good else None

    def forget(self, shown: Authorization) -> None:
        """Drop what was remembered of an API key: another token is exchanged for it."""
        if isinstance(shown, str | bytes):
            self._cache.drop(shown)

    def check_needs(self, caller: Caller, needs: Needs) -> None:
        """Check that a known caller has what is needed. :raises TokenError: something is missing."""
        needs.check(caller.claims, now=self.now())

    def _find(self, shown: Authorization) -> _Seen | None:
        try:
            return self._cache.young.get(shown) or self._cache.find_old(shown)  # type: ignore[arg-type]
        except TypeError:
            return None

    def _verify_and_remember(self, shown: Authorization, token: str, now: int) -> Caller:
        # The state before the list: after an addition in between the next request looks again.
        revocations = self._standing.revocations
        state, verifier = revocations.state, self._standing.verifier
        judge = self._standing.verifier_of(token, verifier)
        caller = Caller.of(judge.verify(token, now=now, revocations=revocations))
        if not isinstance(judge, Verifier | Legacy):
            let_in(caller, self._standing, caller.expires_at)
            return caller
        let_in(caller, self._standing, judge.validity(caller.claims)[1])
        if isinstance(shown, str | bytes):
            self._cache.put(shown, _Seen(caller, verifier, judge, state, self._margin))
        return caller


class _Seen:
    __slots__ = ("caller", "judge", "list_state", "met", "recalled_until", "valid_from", "valid_until", "verifier")

    met: Needs | None
    """What the caller was last found to have; the claims and what is needed never change."""

    def __init__(
        self, caller: Caller, verifier: TokenVerifier, judge: Verifier | Legacy, list_state: object, margin: int
    ) -> None:
        self.caller = caller
        self.met = None if is_machine(caller.claims) else NOTHING
        self.verifier = verifier
        self.judge = judge
        self.list_state = list_state
        valid_from, valid_until = judge.validity(caller.claims)
        # Floats, as the clock gives: they are exact, and compare faster than with integers.
        self.valid_from, self.valid_until = float(valid_from), float(valid_until)
        self.recalled_until = self.valid_until - margin

    def passes(self, standing: Standing) -> bool:
        revocations = standing.revocations
        state = revocations.state  # before the list, as above
        if revocations.refuses(self.caller.claims):
            return False
        self.list_state = state
        return True
