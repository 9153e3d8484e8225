"""The list of refusals: written with each event, held in memory by everyone who verifies.

The last statements of a transaction publish. A reader that has seen number n must have seen everything before it, so
commit order must equal number order. A database with one writer draws the numbers in the transaction. Elsewhere that
would hold the feed's row through every commit, and all log-outs would wait for each other: entries are stored without a
number, and a short transaction of its own (`number`) gives numbers to those that are committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from watchword.clock import Clock, monotonic
from watchword.ids import new_id
from watchword.meters import REVOKED, UNMETERED, Meters
from watchword.storage.database import Database, Tx, Unit
from watchword.tokens.revocations import NEVER, RevocationSet
from watchword.tokens.rotation import LONGEST_TOKEN

SKEW = 3720
"""Seconds an entry outlives the tokens it refuses, for clocks that are behind, or are set back after the sweep.

A clock that is set back by an hour makes tokens of the last hour valid again, revoked ones too.
"""

_PAGE = 10_000
_ACCESS_LIFE = "access_life"
UNTOUCHED = 1
"""The version that an import gives a user; whatever takes rights away raises it."""

_LEGACY_UNTIL = "legacy_until"

T = TypeVar("T")


class Entry(NamedTuple):
    """One refusal.

    :param kind: `session`, `user`, `key`, `scope` or `audience`.
    :param subject: the id of one; the scope or audience itself.
    :param min_version: for a user: lower `ver` are refused; for scope and audience: tokens that have it and a lower
        `rver`.
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


async def _publish(tx: Tx, published: Published, *, alone: bool) -> None:
    """Store what a unit publishes, as its last statements.

    :param alone: no other unit runs until this one is committed, so numbers may be drawn here.
    """
    entries = [each for each in published if isinstance(each, Entry)]
    for everyone in published:
        if isinstance(everyone, EveryUser):
            await _publish_every_user(tx, everyone.expires_at, alone=alone)
    first = await _draw(tx, len(entries)) if alone and entries else None
    for place, entry in enumerate(entries):
        await tx.run(
            "INSERT INTO ww_revocations (id, seq, kind, subject, min_version, expires_at)"
            " VALUES (:id, CAST(:seq AS BIGINT), :kind, :subject, CAST(:version AS BIGINT), CAST(:expires AS BIGINT))",
            id=new_id(),
            seq=None if first is None else first + place,
            kind=entry.kind,
            subject=entry.subject,
            version=entry.min_version,
            expires=entry.expires_at,
        )


async def _publish_every_user(tx: Tx, expires_at: int, *, alone: bool) -> None:
    row = await tx.one("SELECT COUNT(*) AS users FROM ww_users") if alone else None
    first = None if row is None else await _draw(tx, int(row["users"]))
    await tx.run(
        "INSERT INTO ww_revocations (id, seq, kind, subject, min_version, expires_at)"
        " SELECT :batch || id, CAST(:before AS BIGINT) + ROW_NUMBER() OVER (ORDER BY id), 'user', id, token_version,"
        " CAST(:until AS BIGINT) FROM ww_users",
        batch=f"{new_id()} ",
        before=None if first is None else first - 1,
        until=expires_at,
    )


async def _draw(tx: Tx, count: int) -> int:
    """Draw the feed's next numbers, and return the first. The feed's row stays locked until the commit."""
    row = await tx.one("UPDATE ww_feed SET head = head + :count WHERE id = 1 RETURNING head", count=count)
    assert row is not None, "the feed's row is made with the first start"
    return int(row["head"]) - count + 1


class Place(NamedTuple):
    """Where the feed has got to: everything committed before it was read has a number up to `head`."""

    feed_id: str
    head: int


