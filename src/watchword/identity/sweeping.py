"""Deletes in small batches what no longer matters, with pauses for waiting requests.

No decision depends on a sweep. A sweep continues until nothing is left: with a ceiling, the database could grow
without end. No statement visits more rows than a batch has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from watchword.identity.devices import DEVICE_SECONDS
from watchword.identity.queue import KEPT_SECONDS
from watchword.storage.database import Database, Row, Tx

ROWS = 500
"""Rows of one batch."""

BATCHES = 20
"""Batches of one turn of the patrol."""

_PAUSE = 0.01
_RETENTION = 24 * 3600
"""Seconds that an ended session stays, for its owner's questions and for `refresh_token_reused` to be told apart."""

_KEYS_SHOWN = 30 * 86_400
# Found first and deleted by their keys: for a DELETE … IN (SELECT … LIMIT) PostgreSQL walks through the whole table.
_FIND_REVOCATIONS = "SELECT id FROM ww_revocations WHERE expires_at <= :now ORDER BY expires_at LIMIT :rows"
_FORGET_REVOCATION = "DELETE FROM ww_revocations WHERE id = :id AND expires_at <= :now"
# Not before its last access token has expired: the row tells how long its revocation stays.
_DEAD = "access_until + :retention <= :now AND {} + :retention <= :now"
_FIND_LINKS = "SELECT id FROM ww_one_time WHERE expires_at <= :now ORDER BY expires_at, id LIMIT :rows"
_FORGET_LINK = "DELETE FROM ww_one_time WHERE id = :id AND expires_at <= :now"
_FIND_ADDRESSED = "SELECT id FROM ww_one_time WHERE address_key = :address AND user_id IS NULL LIMIT :rows"
_FORGET_ADDRESSED = "DELETE FROM ww_one_time WHERE id = :id AND user_id IS NULL"
_FIND_MAIL = """
SELECT id FROM ww_outbox WHERE failed_at IS NOT NULL AND failed_at <= :until ORDER BY failed_at, id LIMIT :rows
"""
_FORGET_MAIL = "DELETE FROM ww_outbox WHERE id = :id AND failed_at <= :until"
_FIND_DELIVERIES = """
SELECT webhook_id, id FROM ww_deliveries WHERE webhook_id = :webhook AND failed_at IS NOT NULL AND failed_at <= :until
ORDER BY failed_at, id LIMIT :rows
"""
_FORGET_DELIVERY = "DELETE FROM ww_deliveries WHERE webhook_id = :webhook_id AND id = :id AND failed_at <= :until"
_FORGET_FORMER = "UPDATE ww_webhooks SET sealed_former = '' WHERE sealed_former <> '' AND former_until <= :now"
_FIND_DEVICES = "SELECT user_id, device FROM ww_devices WHERE seen_at <= :until ORDER BY seen_at LIMIT :rows"
_FORGET_DEVICE = "DELETE FROM ww_devices WHERE user_id = :user_id AND device = :device AND seen_at <= :until"
_FIND_API_KEYS = "SELECT id FROM ww_api_keys WHERE expires_at <= :until ORDER BY expires_at LIMIT :rows"
_FORGET_API_KEY = "DELETE FROM ww_api_keys WHERE id = :id AND expires_at <= :until"
# Each walks an index and visits no live rows.
_FIND_ENDED = """
SELECT id, ended_at AS at FROM ww_sessions WHERE ended_at IS NOT NULL AND (ended_at, id) > (:at, :after)
    AND ended_at <= CAST(:now AS BIGINT) - :retention ORDER BY ended_at, id LIMIT :rows
"""
_FIND_EXPIRED = """
SELECT id, expires_at AS at FROM ww_sessions WHERE ended_at IS NULL AND (expires_at, id) > (:at, :after)
    AND expires_at <= CAST(:now AS BIGINT) - :retention ORDER BY expires_at, id LIMIT :rows
"""
_FORGET_ENDED = f"DELETE FROM ww_sessions WHERE id = :id AND {_DEAD.format('ended_at')}"
_FORGET_EXPIRED = f"DELETE FROM ww_sessions WHERE id = :id AND {_DEAD.format('expires_at')}"
# Every refresh moves the idle end, so no index holds it: each turn visits some.
_WALK = """
SELECT id, idle_expires_at AS at FROM ww_sessions WHERE id > :after ORDER BY id LIMIT :rows
"""
_FORGET_IDLE = f"DELETE FROM ww_sessions WHERE id = :id AND {_DEAD.format('idle_expires_at')}"


async def sweep(database: Database, now: int) -> int:
    """Delete all that no longer matters but audit records; return how many rows. Raises `StorageUnavailable`."""

    async def revocations() -> int:
        expired = await database.scan(_FIND_REVOCATIONS, now=now, rows=ROWS)
        return await _delete(database, _FORGET_REVOCATION, expired, now=now)

    deleted = await in_batches(revocations, ROWS) + await _forget_sessions(database, now)
    return (
        deleted
        + await _forget_mail(database, now)
        + await _forget_webhooks(database, now)
        + await _forget_api_keys(database, now)
    )


