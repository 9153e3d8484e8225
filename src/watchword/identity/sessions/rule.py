"""What a presented refresh token means: one pure function of (row, presented generation, now).

`docs/security/refresh.md` tells the reasoning; `tests/identity/test_rule.py` enumerates every interleaving of
clients, lost answers, retries, slow tabs and a thief against it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

MAX_GRACE_ELSEWHERE = 2
MAX_BEHIND = 16
"""How far behind a slow tab can be. A thief who refreshes every few seconds keeps the row young for ever; by this the
victim, who comes back minutes later and is dozens of generations behind, gives the thief away all the same."""


class Verdict(Enum):
    """What to do with the presented token."""

    ROTATE = "rotate"  # the newest one: the ordinary case, decided by the database's own UPDATE
    GRACE = "grace"  # its successor was just made: answer with that same successor
    SUPERSEDED = "superseded"  # a slow tab: refuse, keep the session
    REUSE = "reuse"  # a copy: end the session
    ROLLED_BACK = "rolled_back"  # newer than the database, which was restored to an older state: serve the holder
    ENDED = "ended"  # nothing to refresh any more


class SessionState(NamedTuple):
    """What the rule needs to know of a session's row. Times are seconds since 1970 UTC."""

    generation: int
    rotated_at: int
    prev_rotated_at: int | None
    ended_at: int | None
    expires_at: int
    idle_expires_at: int
    grace_elsewhere: int
    user_active: bool


def decide(session: SessionState, presented: int, now: int, *, grace: int, elsewhere: bool) -> Verdict:
    """What presenting generation `presented` at `now` means.

    Whether the session still lives is decided before anything else: an ended session has no grace.

    :param grace: seconds after a rotation in which its immediate parent still gets its successor.
    :param elsewhere: another address prefix *and* another agent than the last ordinary rotation's.
    """
    if not is_live(session, now):
        return Verdict.ENDED
    behind = session.generation - presented
    if behind == 0:
        return Verdict.ROTATE
    if behind < 0:
        return Verdict.ROLLED_BACK
    if behind == 1 and now - session.rotated_at <= grace:
        suspicious = elsewhere and session.grace_elsewhere >= MAX_GRACE_ELSEWHERE
        return Verdict.REUSE if suspicious else Verdict.GRACE
    if 1 < behind <= MAX_BEHIND and session.prev_rotated_at is not None and now - session.prev_rotated_at <= grace:
        return Verdict.SUPERSEDED
    return Verdict.REUSE


def is_live(session: SessionState, now: int) -> bool:
    """Whether the session can still be refreshed. On its very second of expiry it cannot."""
    return (
        session.ended_at is None and session.user_active and now < session.expires_at and now < session.idle_expires_at
    )