async def find_place(database: Database) -> Place:
    """Return the feed's place; give numbers first to committed entries that have none.

    :raises StorageUnavailable: also when entries cannot be numbered: without them the place would look too fresh.
    """
    row = await database.one(
        "SELECT feed_id, head, EXISTS (SELECT 1 FROM ww_revocations WHERE seq IS NULL) AS behind"
        " FROM ww_feed WHERE id = 1"
    )
    assert row is not None, "the feed's row is made with the first start"
    if not row["behind"]:
        return Place(row["feed_id"], row["head"])
    try:
        return await database.transact(_number)
    except _AllNumbered as others:
        return others.place


class _AllNumbered(Exception):
    """Another process was faster. Raised, since the undoing of a unit costs no flush."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place


async def _number(tx: Tx) -> Place:
    # The first statement locks, so that each of the others sees what was numbered, and committed, before.
    row = await tx.one("UPDATE ww_feed SET head = head WHERE id = 1 RETURNING feed_id, head")
    assert row is not None, "the feed's row is made with the first start"
    numbered = await tx.all(
        "UPDATE ww_revocations SET seq = fresh.seq FROM (SELECT id, CAST(:head AS BIGINT) + ROW_NUMBER()"
        " OVER () AS seq FROM ww_revocations WHERE seq IS NULL) AS fresh WHERE ww_revocations.id = fresh.id"
        " RETURNING ww_revocations.seq AS seq",
        head=row["head"],
    )
    if not numbered:
        raise _AllNumbered(Place(row["feed_id"], row["head"]))
    # The highest and not how many: the sweep may delete one of them meanwhile, which leaves a gap.
    head = max(int(each["seq"]) for each in numbered)
    await _draw(tx, head - int(row["head"]))
    return Place(row["feed_id"], head)


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

    The entry outlives any process's newest token, and the day until which guards may accept those of an application
    that was there before. It does not read sessions: there may be many.
    """
    until = max(await _last_token(tx, now), await legacy_until(tx))
    return [Entry("user", user_id, version, until + SKEW)]


async def refuse_api_key(tx: Tx, key_id: str, *, now: int) -> list[Entry]:
    """Return what refuses every token that was exchanged for an API key: its id is their `sid`."""
    return [Entry("session", key_id, None, await _last_token(tx, now) + SKEW)]


async def refuse_old_tokens(tx: Tx, user_id: str, *, now: int) -> list[Entry]:
    """Refuse the tokens of an application that was there before, if the user may have some; else write nothing.

    The user's tokens from here are refused too: live sessions get new ones by their next refresh.
    """
    if await legacy_until(tx) <= now:
        return []
    row = await tx.one(
        "UPDATE ww_users SET token_version = token_version + 1"
        " WHERE id = :id AND imported_at IS NOT NULL AND token_version = :untouched RETURNING token_version",
        id=user_id,
        untouched=UNTOUCHED,
    )
    return [] if row is None else await refuse_user(tx, user_id, row["token_version"], now=now)


async def refuse_rights(
    tx: Tx, scopes: Iterable[str], audiences: Iterable[str], version: int, *, now: int
) -> list[Entry]:
    """Return what refuses every token with one of these that was issued before this version of the tables of rights.

    Idle users' tokens are refused too, and those of processes that have not heard of it: no session is read.
    """
    until = await _last_token(tx, now) + SKEW
    rows = [("scope", each) for each in sorted(scopes)] + [("audience", each) for each in sorted(audiences)]
    return [Entry(kind, subject, version, until) for kind, subject in rows]


async def _last_token(tx: Tx, now: int) -> int:
    """Return when the last access token that any process has issued by now expires."""
    row = await tx.one("SELECT value FROM ww_meta WHERE name = :name", name=_ACCESS_LIFE)
    return now + (LONGEST_TOKEN if row is None else int(row["value"]))


async def legacy_until(tx: Tx) -> int:
    """Return until when tokens of an application that was there before may be accepted, or 0."""
    row = await tx.one("SELECT value FROM ww_meta WHERE name = :name", name=_LEGACY_UNTIL)
    return 0 if row is None else int(row["value"])


