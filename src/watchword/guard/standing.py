"""Holds what a guard knows now. Requests read it without a lock; the follower replaces its parts.

Each attribute is one reference: what belongs together (policy, keys, verified tokens) is replaced together.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from watchword.clock import elapsed
from watchword.guard.refusals import Unready
from watchword.tokens.claims import AccessClaims
from watchword.tokens.revocations import RevocationSet

StalePolicy = Literal["open", "closed"]

ALWAYS: Final = float("inf")
NOT_NOW: Final = float("-inf")


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
    """Holds verifier and revocations, and until when requests may rely on both.

    `settled_until` is a time of `clock.elapsed`, `recall_until` of the wall clock. `NOT_NOW`: the next request asks the
    follower first. `strict`: each request checks both clocks.
    """

    __slots__ = ("recall_until", "revocations", "settled_until", "strict", "verifier")

    def __init__(self, verifier: TokenVerifier, revocations: RevocationSet | None = None) -> None:
        self.verifier = verifier
        self.revocations = RevocationSet() if revocations is None else revocations
        self.strict = False
        self.settle(NOT_NOW, NOT_NOW)

    def settle(self, until: float = ALWAYS, wall: float = ALWAYS) -> None:
        """Set until when requests may rely on both."""
        self.settled_until, self.recall_until = until, wall

    def unsettle(self) -> None:
        """Let the next request ask the follower first."""
        self.settle(NOT_NOW, NOT_NOW)

    def settled(self, wall: float) -> bool:
        """Return whether requests may rely on both at this wall-clock time."""
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
