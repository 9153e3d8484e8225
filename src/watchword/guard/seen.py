"""Remembers callers by the header or token that they sent. Most requests are answered from here.

An entry counts only in the token's lifetime, and while the same verifier (policy and keys) is in force. One look tells
whether anything has changed: whatever the `Standing` loses ends the state of its list of revocations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any

from watchword.clock import STEP_BACK, Clock, SystemClock
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller, let_in
from watchword.guard.standing import Standing, TokenVerifier
from watchword.tokens.cache import TokenCache
from watchword.tokens.legacy import Legacy
from watchword.tokens.needs import NOTHING, Needs, is_machine
from watchword.tokens.revocations import State
from watchword.tokens.verify import Verifier, revoked

Recall = Callable[..., Caller | None]
"""Takes what was sent, and what is needed if it is not the usual."""
Serve = Callable[[Any, Any, Any], Awaitable[None]]
"""Is an ASGI application."""
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
        before = self._standing
        self._standing, self.now, self._read, self._margin = basis
        before.revocations.begin_state()
        self._cache.clear()

    def recaller(self, asked: Needs = NOTHING) -> Recall:
        """Return what finds a caller who has what is asked, if that is certain at once; else None: ask `verify`.

        Nearly every request comes this way, with cold caches: each object that it looks at costs.
        """
        find = self._cache.young.get

        def recall(self: SeenCallers, shown: Authorization, needs: Needs = asked) -> Caller | None:
            try:
                seen = find(shown)  # type: ignore[arg-type]
            except TypeError:  # several headers
                return None
            if seen is None:
                return None
            state = seen.list_state
            if not state.since <= self._read() < state.until:
                seen = self._again(shown, seen)
            if seen is not None and (seen.met is needs or self._meets(seen, needs)):
                return seen.caller
            return None

        # A method: a framework that is given it by a slip finds whose it is.
        return MethodType(recall, self)

    def passing(self, asked: Needs, serve: Serve, otherwise: Serve) -> Serve:
        """Return what hands requests on to `serve` if it is certain who asks and with what rights, else to `otherwise`.

        It does as `recaller` and `asgi.GuardMiddleware`, in one function: each call costs here.
        """
        find = self._cache.young.get

        def pass_on(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
            if scope["type"] == "http":
                header: Any = None
                for name, value in scope["headers"]:
                    if name == b"authorization":
                        header = value if header is None else (value, value)  # two stand for several
                seen = find(header)
                if seen is not None:
                    state = seen.list_state
                    if state.since <= self._read() < state.until and (seen.met is asked or self._meets(seen, asked)):
                        scope["caller"] = caller = seen.caller
                        try:
                            scope["state"]["caller"] = caller
                        except KeyError:
                            scope["state"] = {"caller": caller}
                        return serve(scope, receive, send)
            return otherwise(scope, receive, send)

        return pass_on

    def _again(self, shown: Authorization, seen: _Seen) -> _Seen | None:
        """Judge a remembered caller again, and remember that; None: ask `verify`."""
        standing, now = self._standing, self._read()
        # Before all else: after a change in between the next request looks again. None: each looks.
        state = None if standing.strict else self._state(standing, now)
        if (
            seen.verifier is not standing.verifier
            or not seen.since <= now < seen.recalled_until
            or now >= standing.recall_until
            or (state is None and not standing.settled(now))
            or standing.revocations.refuses(seen.caller.claims)
        ):
            return None
        if state is None:
            return seen
        seen = seen.relied_on(state)
        self._cache.young[shown] = seen  # type: ignore[index]
        return seen

    def _state(self, standing: Standing, now: float) -> State:
        state = standing.state(now)
        if standing is not self._standing:  # meanwhile another one stands in
            state.end()
        return state

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
            if not seen.since <= now < seen.valid_until:
                raise seen.judge.untimely(seen.caller.claims, now)
            if standing.revocations.refuses(seen.caller.claims):
                raise revoked()
            caller = seen.caller
        needs.check(caller.claims, now=now)
        return caller

    def known(self, shown: Authorization) -> Caller | None:
        """Return a remembered caller whose token is still good, whatever is needed."""
        seen, standing = self._find(shown), self._standing
        if seen is None or seen.verifier is not standing.verifier:
            return None
        good = seen.since <= self.now() < seen.valid_until and not standing.revocations.refuses(seen.caller.claims)
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
        standing = self._standing
        state, verifier = self._state(standing, self._read()), standing.verifier  # first, as in `_again`
        judge = standing.verifier_of(token, verifier)
        caller = Caller.of(judge.verify(token, now=now, revocations=standing.revocations))
        if not isinstance(judge, Verifier | Legacy):
            let_in(caller, standing, caller.expires_at)
            return caller
        since, until = judge.validity(caller.claims)
        let_in(caller, standing, until)
        if isinstance(shown, str | bytes):
            met = None if is_machine(caller.claims) else NOTHING
            recalled_until = float(until - self._margin)
            seen = _Seen(caller, verifier, judge, float(since), float(until), recalled_until, met, State())
            self._cache.put(shown, seen.relied_on(state))
        return caller


@dataclass(slots=True, eq=False)
class _Seen:
    """Holds a good token's caller. Only `met` changes.

    :param since: like `valid_until` the token's bounds, `recalled_until` less a margin; floats, as the clock gives.
    :param met: what the caller was last found to have; the claims and what is needed never change.
    :param list_state: on which the caller is relied without another look at the rest.
    """

    caller: Caller
    verifier: TokenVerifier
    judge: Verifier | Legacy
    since: float
    valid_until: float
    recalled_until: float
    met: Needs | None
    list_state: State

    def relied_on(self, state: State) -> _Seen:
        """Return an entry that counts in this state if all of that lies in the token's time; else it is asked again."""
        if not (self.since <= state.since and state.until <= self.recalled_until):
            state = State()
        # A new one: another thread must not see half of each.
        return _Seen(
            self.caller, self.verifier, self.judge, self.since, self.valid_until, self.recalled_until, self.met, state
        )
