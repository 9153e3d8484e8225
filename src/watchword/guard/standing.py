"""What a guard knows right now: the object that every request reads, and that the follower replaces pieces of.

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
    """What judges a token: `watchword.tokens.Verifier`, or a service in the same process."""

    def verify(
        self,
        token: str,
        *,
        now: int,
        revocations: RevocationSet | None = None,
    ) -> AccessClaims:
        """The claims of an acceptable token. :raises TokenError: for any other."""
        ...


class Standing:
    """Verifier, list of revocations, and until when both may be relied on without asking anyone.

    `settled_until` is a time of `clock.elapsed`, and `recall_until` one of the wall clock, which requests read anyway.
    `ALWAYS`: nothing can change that. `NOT_NOW`: something has to be seen to first (nothing was started yet, no keys,
    no list, or this is a new process after a fork). `strict`: both are looked at for each request.
    """

    __slots__ = ("recall_until", "revocations", "settled_until", "strict", "verifier")

    def __init__(self, verifier: TokenVerifier, revocations: RevocationSet | None = None) -> None:
        self.verifier = verifier
        self.revocations = RevocationSet() if revocations is None else revocations
        self.strict = False
        self.settle(NOT_NOW, NOT_NOW)

    def settle(self, until: float = ALWAYS, wall: float = ALWAYS) -> None:
        """Set until when both may be relied on, by either clock."""
        self.settled_until, self.recall_until = until, wall

    def unsettle(self) -> None:
        """Let the next request see to something first."""
        self.settle(NOT_NOW, NOT_NOW)

    def settled(self, wall: float) -> bool:
        """Whether both may be relied on without asking anyone, when the wall clock shows this."""
        return wall < self.recall_until and (self.settled_until is ALWAYS or elapsed() < self.settled_until)


def not_ready() -> Unready:
    """The refusal of a guard that has no keys or no list yet."""
    return Unready("This service cannot check access tokens yet. Try again in a moment.", code="guard_not_ready")


def stale() -> Unready:
    """The refusal of a guard whose list is too old, where it was told to close then."""
    return Unready(
        "This service cannot find out at present which access tokens have been revoked.",
        code="revocations_stale",
        retry_after=2,
    )