async def note_legacy_until(revocations: Revocations, until: int) -> None:
    """Keep the day until which entries of users last; called before serving. It never comes nearer.

    For a new day, imported users who have changed since are published again: their entries may have expired.
    """

    async def unit(tx: Tx) -> tuple[None, Published]:
        later = await tx.one(
            "INSERT INTO ww_meta (name, value) VALUES (:name, :until) ON CONFLICT (name) DO UPDATE SET value = :until"
            " WHERE CAST(ww_meta.value AS BIGINT) < CAST(:until AS BIGINT) RETURNING value",
            name=_LEGACY_UNTIL,
            until=str(until),
        )
        if later is None:
            return None, ()
        rows = await tx.all(
            "SELECT id, token_version FROM ww_users"
            " WHERE imported_at IS NOT NULL AND (token_version > 1 OR disabled_at IS NOT NULL)"
        )
        return None, [Entry("user", row["id"], row["token_version"], until + SKEW) for row in rows]

    await revocations.commit(unit)


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

    It refuses what it commits at once, and reads the rest at each `poll`.

    :param announce: wakes the feed's waiting readers.
    :param hint: makes the next poll, here and in other processes, an early one. Neither may wait or raise.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        announce: Callable[[], None] = lambda: None,
        hint: Callable[[], None] = lambda: None,
        meters: Meters = UNMETERED,
    ) -> None:
        self._meters = meters
        self._database = database
        self._clock = clock
        self._announce = announce
        self._hint = hint
        self._feed_id = ""
        self._cursor = 0
        self._behind = False
        self._committed = False
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
                await _publish(tx, published, alone=self._database.one_writer)
            return result, published

        result, published = await self._database.transact(publishing, ends=ends)
        if published:
            for entry in published:
                self._meters.count(REVOKED, entry.kind if isinstance(entry, Entry) else "every_user")
            self._take(published)
        return result

    def _take(self, published: Published) -> None:
        """Refuse what this process has just committed; the next poll reads the rest."""
        for entry in published:
            if isinstance(entry, Entry):
                self._add(entry.kind, entry.subject, entry.min_version, entry.expires_at)
        self._committed = True
        self._announce()
        self._hint()

    def _add(self, kind: Any, subject: str, min_version: int | None, expires_at: int | None) -> None:
        self.refused.add(kind, subject, min_version or 0, NEVER if expires_at is None else expires_at)

    async def catch_up(self) -> None:
        """Read what follows the last entry seen. Raises `StorageUnavailable`."""
        asked_at = monotonic()
        place = await find_place(self._database)
        if place.feed_id != self._feed_id or place.head < self._cursor:
            # Restored to an older state, where numbers repeat. What was read before stays: it refuses no good token.
            self._feed_id, self._cursor = place.feed_id, 0
            self._announce()
        while self._cursor < place.head:
            rows = await self._database.all(
                "SELECT seq, kind, subject, min_version, expires_at FROM ww_revocations"
                " WHERE seq > :after AND seq <= :head ORDER BY seq LIMIT :page",
                after=self._cursor,
                head=place.head,
                page=_PAGE,
            )
            if place.feed_id != self._feed_id:
                return  # an overlapping catch-up has begun again
            for row in rows:
                self._add(row["kind"], row["subject"], row["min_version"], row["expires_at"])
            # Catch-ups may overlap at an await: adding twice is harmless, going back is not.
            reached = place.head if len(rows) < _PAGE else rows[-1]["seq"]
            self._cursor = max(self._cursor, reached)
            self._announce()
        self._heard_at = asked_at

    async def poll(self) -> bool:
        """Catch up when anyone may have written; tell whether anyone may have."""
        # The database gives the hint once: after a failed read the next turn must still read.
        asked_at = monotonic()
        committed, self._committed = self._committed, False
        changed = self._behind = await self._database.changed() or committed or self._behind
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
