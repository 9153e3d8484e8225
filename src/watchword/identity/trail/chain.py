"""Chains audit records after their commit, signs checkpoints, and cuts what is past its retention.

A record is only inserted in the transaction of what it records. Chaining it there would need one row that all write,
and every log-in would wait for another's commit (docs/decisions/audit-chain.md). One process of all, which has the
lease, chains what is committed. The lease only saves work: each process locks the head before it chains.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Final, NamedTuple

from watchword.identity.keys.master import Master
from watchword.identity.sweeping import in_batches
from watchword.identity.trail.links import (
    FIELDS,
    GENESIS,
    LABEL,
    Checkpoint,
    checkpoint_mac,
    cut_mac,
    is_cut,
    is_signed,
    personal_digest,
    record_hash,
)
from watchword.storage.database import Database, Row, Tx
from watchword.tally import Log

ROWS: Final = 200
"""Records of one batch."""

_PAUSE: Final = 0.01
_HOUR: Final = 3600
_POINT = "position, hash, at, newest_at, signer, mac, cut_at, cut_mac"
_WAITS = "SELECT id FROM ww_audit WHERE position IS NULL AND id > '' ORDER BY id LIMIT 1"
_LOCK = """
INSERT INTO ww_audit_head (id, position, hash) VALUES (1, 0, '')
ON CONFLICT (id) DO UPDATE SET position = ww_audit_head.position RETURNING position, hash
"""
_MOVE = "UPDATE ww_audit_head SET position = :position, hash = :hash WHERE id = 1"
_UNCHAINED = f"""
SELECT {", ".join(FIELDS)}, address, agent FROM ww_audit WHERE position IS NULL AND id > '' ORDER BY id LIMIT :rows
"""
# Erased or swept meanwhile: then it is left to the next turn.
_CHAIN = """
UPDATE ww_audit SET position = :position, hash = :hash, personal = :personal, salt = :salt
WHERE id = :id AND position IS NULL AND address = :address AND agent = :agent
"""
_NEWEST = f"SELECT {_POINT} FROM ww_audit_checkpoints WHERE position > 0 ORDER BY position DESC LIMIT 1"
_SIGN = """
INSERT INTO ww_audit_checkpoints (position, hash, at, newest_at, signer, mac)
VALUES (:position, :hash, :at, :newest, :signer, :mac)
"""
_THIN = "DELETE FROM ww_audit_checkpoints WHERE position = :position AND cut_at IS NULL"
# A checkpoint of a clock that was ahead holds nothing back. One of a clock that was behind takes nothing along.
_YOUNG = "SELECT MIN(position) AS position FROM ww_audit_checkpoints WHERE newest_at > :until AND newest_at <= :now"
_LAST_OLD = f"""
SELECT {_POINT} FROM ww_audit_checkpoints WHERE position < :before AND newest_at <= :until
ORDER BY position DESC LIMIT 1
"""
_CUT = """
UPDATE ww_audit_checkpoints SET cut_at = :now, cut_mac = :mac, signer = :signer, mac = :again
WHERE position = :position AND hash = :hash AND cut_at IS NULL
"""
_FIND_POINTS = "SELECT position FROM ww_audit_checkpoints WHERE position < :cut ORDER BY position LIMIT :rows"
_FORGET_POINT = "DELETE FROM ww_audit_checkpoints WHERE position = :position"
_FIND_CUT = "SELECT id FROM ww_audit WHERE position IS NOT NULL AND position <= :cut ORDER BY position LIMIT :rows"
_FORGET = "DELETE FROM ww_audit WHERE id = :id AND position <= :cut"
_EVERY_POINT = f"SELECT {_POINT} FROM ww_audit_checkpoints ORDER BY position"
_SIGNED_BY = f"""
SELECT {_POINT} FROM ww_audit_checkpoints WHERE signer = :signer AND position > :place ORDER BY position LIMIT :rows
"""
_SIGN_AGAIN = """
UPDATE ww_audit_checkpoints SET signer = :signer, mac = :mac, cut_mac = CAST(:cut AS TEXT)
WHERE position = :position AND mac = :old
"""
_NO_END = 2**62

_log = Log("watchword.audit")


class _Batch(NamedTuple):
    """How many records were chained, where the chain ends, and whether the log is told."""

    chained: int
    position: int
    hash: str
    told: bool


class Chain:
    """The chain of one database."""

    def __init__(self, database: Database, master: Master) -> None:
        self._database = database
        self._master = master

    async def waits(self) -> bool:
        """Return whether a record is not chained yet."""
        return await self._database.one(_WAITS) is not None

    async def extend(self, now: int) -> int:
        """Chain every committed record; return how many. Raises `StorageUnavailable`."""

        async def unit(tx: Tx) -> _Batch:
            return await self._batch(tx, now)

        chained = 0
        while (batch := await self._database.transact(unit, upkeep=True)).chained:
            chained += batch.chained
            if batch.told:
                # The log is kept elsewhere, where no one who can write here can change it.
                _log.info("audit_checkpoint", position=batch.position, hash=batch.hash)
            await asyncio.sleep(_PAUSE)
        return chained

    async def _batch(self, tx: Tx, now: int) -> _Batch:
        # The first statement locks: each of several that chain goes on where the other has stopped.
        head = await tx.one(_LOCK)
        assert head is not None, "it was made or locked"
        position, before = int(head["position"]), head["hash"] or GENESIS
        newest, chained = 0, 0
        for row in await tx.all(_UNCHAINED, rows=ROWS):
            found = await self._link(tx, row, position + 1, before)
            if found is not None:
                position, before, newest, chained = position + 1, found, max(newest, int(row["at"])), chained + 1
        if not chained:
            return _Batch(0, position, before, told=False)
        await tx.run(_MOVE, position=position, hash=before)
        return _Batch(chained, position, before, told=await self._sign(tx, position, before, newest, now))

    async def _link(self, tx: Tx, row: Row, position: int, before: str) -> str | None:
        """Chain a record; return its hash, or None when it has changed since it was read."""
        salt = os.urandom(16).hex()
        personal = personal_digest(salt, row["address"], row["agent"])
        chained = record_hash(before, row, personal)
        changed = await tx.run(
            _CHAIN,
            id=row["id"],
            position=position,
            hash=chained,
            personal=personal,
            salt=salt,
            address=row["address"],
            agent=row["agent"],
        )
        return chained if changed else None

    async def _sign(self, tx: Tx, position: int, chained: str, newest: int, now: int) -> bool:
        """Write a checkpoint, in place of the one before if that is of the same hour; return whether it was not."""
        before = _point(await tx.one(_NEWEST))
        again = before is not None and before.newest_at // _HOUR == newest // _HOUR
        if before is not None and again:
            await tx.run(_THIN, position=before.position)
        key, *_ = self._master.keys(LABEL)
        mac = checkpoint_mac(key, position, chained, now, newest)
        signer, *_ = self._master.ids
        await tx.run(_SIGN, position=position, hash=chained, at=now, newest=newest, signer=signer, mac=mac)
        return not again

    async def cut(self, now: int, retention: int) -> int:
        """Delete records older than `retention` seconds, up to a checkpoint; return how many.

        That they were given up is signed first: what is missing without that was removed by someone else.
        Raises `StorageUnavailable`.
        """
        until = now - retention
        (young,) = await self._database.scan(_YOUNG, until=until, now=now)
        before = _NO_END if young["position"] is None else young["position"]
        found = [_pointed(row) for row in await self._database.scan(_LAST_OLD, before=before, until=until)]
        if not found:
            return 0
        point = found[0]
        if point.cut_at is None:
            if not is_signed(self._master, point):  # forged, or of a secret that is not listed: `verify` names it
                return 0
            await self._mark(point, now)
        elif not is_cut(self._master, point):
            return 0
        return await self._forget(point.position)

    async def _mark(self, point: Checkpoint, now: int) -> None:
        key, *_ = self._master.keys(LABEL)
        await self._database.run(
            _CUT,
            now=now,
            mac=cut_mac(key, point.position, point.hash, now),
            again=checkpoint_mac(key, point.position, point.hash, point.at, point.newest_at),
            signer=self._master.ids[0],
            position=point.position,
            hash=point.hash,
        )

    async def _forget(self, cut: int) -> int:
        async def points(tx: Tx) -> int:
            found = await tx.all(_FIND_POINTS, cut=cut, rows=ROWS)
            return sum([await tx.run(_FORGET_POINT, position=row["position"]) for row in found])

        await in_batches(partial(self._database.transact, points, upkeep=True), ROWS)
        deleted = 0
        while rows := await self._database.scan(_FIND_CUT, cut=cut, rows=ROWS):

            async def unit(tx: Tx, rows: list[Row] = rows) -> int:
                return sum([await tx.run(_FORGET, id=row["id"], cut=cut) for row in rows])

            deleted += await self._database.transact(unit, upkeep=True)
            await asyncio.sleep(_PAUSE)
        return deleted

    async def sign_again(self) -> int:
        """Sign with the first master secret what another listed one has signed; return how many checkpoints.

        Then the other one is needed no more. A checkpoint that none has signed stays as it is.
        """
        _, *others = self._master.ids
        done = 0
        for signer in others:
            place, rows = -1, ROWS
            while rows == ROWS:
                found = await self._database.scan(_SIGNED_BY, signer=signer, place=place, rows=ROWS)
                points = [_pointed(row) for row in found]
                done += sum([await self._sign_one_again(point) for point in points])
                rows = len(points)
                place = points[-1].position if points else place
        return done

    async def _sign_one_again(self, point: Checkpoint) -> int:
        if not is_signed(self._master, point):
            return 0
        key, *_ = self._master.keys(LABEL)
        cut = cut_mac(key, point.position, point.hash, point.cut_at or 0) if is_cut(self._master, point) else None
        return await self._database.run(
            _SIGN_AGAIN,
            signer=self._master.ids[0],
            mac=checkpoint_mac(key, point.position, point.hash, point.at, point.newest_at),
            cut=cut if cut is not None else point.cut_mac,
            position=point.position,
            old=point.mac,
        )


async def points_of(database: Database) -> list[Checkpoint]:
    """Return all checkpoints, first one first: about one for each hour in which anything was recorded."""
    return [_pointed(row) for row in await database.scan(_EVERY_POINT)]


def _pointed(row: Row) -> Checkpoint:
    return Checkpoint(*row)


def _point(row: Row | None) -> Checkpoint | None:
    return None if row is None else _pointed(row)
