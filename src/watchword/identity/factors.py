"""What a factor is given and what it returns. `login` alone turns a proof into a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from watchword.identity.user_row import User
from watchword.storage.database import Unit


class Candidate(NamedTuple):
    """A user who tries to log in. `token_version` is read first: nothing a factor reads is older."""

    user: User

    @property
    def allowed(self) -> bool:
        """Tell whether a proof can succeed. A factor does its whole work anyway."""
        return self.user.disabled_at is None

    @property
    def unverified(self) -> bool:
        """Tell whether there is an address that is not confirmed."""
        return self.user.email is not None and self.user.email_verified_at is None


class Proof(NamedTuple):
    """What a satisfied factor returns.

    :param method: RFC 8176 name, for `amr`.
    :param also: work inside the log-in's transaction, such as storing a better hash.
    :param verifies: it came by the user's e-mail address, which `also` notes as confirmed.
    :param fresh: the user showed just now who they are. Otherwise the session never counts as a recent log-in.
    """

    method: str
    also: Unit[None] | None = None
    verifies: bool = False
    fresh: bool = True


Prove = Callable[[Candidate | None], Awaitable[Proof | None]]


class Factor(NamedTuple):
    """One factor for one attempt.

    :param prove: called once, with None for an unknown user; does the same work in any case.
    :param refusal: the answer to every failure.
    :param wrong: the log's word for a wrong proof.
    :param unknown: the log's word where it names no user.
    :param handle: of the mail that the proof came by. Its tries are counted by mail, and not with those of passwords:
        what strangers use up there must not close this way to the owner.
    :param by: the audit trail's word for this factor, where it is not the usual one.
    :param counted: occasions that limit its successes, besides `session`.
    """

    prove: Prove
    refusal: str = "This is not enough to log in."
    wrong: str = "wrong_proof"
    unknown: str = "unknown_user"
    handle: str | None = None
    by: str = ""
    counted: tuple[str, ...] = ()

    @property
    def detail(self) -> dict[str, str]:
        """Return what the audit trail notes of it."""
        return {"by": self.by} if self.by else {}


class SecondFactor(NamedTuple):
    """A factor that some users must pass after another.

    :param needed: whether a user must pass it. Enrolling or removing one raises the user's version.
    """

    method: str
    needed: Callable[[User], Awaitable[bool]]


class Confirmed(NamedTuple):
    """A logged-in user who passed a factor again."""

    user: User
    proof: Proof
    refusal: str


def reason_of(candidate: Candidate | None, factor: Factor) -> str:
    """Return the log's reason, never sent."""
    if candidate is None:
        return factor.unknown
    return factor.wrong if candidate.allowed else "user_disabled"
