"""Events on their way to endpoints: at least once, each user's in order, for each endpoint apart.

An event is an audit record: it is committed with what it tells of, which waits for nothing more. Once the chain has
given the record its place, a delivery is written for each endpoint that wants it, and the endpoint's own place moves in
the same transaction.

Of one user's deliveries to an endpoint the first one alone has a time at which it is due. When it is taken or given up,
the next one gets its time. What does that holds the endpoint's row, so that no delivery is left without.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from watchword.clock import Clock
from watchword.errors import NotFound
from watchword.identity import audit
from watchword.identity.audit import LOCAL
from watchword.identity.granting import Operation
from watchword.identity.queue import Queue
from watchword.identity.webhooks.events import COLUMNS, TEST, TOLD, Event, Recorded, events_of, fits
from watchword.ids import new_id
from watchword.storage.database import Database, Row, Tx

WAITS: Final = (5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each further try, a fifth more or less: three days in all."""

MOST_WAITING: Final = 10_000
"""Deliveries that wait for one endpoint. Further events wait in the audit trail."""

MOST_OF_USER: Final = 200
"""Deliveries of one user that wait for one endpoint. Further ones are given up at once, and can be repeated."""

RECORDS: Final = 200
"""Records of one batch."""

MOST_AGAIN: Final = 1000
"""Deliveries that one call sends again."""

FALTERS: Final = 10
"""Failures in a row after which an endpoint is tried with one delivery at a time, after rests."""

_QUEUE: Final = Queue(
    "ww_deliveries", "id, user_id, type, at, data, tries, created_at", waits=WAITS, part="webhook_id", jitter=0.2
)
_LOCK = "UPDATE ww_webhooks SET position = position WHERE id = :id RETURNING position, events, created_at, disabled_at"
_AHEAD = """
SELECT id FROM ww_audit WHERE position > (SELECT position FROM ww_webhooks WHERE id = :id) ORDER BY position LIMIT 1
"""
_RECORDS = f"SELECT {COLUMNS} FROM ww_audit WHERE position > :after ORDER BY position LIMIT :rows"
_TOLD = ", ".join(f"'{name}'" for name in TOLD)
_PAST = f"""
SELECT {COLUMNS} FROM ww_audit WHERE id > :place AND position <= :upto AND at >= :since AND event IN ({_TOLD})
ORDER BY id LIMIT :rows
"""
_PAST_OF_USER = f"""
SELECT {COLUMNS} FROM ww_audit WHERE user_id = :user AND id > :place AND position <= :upto AND at >= :since
    AND event IN ({_TOLD}) ORDER BY id LIMIT :rows
"""
_WRITE = """
INSERT INTO ww_deliveries (webhook_id, id, user_id, place, type, at, data, created_at, tries, failed_at, fault)
VALUES (:webhook, :id, :user, :place, :type, :at, :data, :now, 0, CAST(:failed AS BIGINT), CAST(:fault AS TEXT))
ON CONFLICT (webhook_id, id) DO UPDATE
SET tries = 0, failed_at = excluded.failed_at, fault = excluded.fault, due_at = NULL
WHERE ww_deliveries.failed_at IS NOT NULL
"""
_NEXT = """
UPDATE ww_deliveries SET due_at = :now WHERE webhook_id = :webhook AND id = (
    SELECT id FROM ww_deliveries WHERE webhook_id = :webhook AND user_id = :user AND failed_at IS NULL
    ORDER BY place LIMIT 1)
AND NOT EXISTS (
    SELECT 1 FROM ww_deliveries AS others WHERE others.webhook_id = :webhook AND others.user_id = :user
    AND others.failed_at IS NULL AND others.due_at IS NOT NULL)
"""
_FULL = "SELECT id FROM ww_deliveries WHERE webhook_id = :webhook AND failed_at IS NULL LIMIT 1 OFFSET :most"
_FULL_OF_USER = """
SELECT id FROM ww_deliveries WHERE webhook_id = :webhook AND user_id = :user AND failed_at IS NULL LIMIT 1 OFFSET :most
"""
_TAKEN = "DELETE FROM ww_deliveries WHERE webhook_id = :webhook AND id = :id AND tries = :tries AND failed_at IS NULL"
_GOOD = """
UPDATE ww_webhooks SET failures = 0, failing_since = NULL, rests_until = 0, fault = NULL, taken_at = :now WHERE id = :id
"""
_BAD = """
UPDATE ww_webhooks SET failures = failures + 1, failing_since = COALESCE(failing_since, :now), fault = :fault
WHERE id = :id RETURNING failures, failing_since, disabled_at
"""
_FAILED = """
SELECT webhook_id, id, type, user_id, at, failed_at, tries, fault FROM ww_deliveries
WHERE webhook_id = :webhook AND failed_at IS NOT NULL ORDER BY failed_at, id LIMIT :limit
"""
_AGAIN = """
UPDATE ww_deliveries SET failed_at = NULL, fault = NULL, tries = 0, due_at = NULL
WHERE webhook_id = :webhook AND failed_at IS NOT NULL AND id IN (
    SELECT id FROM ww_deliveries WHERE webhook_id = :webhook AND failed_at IS NOT NULL AND (id = :id OR :id = '')
    ORDER BY failed_at, id LIMIT :rows)
RETURNING user_id
"""


