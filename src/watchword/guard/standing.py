"""Holds what a guard knows now. Requests read it without a lock; the follower replaces its parts.

Each attribute is one reference: what belongs together (policy, keys, verified tokens) is replaced together.
"""

from __future__ import annotations

import os
from typing import Final, Literal, Protocol

from watchword.clock import elapsed
from watchword.guard.local import LocalVerifier
from watchword.guard.refusals import Unready
from watchword.guard.watching import Watches
from watchword.tokens.claims import AccessClaims
from watchword.tokens.legacy import Legacy
from watchword.tokens.revocations import RevocationSet, State

StalePolicy = Literal["open", "closed"]

ALWAYS: Final = float("inf")
NOT_NOW: Final = float("-inf")
RELIED_ON: Final = 5.0
"""Seconds of a state: as many as guards forgive before a token's time, so that a new token's began before its state."""


class TokenVerifier(Protocol):
    """Is `watchword.tokens.Verifier`, or a service in the same process."""

    def verify(
        self,
        token: str,
        *,
        now: int,
        revocations: RevocationSet | None = None,
    ) -> AccessClaims:
        """Return a good token's claims. :raises TokenError: any other token."""
        ...


class Standing:
    """Holds verifier, revocations and who watches them, and until when requests may rely on both.

    `legacy` verifies the tokens of an application that was there before; it never changes.
    `settled_until` is a time of `clock.elapsed`, `recall_until` of the wall clock. `NOT_NOW`: the next request asks the
    follower first. `strict`: each request checks both clocks. `process`: the only process that may rely on both,
    where forks are unseen; else None.
    """

    __slots__ = (
        *("_revocations", "_verifier", "legacy", "process", "recall_until", "settled_until", "strict", "watches"),
        "__weakref__",
    )

    def __init__(
        self, verifier: TokenVerifier, revocations: RevocationSet | None = None, legacy: Legacy | None = None
    ) -> None:
        self.legacy = legacy
        self._verifier = verifier
        self._revocations = RevocationSet() if revocations is None else revocations
        self.strict = False
        self.process: int | None = None
        self.watches = Watches()
        self.settled_until = self.recall_until = NOT_NOW

    @property
    def verifier(self) -> TokenVerifier:
        """Return what verifies tokens. What was remembered by another one counts no more."""
        return self._verifier

    @verifier.setter
    def verifier(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier
        self._revocations.begin_state()

    @property
    def revocations(self) -> RevocationSet:
        """Return the list. Who passed another one is asked of again."""
        return self._revocations

    @revocations.setter
    def revocations(self, revocations: RevocationSet) -> None:
        before, self._revocations = self._revocations, revocations
        if before is not revocations:
            before.begin_state()

    def state(self, now: float) -> State:
        """Return the state on which those may be relied who pass the list hereafter, for some seconds.

        It ends at once with a new entry, another list or verifier, and when requests may rely on less.
        """
        if self.strict:
            return State()
        revocations, until = self._revocations, self.recall_until
        state = revocations.state
        if not state.since <= now < state.until:
            state = revocations.begin_state(now, min(until, now + RELIED_ON))
            if revocations is not self._revocations or self.recall_until < until:  # meanwhile
                state.end()
        return state

    def verifier_of(self, token: str, own: TokenVerifier) -> TokenVerifier:
        """Return the one that judges a token, by its header: `own`, or that of the application before."""
        legacy = self.legacy
        return legacy if legacy is not None and legacy.concerns(token) else own

    def list_for_watching(self) -> RevocationSet:
        """Return the list that refuses tokens here, and let the watches hear of its entries."""
        verifier = self.verifier
        revocations = verifier.revocations if isinstance(verifier, LocalVerifier) else self.revocations
        self.watches.listen(revocations)
        return revocations

    def settle(self, until: float = ALWAYS, wall: float = ALWAYS) -> None:
        """Set until when requests may rely on both. What was remembered counts no longer than that."""
        sooner = wall < self.recall_until
        self.settled_until, self.recall_until = until, wall
        if sooner:
            self._revocations.begin_state()

    def unsettle(self) -> None:
        """Let the next request ask the follower first."""
        self.settle(NOT_NOW, NOT_NOW)

    def settled(self, wall: float) -> bool:
        """Return whether requests may rely on both at this wall-clock time."""
        if self.process is not None and self.process != os.getpid():
            return False
        return wall < self.recall_until and (self.settled_until is ALWAYS or elapsed() < self.settled_until)


def not_ready() -> Unready:
    """Return the refusal of a guard without keys or list."""
    return Unready("This service cannot check access tokens yet. Try again in a moment.", code="guard_not_ready")


def stale() -> Unready:
    """Return the refusal for `stale="closed"` and an old list."""
    return Unready(
        "This service cannot find out at present which access tokens have been revoked.",
        code="revocations_stale",
        retry_after=2,
    )
