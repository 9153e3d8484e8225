"""The list of what is refused before it expires: written with the event, held in memory by those who verify.

Who takes rights away hands a unit to `Revocations.commit`, and the unit returns what to publish. That is published by
the last statement of the transaction: the sequence number comes from an `UPDATE` of the feed's single row, whose lock
makes commit order equal sequence order, so a reader that has seen n has seen everything up to n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from watchword.clock import Clock, monotonic
from watchword.errors import StorageError
from watchword.ids import new_id
from watchword.storage.database import Database, Tx, Unit
from watchword.tokens.revocations import NEVER, RevocationSet
from watchword.tokens.rotation import LONGEST_TOKEN

SKEW = 120
"""Seconds an entry outlives the last token that it can hit, for clocks that are behind."""

_PAGE = 10_000
_ACCESS_LIFE = "access_life"

T = TypeVar("T")


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


class EveryUser(NamedTuple):
    """An entry for each user there is: tokens older than their version are refused until `expires_at`."""

    expires_at: int


Published = Sequence[Entry | EveryUser]
"""What a unit publishes. When it is empty, the row that all units share is not touched."""


async def _publish(tx: Tx, published: Published) -> None:
    """Append to the feed. This takes the lock that all units share."""
    entries = [each for each in published if isinstance(each, Entry)]
    for everyone in published:
        if isinstance(everyone, EveryUser):
            await _publish_every_user(tx, everyone.expires_at)
    if not entries:
        return
    first = await _numbers(tx, len(entries))
    for seq, entry in enumerate(entries, start=first):
        await tx.run(
            "INSERT INTO ww_revocations (seq, kind, subject, min_version, expires_at)"
            " VALUES (:seq, :kind, :subject, CAST(:version AS BIGINT), CAST(:expires AS BIGINT))",
            seq=seq,
            kind=entry.kind,
            subject=entry.subject,
            version=entry.min_version,
            expires=entry.expires_at,
        )


async def _publish_every_user(tx: Tx, expires_at: int) -> None:
    """Append an entry for each user in one statement."""
    row = await tx.one("SELECT COUNT(*) AS users FROM ww_users")
    first = await _numbers(tx, 0 if row is None else int(row["users"]))
    await tx.run(
        "INSERT INTO ww_revocations (seq, kind, subject, min_version, expires_at)"
        " SELECT :before + ROW_NUMBER() OVER (ORDER BY id), 'user', id, token_version, CAST(:until AS BIGINT)"
        " FROM ww_users",
        before=first - 1,
        until=expires_at,
    )


async def _numbers(tx: Tx, count: int) -> int:
    """Draw the next numbers of the feed; the first of them."""
    row = await tx.one("UPDATE ww_feed SET head = head + :count WHERE id = 1 RETURNING head", count=count)
    assert row is not None, "the feed's row is made with the first start"
    return int(row["head"]) - count + 1


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


class Revocations:
    """Publishes what is to be refused, and keeps the set `refused` in step with the table.

    It catches up after each of this process's own units that published, and every quarter of a second with those of
    other processes (`poll`). What is new is announced to those who wait for it.

    :param hint: tells other processes, after each commit that published, to look now. It must not wait or raise.
    """

    def __init__(
        self, database: Database, clock: Clock, announce: Callable[[], None], hint: Callable[[], None] | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._announce = announce
        self._hint = hint
        self._feed_id = ""
        self._cursor = 0
        self._behind = False
        self._heard_at = float("-inf")
        self.refused = RevocationSet()

    @property
    def silence(self) -> float:
        """Seconds since the list was last known to be complete."""
        return monotonic() - self._heard_at

    async def commit(self, unit: Unit[tuple[T, Published]], *, ends: bool = False) -> T:
        """Run a unit that may take rights away, and answer with its result once that is durable.

        What the unit returns beside its result is published by the last statement of its transaction, and refused by
        this process from the commit on. What the unit raises is raised here: nothing of it is stored or published.

        :param ends: as in `Database.transact`.
        """

        async def publishing(tx: Tx) -> tuple[T, Published]:
            result, published = await unit(tx)
            if published:
                await _publish(tx, published)
            return result, published

        result, published = await self._database.transact(publishing, ends=ends)
        if published:
            if self._hint is not None:
                self._hint()
            await self._take(published)
        return result

    async def _take(self, published: Published) -> None:
        """Refuse what this process has just committed, now, and tell those who wait. Raises nothing.

        It stands between a commit and its answer: if the list cannot be read at this moment, the next poll does.
        """
        for entry in published:
            if isinstance(entry, Entry):
                self._add(entry.kind, entry.subject, entry.min_version, entry.expires_at)
        try:
            await self.catch_up()
        except StorageError:
            self._behind = True

    def _add(self, kind: Any, subject: str, min_version: int | None, expires_at: int | None) -> None:
        self.refused.add(kind, subject, min_version or 0, NEVER if expires_at is None else expires_at)

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
        self.refused.sweep(self._clock.now())


async def create_feed(database: Database) -> None:
    """Make the feed's row at the first start."""
    await database.run(
        "INSERT INTO ww_feed (id, feed_id, head) VALUES (1, :feed, 0) ON CONFLICT (id) DO NOTHING", feed=new_id()
    )
