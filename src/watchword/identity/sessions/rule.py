"""Decide what a refresh token means: one pure function of (row, sent generation, now).

Reasons: `docs/security/refresh.md`. `tests/identity/test_rule.py` tries every interleaving of clients, lost answers,
retries, slow tabs and a thief.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

MAX_GRACE_ELSEWHERE = 2
MAX_BEHIND = 16
"""Generations a slow tab may be behind. A thief who refreshes every few seconds keeps the row young; the victim, dozens
behind, still reveals the theft.
"""


class Verdict(Enum):
    """The meaning of a token."""

    ROTATE = "rotate"  # the newest: the UPDATE decides it
    GRACE = "grace"  # just replaced: answer with the same successor
    SUPERSEDED = "superseded"  # a slow tab: refuse, keep the session
    REUSE = "reuse"  # a copy: end the session
    ROLLED_BACK = "rolled_back"  # newer than the restored database: serve the holder
    ENDED = "ended"  # nothing is left to refresh


class SessionState(NamedTuple):
    """What the rule reads of a session's row. Times are seconds since 1970 UTC."""

    generation: int
    rotated_at: int
    prev_rotated_at: int | None
    ended_at: int | None
    expires_at: int
    idle_expires_at: int
    grace_elsewhere: int
    user_active: bool


def decide(session: SessionState, presented: int, now: int, *, grace: int, elsewhere: bool) -> Verdict:
    """Decide what sending generation `presented` means. An ended session has no grace.

    :param grace: seconds after a rotation in which the parent still gets its successor.
    :param elsewhere: another address prefix *and* another agent than at the last rotation.
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
    """Tell whether the session can be refreshed; not in its second of expiry."""
    return (
        session.ended_at is None and session.user_active and now < session.expires_at and now < session.idle_expires_at
    )
