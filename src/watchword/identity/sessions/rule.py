"""Decide what a refresh token means: one pure function of (row, sent generation, now).

Reasons: `docs/security/refresh.md`. `tests/identity/test_rule.py` tries every interleaving of clients, lost answers,
retries, slow tabs and a thief.
"""

from __future__ import annotations

from enum import Enum
from hmac import compare_digest
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
    KEY_REPEATED = "key_repeated"  # the newest, with the retry key of the refresh before: refuse, change nothing


class SessionState(NamedTuple):
    """What the rule reads of a session's row. Times are seconds since 1970 UTC."""

    generation: int
    rotated_at: int
    prev_rotated_at: int | None
    ended_at: int | None
    expires_at: int
    idle_expires_at: int
    grace_elsewhere: int
    active: bool  # the user, and the API that the session is for
    retry_mac: str = ""
    retry_generation: int = 0


class SentKey(NamedTuple):
    """What came as `retry_key`, as a row would hold it.

    :param mac: empty if none came.
    :param shared: several programs, each with a key of its own, hold this refresh token: the pages of a browser.
    """

    mac: str = ""
    shared: bool = False


NO_KEY = SentKey()


def decide(
    session: SessionState, presented: int, now: int, *, grace: int, elsewhere: bool, key: SentKey = NO_KEY
) -> Verdict:
    """Decide what sending generation `presented` means. An ended session has no grace.

    :param grace: seconds after a rotation in which the parent still gets its successor.
    :param elsewhere: another address prefix *and* another agent than at the last rotation.
    """
    if not is_live(session, now):
        return Verdict.ENDED
    behind = session.generation - presented
    if behind == 0:
        # Two holders of one key could share the session unseen, for as long as it stays the same.
        return Verdict.KEY_REPEATED if proves_rotation(session, key) else Verdict.ROTATE
    if behind < 0:
        return Verdict.ROLLED_BACK
    if behind == 1 and key.mac and _rotated_with_key(session):
        if proves_rotation(session, key):
            return Verdict.GRACE
        if not key.shared:
            return Verdict.REUSE
    if behind == 1 and now - session.rotated_at <= grace:
        suspicious = elsewhere and session.grace_elsewhere >= MAX_GRACE_ELSEWHERE
        return Verdict.REUSE if suspicious else Verdict.GRACE
    if 1 < behind <= MAX_BEHIND and session.prev_rotated_at is not None and now - session.prev_rotated_at <= grace:
        return Verdict.SUPERSEDED
    return Verdict.REUSE


def _rotated_with_key(session: SessionState) -> bool:
    """Tell whether the last rotation came with a key. One by a version that knew none left an older MAC."""
    return session.retry_mac != "" and session.retry_generation == session.generation


def proves_rotation(session: SessionState, key: SentKey) -> bool:
    """Tell whether this key came with the last rotation: no copy of the token alone has it."""
    return key.mac != "" and compare_digest(key.mac.encode(), session.retry_mac.encode())


def is_live(session: SessionState, now: int) -> bool:
    """Tell whether the session can be refreshed; not in its second of expiry."""
    return session.ended_at is None and session.active and now < session.expires_at and now < session.idle_expires_at
