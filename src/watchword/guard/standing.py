"""Holds what a guard knows right now. Every request reads it, and the follower replaces its pieces.

Requests take no lock. Each attribute is one reference, exchanged in one step; what belongs together (policy, keys and
the tokens verified under them) is inside one object.
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
    """Verifies a token: `watchword.tokens.Verifier`, or a service in the same process."""

    def verify(
        self,
        token: str,
        *,
        now: int,
        revocations: RevocationSet | None = None,
    ) -> AccessClaims:
        """Return the claims of a good token. :raises TokenError: for any other."""
        ...


class Standing:
    """Holds verifier and list of revocations, and until when requests may rely on both.

    `settled_until` is a time of `clock.elapsed`, and `recall_until` one of the wall clock, which requests read anyway.
    `ALWAYS`: nothing can change that. `NOT_NOW`: the next request asks the follower first (nothing was started yet, no
    keys, no list, or a new process after a fork). `strict`: each request looks at both clocks.
    """

    __slots__ = ("recall_until", "revocations", "settled_until", "strict", "verifier")

    def __init__(self, verifier: TokenVerifier, revocations: RevocationSet | None = None) -> None:
        self.verifier = verifier
        self.revocations = RevocationSet() if revocations is None else revocations
        self.strict = False
        self.settle(NOT_NOW, NOT_NOW)

    def settle(self, until: float = ALWAYS, wall: float = ALWAYS) -> None:
        """Set until when requests may rely on both, by either clock."""
        self.settled_until, self.recall_until = until, wall

    def unsettle(self) -> None:
        """Let the next request ask the follower first."""
        self.settle(NOT_NOW, NOT_NOW)

    def settled(self, wall: float) -> bool:
        """Return whether requests may rely on both, at this time of the wall clock."""
        return wall < self.recall_until and (self.settled_until is ALWAYS or elapsed() < self.settled_until)


def not_ready() -> Unready:
    """Return the refusal of a guard that has no keys or no list yet."""
    return Unready("This service cannot check access tokens yet. Try again in a moment.", code="guard_not_ready")


def stale() -> Unready:
    """Return the refusal of a guard with `stale="closed"` whose list is too old."""
    return Unready(
        "This service cannot find out at present which access tokens have been revoked.",
        code="revocations_stale",
        retry_after=2,
    )