class Claimed(NamedTuple):
    """A delivery that this process may hand over until its claim ends."""

    id: str
    user_id: str
    type: str
    at: int
    data: dict[str, Any]
    tries: int


class Settled(NamedTuple):
    """What became of a delivery.

    :param stood: its claim still stood; if not, another process decides.
    :param disabled: the endpoint was disabled by this.
    """

    stood: bool
    given_up: bool = False
    disabled: bool = False


class Failed(msgspec.Struct, frozen=True):
    """A delivery that was given up, for an operator."""

    webhook_id: str
    id: str
    type: str
    user_id: str
    at: int
    failed_at: int
    tries: int
    fault: str | None


class Replayed(NamedTuple):
    """How many events will be sent again; and from when on the rest follows once these are sent, if there are more."""

    events: int
    rest_since: int | None


class Deliveries:
    """The deliveries of one database.

    :param patience: seconds of nothing but failures after which an endpoint is disabled.
    """

    def __init__(self, database: Database, clock: Clock, *, patience: int) -> None:
        self._database = database
        self._clock = clock
        self._patience = patience

    async def write(self, webhook_id: str) -> int:
        """Write what the chain has gained since; return how many records were looked at."""
        if await self._database.one(_AHEAD, id=webhook_id) is None:
            return 0  # found without a write

        async def unit(tx: Tx) -> int:
            found = await tx.one(_LOCK, id=webhook_id)
            if found is None or found["disabled_at"] is not None or await _is_full(tx, webhook_id):
                return 0
            records = [Recorded(*row) for row in await tx.all(_RECORDS, after=found["position"], rows=RECORDS)]
            if not records:
                return 0
            await self._written(tx, webhook_id, found["events"].split(), records, since=found["created_at"])
            await tx.run(
                "UPDATE ww_webhooks SET position = :position WHERE id = :id",
                position=records[-1].position,
                id=webhook_id,
            )
            return len(records)

        return await self._database.transact(unit)

    async def is_due(self, webhook_id: str) -> bool:
        """Tell whether a claim would find anything."""
        return await _QUEUE.is_due(self._database, now=self._clock.now(), part=webhook_id)

    async def claim(self, webhook_id: str, rows: int) -> list[Claimed]:
        """Claim what is due at an endpoint, and count a try of each. With nothing due, nothing is written."""
        found = await _QUEUE.claim(self._database, now=self._clock.now(), rows=rows, part=webhook_id)
        return [_claimed(row) for row in found]

    async def taken(self, webhook_id: str, delivery: Claimed) -> Settled:
        """Forget a delivery that was taken; the user's next one is due."""
        now = self._clock.now()

        async def unit(tx: Tx) -> Settled:
            await tx.run(_GOOD, now=now, id=webhook_id)
            stood = await tx.run(_TAKEN, webhook=webhook_id, id=delivery.id, tries=delivery.tries) > 0
            if stood:
                await tx.run(_NEXT, webhook=webhook_id, user=delivery.user_id, now=now)
            return Settled(stood)

        return await self._database.transact(unit)

    async def not_taken(
        self, webhook_id: str, delivery: Claimed, fault: str, *, gone: bool = False, retry_after: int = 0
    ) -> Settled:
        """Note why a delivery was not taken; give it up after its last try, and the endpoint after long failure.

        :param gone: the receiver wants no more.
        :param retry_after: seconds for which it wants nothing; a day counts at most.
        """
        now, wait, asked = self._clock.now(), _QUEUE.wait(delivery.tries), min(retry_after, WAITS[-1])
        wait = None if wait is None else max(wait, asked)

        async def unit(tx: Tx) -> Settled:
            row = await tx.one(_BAD, now=now, fault=fault, id=webhook_id)
            if row is None:
                return Settled(stood=False)
            await tx.run(
                "UPDATE ww_webhooks SET rests_until = :until WHERE id = :id AND rests_until < :until",
                until=now + max(rest_after(int(row["failures"])), asked),
                id=webhook_id,
            )
            stood = await _QUEUE.put_off(tx, delivery.id, delivery.tries, fault, now=now, wait=wait, part=webhook_id)
            if stood and wait is None:
                await tx.run(_NEXT, webhook=webhook_id, user=delivery.user_id, now=now)
            ends = row["disabled_at"] is None and (gone or row["failing_since"] + self._patience <= now)
            if ends:
                await _disable(tx, webhook_id, now, "gone" if gone else "failing")
            return Settled(stood, stood and wait is None, ends)

        return await self._database.transact(unit)

    async def failed(self, webhook_id: str, *, limit: int = 200) -> list[Failed]:
        """Return deliveries that were given up, oldest first."""
        rows = await self._database.scan(_FAILED, webhook=webhook_id, limit=limit)
        return [Failed(*row) for row in rows]

    async def retry(self, webhook_id: str, delivery_id: str | None, *, by: Operation) -> int:
        """Send one delivery again that was given up, or up to a thousand; return how many. Raises `NotFound`.

        An endpoint that rests is asked now.
        """
        now = self._clock.now()

        async def unit(tx: Tx) -> int:
            await by.check(tx)
            if await tx.one(_LOCK, id=webhook_id) is None:
                raise NotFound("There is no such webhook.")
            await tx.run("UPDATE ww_webhooks SET rests_until = 0 WHERE id = :id", id=webhook_id)
            rows = await tx.all(_AGAIN, webhook=webhook_id, id=delivery_id or "", rows=MOST_AGAIN)
            for user in dict.fromkeys(row["user_id"] for row in rows):
                await tx.run(_NEXT, webhook=webhook_id, user=user, now=now)
            return len(rows)

        return await self._database.transact(unit)

    async def replay(self, webhook_id: str, *, since: int, user_id: str | None = None, by: Operation) -> Replayed:
        """Send again what an endpoint was told from a time on, for all users or for one. Raises `NotFound`.

        It reads the audit trail, which holds as much as it is kept for. Events keep their ids.
        """
        place, count = "", 0
        while True:
            batch = await self._replay_batch(webhook_id, since, user_id, place, by)
            count += batch.events
            if batch.place is None:
                break
            if batch.full:
                return Replayed(count, batch.at)
            place = batch.place
        return Replayed(count, None)

    async def try_out(self, webhook_id: str, *, by: Operation) -> str:
        """Write a delivery that only tries the endpoint; return its event's id. Raises `NotFound`."""
        now = self._clock.now()
        event = Event(f"evt_{new_id().replace('-', '')}_0", TEST, "", 0, now, {})

        async def unit(tx: Tx) -> None:
            await by.check(tx)
            if await tx.one(_LOCK, id=webhook_id) is None:
                raise NotFound("There is no such webhook.")
            await self._write_one(tx, webhook_id, event, now)

        await self._database.transact(unit)
        return event.id

    async def _replay_batch(
        self, webhook_id: str, since: int, user_id: str | None, place: str, by: Operation
    ) -> _Batch:
        async def unit(tx: Tx) -> _Batch:
            await by.check(tx)
            found = await tx.one(_LOCK, id=webhook_id)
            if found is None:
                raise NotFound("There is no such webhook.")
            values: dict[str, Any] = {"place": place, "upto": found["position"], "since": since, "rows": RECORDS}
            rows = await (tx.all(_PAST, **values) if user_id is None else tx.all(_PAST_OF_USER, user=user_id, **values))
            records = [Recorded(*row) for row in rows]
            if not records:
                return _Batch(0, None, 0, full=False)
            if await _is_full(tx, webhook_id):
                return _Batch(0, place, records[0].at, full=True)
            count = await self._written(tx, webhook_id, found["events"].split(), records, since=since)
            await audit.record(
                tx,
                "webhook_replayed",
                at=self._clock.now(),
                client=by.client,
                actor=by.actor,
                user=user_id,
                detail={"webhook": webhook_id, "count": str(count)},
            )
            return _Batch(count, records[-1].id, records[-1].at, full=False)

        return await self._database.transact(unit)

    async def _written(self, tx: Tx, webhook_id: str, wanted: list[str], records: list[Recorded], *, since: int) -> int:
        """Write deliveries of records, in a unit that holds the endpoint's row; return how many."""
        now, count = self._clock.now(), 0
        for record in records:
            for event in events_of(record) if record.at >= since else ():
                if any(fits(pattern, event.type) for pattern in wanted):
                    await self._write_one(tx, webhook_id, event, now)
                    count += 1
        return count

    async def _write_one(self, tx: Tx, webhook_id: str, event: Event, now: int) -> None:
        full = await tx.one(_FULL_OF_USER, webhook=webhook_id, user=event.user_id, most=MOST_OF_USER - 1) is not None
        await tx.run(
            _WRITE,
            webhook=webhook_id,
            id=event.id,
            user=event.user_id,
            place=event.place,
            type=event.type,
            at=event.at,
            data=msgspec.json.encode(event.data).decode(),
            now=now,
            failed=now if full else None,
            fault=f"{MOST_OF_USER} events of this user wait already" if full else None,
        )
        await tx.run(_NEXT, webhook=webhook_id, user=event.user_id, now=now)


class _Batch(NamedTuple):
    """Of a replay: how many events, where it got to, if it goes on, and the time there."""

    events: int
    place: str | None
    at: int
    full: bool


def rest_after(failures: int) -> int:
    """Return for how many seconds an endpoint rests after so many failures in a row: five minutes at most."""
    return 0 if failures < FALTERS else min(300, 10 * 2 ** min(failures - FALTERS, 5))


async def _is_full(tx: Tx, webhook_id: str) -> bool:
    return await tx.one(_FULL, webhook=webhook_id, most=MOST_WAITING - 1) is not None


async def _disable(tx: Tx, webhook_id: str, now: int, reason: str) -> None:
    await tx.run("UPDATE ww_webhooks SET disabled_at = :now WHERE id = :id", now=now, id=webhook_id)
    detail = {"webhook": webhook_id, "reason": reason}
    await audit.record(tx, "webhook_disabled", at=now, client=LOCAL, detail=detail)


def _claimed(row: Row) -> Claimed:
    data = msgspec.json.decode(row["data"], type=dict[str, Any])
    return Claimed(row["id"], row["user_id"], row["type"], row["at"], data, row["tries"])
