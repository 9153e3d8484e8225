"""The list of what is refused before it expires: written with the event, held in memory by those who verify.

`publish` is the last thing a unit does. The sequence number comes from an `UPDATE` of the feed's single row, whose
lock makes commit order equal sequence order: a reader that has seen n has seen everything up to n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from watchword.clock import Clock, monotonic
from watchword.errors import StorageError
from watchword.ids import new_id
from watchword.storage.database import Database, Tx
from watchword.tokens.revocations import NEVER, RevocationSet
from watchword.tokens.rotation import LONGEST_TOKEN

SKEW = 120
"""Seconds an entry outlives the last token that it can hit, for clocks that are behind."""

_PAGE = 10_000
_ACCESS_LIFE = "access_life"


class Entry(NamedTuple):
    """One thing to refuse.

    :param kind: `session`, `user` or `key`.
    :param subject: a session id, a user id or a key id.
    :param min_version: for a user: tokens whose `ver` is lower are refused.
    :param expires_at: seconds since 1970 UTC; None for a key, which stays refused for ever.
    """

    kind: str
    subject: str
    min_version: int | None
    expires_at: int | None


async def publish(tx: Tx, *entries: Entry) -> None:
    """Append entries to the feed. Call it last: it takes the lock that all units share."""
    if not entries:
        return
    row = await tx.one("UPDATE ww_feed SET head = head + :count WHERE id = 1 RETURNING head", count=len(entries))
    assert row is not None, "the feed's row is made with the first start"
    for seq, entry in enumerate(entries, start=row["head"] - len(entries) + 1):
        await tx.run(
            "INSERT INTO ww_revocations (seq, kind, subject, min_version, expires_at)"
            " VALUES (:seq, :kind, :subject, CAST(:version AS BIGINT), CAST(:expires AS BIGINT))",
            seq=seq,
            kind=entry.kind,
            subject=entry.subject,
            version=entry.min_version,
            expires=entry.expires_at,
        )


async def end_session(tx: Tx, session_id: str, *, reason: str, now: int) -> list[Entry]:
    """End a session that has not ended; what to publish for it (nothing, when it had)."""
    row = await tx.one(
        "UPDATE ww_sessions SET ended_at = :now, end_reason = :reason WHERE id = :id AND ended_at IS NULL"
        " RETURNING access_until",
        id=session_id,
        now=now,
        reason=reason,
    )
    return [] if row is None else [Entry("session", session_id, None, row["access_until"] + SKEW)]


async def end_sessions(tx: Tx, user_id: str, *, reason: str, now: int, keep: str | None = None) -> list[Entry]:
    """End all sessions of a user, but for one that may be kept; an entry for each, also where no token is left."""
    rows = await tx.all(
        "UPDATE ww_sessions SET ended_at = :now, end_reason = :reason"
        " WHERE user_id = :user AND ended_at IS NULL AND id <> :keep RETURNING id, access_until",
        user=user_id,
        now=now,
        reason=reason,
        keep=keep or "",
    )
    return [Entry("session", row["id"], None, row["access_until"] + SKEW) for row in rows]


async def refuse_user(tx: Tx, user_id: str, version: int, *, now: int) -> list[Entry]:
    """What to publish so that every token of the user older than `version` is refused. There always is an entry.

    It lives as long as a token that was issued just now by any process may. The user's sessions are not asked: there
    may be any number of them.
    """
    row = await tx.one("SELECT value FROM ww_meta WHERE name = :name", name=_ACCESS_LIFE)
    life = LONGEST_TOKEN if row is None else int(row["value"])
    return [Entry("user", user_id, version, now + life + SKEW)]


async def note_access_life(database: Database, seconds: int) -> None:
    """Keep the longest life that access tokens were ever given here. Each process does so before it serves.

    It never falls: shortening the setting does not shorten tokens that are out already, nor those of a process that
    still runs with the longer one.
    """
    await database.run(
        "INSERT INTO ww_meta (name, value) VALUES (:name, :life) ON CONFLICT (name) DO UPDATE SET value = :life"
        " WHERE CAST(ww_meta.value AS BIGINT) < CAST(:life AS BIGINT)",
        name=_ACCESS_LIFE,
        life=str(seconds),
    )


class Follower:
    """Keeps a `RevocationSet` in step with the table, and announces what is new to those who wait for it.

    `catch_up` is called after each of this process's own units that published, and every quarter of a second for
    those of other processes.
    """

    def __init__(self, database: Database, clock: Clock, announce: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._announce = announce
        self._feed_id = ""
        self._cursor = 0
        self._behind = False
        self._heard_at = float("-inf")
        self.revocations = RevocationSet()

    @property
    def silence(self) -> float:
        """Seconds since the list was last known to be complete."""
        return monotonic() - self._heard_at

    async def take(self, entries: Iterable[Entry]) -> None:
        """Refuse what this process has just committed, now, and tell those who wait. Raises nothing.

        It stands between a commit and its answer: if the list cannot be read at this moment, the next poll does.
        """
        for entry in entries:
            self._add(entry.kind, entry.subject, entry.min_version, entry.expires_at)
        try:
            await self.catch_up()
        except StorageError:
            self._behind = True

    def _add(self, kind: Any, subject: str, min_version: int | None, expires_at: int | None) -> None:
        self.revocations.add(kind, subject, min_version or 0, NEVER if expires_at is None else expires_at)

    async def catch_up(self) -> None:
        """Read what came after the last entry seen. Raises `StorageUnavailable`."""
        asked_at = monotonic()
        feed_id = await self._find_place()
        while True:
            rows = await self._database.all(
                "SELECT seq, kind, subject, min_version, expires_at FROM ww_revocations"
                " WHERE seq > :after ORDER BY seq LIMIT :page",
                after=self._cursor,
                page=_PAGE,
            )
            if feed_id != self._feed_id:
                return  # another catch-up, which overlapped with this one at an await, has begun again
            for row in rows:
                self._add(row["kind"], row["subject"], row["min_version"], row["expires_at"])
                # Two catch-ups may overlap at an await; adding twice is harmless, going back is not.
                self._cursor = max(self._cursor, row["seq"])
            if rows:
                self._announce()
            if len(rows) < _PAGE:
                self._heard_at = asked_at
                return

    async def _find_place(self) -> str:
        """Begin again when the list is not the one that was followed: the database was restored to an older state.

        Its entries have numbers that were passed already. What was read before stays: it refuses no good token.
        """
        row = await self._database.one("SELECT feed_id, head FROM ww_feed WHERE id = 1")
        if row is not None and (row["feed_id"] != self._feed_id or row["head"] < self._cursor):
            self._feed_id, self._cursor = row["feed_id"], 0
            self._announce()
        return self._feed_id

    async def poll(self) -> bool:
        """Catch up when anyone may have written; whether anyone may have."""
        # The database gives the hint once. If reading then fails, the next turn must still read.
        asked_at = monotonic()
        changed = self._behind = await self._database.changed() or self._behind
        if changed:
            await self.catch_up()
            self._behind = False
        self._heard_at = asked_at
        return changed

    def sweep(self) -> None:
        """Forget what has expired: copies the list, so not at every poll."""
        self.revocations.sweep(self._clock.now())


async def create_feed(database: Database) -> None:
    """Make the feed's row at the first start."""
    await database.run(
        "INSERT INTO ww_feed (id, feed_id, head) VALUES (1, :feed, 0) ON CONFLICT (id) DO NOTHING", feed=new_id()
    )