async def _forget_api_keys(database: Database, now: int) -> int:
    """Delete keys that expired a month ago: until then their owners see which ones did."""
    until = now - _KEYS_SHOWN

    async def keys() -> int:
        found = await database.scan(_FIND_API_KEYS, until=until, rows=ROWS)
        return await _delete(database, _FORGET_API_KEY, found, until=until)

    return await in_batches(keys, ROWS)


async def _forget_mail(database: Database, now: int) -> int:
    """Delete links that expired, mail that was given up long ago, and devices that did not come back."""

    async def links() -> int:
        found = await database.scan(_FIND_LINKS, now=now, rows=ROWS)
        return await _delete(database, _FORGET_LINK, found, now=now)

    async def mail() -> int:
        found = await database.scan(_FIND_MAIL, until=now - KEPT_SECONDS, rows=ROWS)
        return await _delete(database, _FORGET_MAIL, found, until=now - KEPT_SECONDS)

    async def devices() -> int:
        until = now - DEVICE_SECONDS
        found = await database.scan(_FIND_DEVICES, until=until, rows=ROWS)
        return await _delete(database, _FORGET_DEVICE, found, keys=("user_id", "device"), until=until)

    return await in_batches(links, ROWS) + await in_batches(mail, ROWS) + await in_batches(devices, ROWS)


async def forget_address(database: Database, address_key: str) -> None:
    """Delete the links to an address that are no one's; there may be many, since anyone may ask for them."""

    async def links() -> int:
        found = await database.scan(_FIND_ADDRESSED, address=address_key, rows=ROWS)
        return await _delete(database, _FORGET_ADDRESSED, found)

    await in_batches(links, ROWS)


async def _forget_webhooks(database: Database, now: int) -> int:
    """Delete deliveries that were given up long ago, and secrets that sign no more."""
    deleted, until = 0, now - KEPT_SECONDS
    endpoints = await database.all("SELECT id, sealed_former FROM ww_webhooks ORDER BY id")
    if any(endpoint["sealed_former"] for endpoint in endpoints):
        await database.run(_FORGET_FORMER, now=now)
    for endpoint in endpoints:

        async def given_up(webhook: str = endpoint["id"]) -> int:
            found = await database.scan(_FIND_DELIVERIES, webhook=webhook, until=until, rows=ROWS)
            return await _delete(database, _FORGET_DELIVERY, found, keys=("webhook_id", "id"), until=until)

        deleted += await in_batches(given_up, ROWS)
    return deleted


async def in_batches(batch: Callable[[], Awaitable[int]], rows: int) -> int:
    """Call `batch` until it deletes fewer than `rows`; return the sum."""
    deleted = last = await batch()
    while last >= rows:
        await asyncio.sleep(_PAUSE)
        last = await batch()
        deleted += last
    return deleted


async def _forget_sessions(database: Database, now: int) -> int:
    ended = await _forget(database, _FIND_ENDED, _FORGET_ENDED, now)
    return ended + await _forget(database, _FIND_EXPIRED, _FORGET_EXPIRED, now)


async def _forget(database: Database, find: str, forget: str, now: int) -> int:
    deleted, at, after, rows = 0, -1, "", ROWS
    while rows >= ROWS:
        dead = await database.scan(find, at=at, after=after, now=now, rows=ROWS, retention=_RETENTION)
        deleted += await _delete(database, forget, dead, now=now, retention=_RETENTION)
        rows = len(dead)
        if dead:
            at, after = int(dead[-1]["at"]), str(dead[-1]["id"])
        await asyncio.sleep(_PAUSE)
    return deleted


class Patrol:
    """Goes round all sessions, deletes idle ones and remembers its place.

    A turn may end early: a user has at most a hundred live sessions, and each expires in any case.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._after = ""

    async def turn(self, now: int) -> int:
        """Look at about ten thousand rows; return how many were deleted. Raises `StorageUnavailable`."""
        deleted = 0
        for _ in range(BATCHES):
            rows = await self._database.scan(_WALK, after=self._after, rows=ROWS)
            idle = [row for row in rows if row["at"] + _RETENTION <= now]
            deleted += await _delete(self._database, _FORGET_IDLE, idle, now=now, retention=_RETENTION)
            self._after = str(rows[-1]["id"]) if len(rows) == ROWS else ""
            if not self._after:
                break
            await asyncio.sleep(_PAUSE)
        return deleted


async def _delete(database: Database, sql: str, rows: list[Row], keys: tuple[str, ...] = ("id",), **values: int) -> int:
    async def unit(tx: Tx) -> int:
        deleted = 0
        for row in rows:
            deleted += await tx.run(sql, **{key: row[key] for key in keys}, **values)
        return deleted

    return await database.transact(unit, upkeep=True) if rows else 0
