"""The list of refusals: written with each event, held in memory by everyone who verifies.

The last statement of a transaction publishes. Its sequence number comes from an `UPDATE` of the feed's single row. That
lock makes commit order equal sequence order: a reader that has seen n has seen everything before it.
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
"""Seconds an entry outlives the tokens it refuses, for clocks that are behind."""

_PAGE = 10_000
_ACCESS_LIFE = "access_life"

T = TypeVar("T")


class Entry(NamedTuple):
    """One refusal.

    :param kind: `session`, `user` or `key`.
    :param subject: the id of one.
    :param min_version: for a user: lower `ver` are refused.
    :param expires_at: seconds since 1970 UTC; None for a key: never.
    """

    kind: str
    subject: str
    min_version: int | None
    expires_at: int | None


class EveryUser(NamedTuple):
    """An entry for every user: tokens below their versions are refused."""

    expires_at: int


Published = Sequence[Entry | EveryUser]
"""What a unit publishes. An empty one leaves the shared row alone."""


async def _publish(tx: Tx, published: Published) -> None:
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
    """Draw the feed's next numbers, and return the first."""
    row = await tx.one("UPDATE ww_feed SET head = head + :count WHERE id = 1 RETURNING head", count=count)
    assert row is not None, "the feed's row is made with the first start"
    return int(row["head"]) - count + 1


async def end_session(tx: Tx, session_id: str, *, reason: str, now: int) -> list[Entry]:
    """End a session, and return what to publish; nothing when it had ended."""
    row = await tx.one(
        "UPDATE ww_sessions SET ended_at = :now, end_reason = :reason WHERE id = :id AND ended_at IS NULL"
        " RETURNING access_until",
        id=session_id,
        now=now,
        reason=reason,
    )
    return [] if row is None else [Entry("session", session_id, None, row["access_until"] + SKEW)]


async def end_sessions(tx: Tx, user_id: str, *, reason: str, now: int, keep: str | None = None) -> list[Entry]:
    """End a user's sessions, but for one to keep; return an entry for each."""
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
    """Return what refuses every token of the user older than `version`.

    The entry outlives any process's newest token. It does not read sessions: there may be many.
    """
    row = await tx.one("SELECT value FROM ww_meta WHERE name = :name", name=_ACCESS_LIFE)
    life = LONGEST_TOKEN if row is None else int(row["value"])
    return [Entry("user", user_id, version, now + life + SKEW)]


async def note_access_life(database: Database, seconds: int) -> None:
    """Keep the longest life that access tokens ever had; called before serving.

    It never falls: issued tokens, and other processes' settings, may be longer.
    """
    await database.run(
        "INSERT INTO ww_meta (name, value) VALUES (:name, :life) ON CONFLICT (name) DO UPDATE SET value = :life"
        " WHERE CAST(ww_meta.value AS BIGINT) < CAST(:life AS BIGINT)",
        name=_ACCESS_LIFE,
        life=str(seconds),
    )


class Revocations:
    """Publishes refusals, and keeps the set `refused` up to date.

    It reads after its own units, and every quarter second (`poll`).

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
        """Return the seconds since the list was last complete."""
        return monotonic() - self._heard_at

    async def commit(self, unit: Unit[tuple[T, Published]], *, ends: bool = False) -> T:
        """Run a unit that may revoke, publish what it returns, and refuse that once it is durable.

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
        """Refuse what this process has just committed.

        It raises nothing between a commit and its answer: the next poll repeats a failed read.
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
        """Read what follows the last entry seen. Raises `StorageUnavailable`."""
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
                return  # an overlapping catch-up has begun again
            for row in rows:
                self._add(row["kind"], row["subject"], row["min_version"], row["expires_at"])
                # Catch-ups may overlap at an await: adding twice is harmless, going back is not.
                self._cursor = max(self._cursor, row["seq"])
            if rows:
                self._announce()
            if len(rows) < _PAGE:
                self._heard_at = asked_at
                return

    async def _find_place(self) -> str:
        """Begin again after a restore to an older state, where numbers repeat.

        What was read before stays: it refuses no good token.
        """
        row = await self._database.one("SELECT feed_id, head FROM ww_feed WHERE id = 1")
        if row is not None and (row["feed_id"] != self._feed_id or row["head"] < self._cursor):
            self._feed_id, self._cursor = row["feed_id"], 0
            self._announce()
        return self._feed_id

    async def poll(self) -> bool:
        """Catch up when anyone may have written; tell whether anyone may have."""
        # The database gives the hint once: after a failed read the next turn must still read.
        asked_at = monotonic()
        changed = self._behind = await self._database.changed() or self._behind
        if changed:
            await self.catch_up()
            self._behind = False
        self._heard_at = asked_at
        return changed

    def sweep(self) -> None:
        """Forget what has expired. This copies the list."""
        self.refused.sweep(self._clock.now())


async def create_feed(database: Database) -> None:
    """Insert the feed's row at the first start."""
    await database.run(
        "INSERT INTO ww_feed (id, feed_id, head) VALUES (1, :feed, 0) ON CONFLICT (id) DO NOTHING", feed=new_id()
    )
