"""Verifies the chain: every record that is chained, every checkpoint, every cut. It reads only.

`docs/security/audit-chain.md` says what that proves.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from watchword.identity.keys.master import Master
from watchword.identity.trail.chain import points_of
from watchword.identity.trail.links import FIELDS, GENESIS, Checkpoint, is_cut, is_signed, personal_digest, record_hash
from watchword.storage.database import Database, Row

MOST_FAULTS: Final = 1000
"""So many are named; then the look ends."""

_ROWS = 1000
_NO_END = 2**62
_COLUMNS = f"{', '.join(FIELDS)}, address, agent, position, hash, personal, salt"
_PAGE = f"""
SELECT {_COLUMNS} FROM ww_audit WHERE position IS NOT NULL AND (position, id) > (:position, :id)
    AND position <= :head ORDER BY position, id LIMIT :rows
"""
_BEYOND = "SELECT id, position FROM ww_audit WHERE position > :end ORDER BY position LIMIT :rows"
_HEAD = "SELECT position FROM ww_audit_head WHERE id = 1"
_WAITING = "SELECT COUNT(*) AS records FROM ww_audit WHERE position IS NULL"
_IS_USER = "SELECT id FROM ww_users WHERE id = :id"


class Found(NamedTuple):
    """A fault.

    :param kind: `changed`, `moved`, `removed`, `inserted`, `erased`, `checkpoint` or `known`.
    :param position: in the chain.
    :param record: its id, where there is one.
    :param means: a sentence.
    """

    kind: str
    position: int
    record: str | None
    means: str


class Report(NamedTuple):
    """What was verified.

    :param first: the first position that has to be there; those before it were given up.
    :param last: the last one.
    :param records: how many are there.
    :param waiting: records that are not chained yet, which is no fault.
    :param erased: records whose address and agent were erased.
    :param checkpoints: how many are good.
    :param hash: of the last one there: with `last` it is what to keep elsewhere.
    """

    first: int
    last: int
    records: int
    waiting: int
    erased: int
    checkpoints: int
    hash: str
    faults: list[Found]


class Known(NamedTuple):
    """A hash that was kept elsewhere."""

    position: int
    hash: str


class _Broken(NamedTuple):
    """A record whose hash does not follow from the one before it."""

    row: Row
    before: str


class Verification:
    """One look at a chain."""

    def __init__(self, database: Database, master: Master, known: Known | None = None) -> None:
        self._database = database
        self._master = master
        self._known = known
        self._faults: list[Found] = []
        self._broken: list[_Broken] = []
        self._users: dict[str, bool] = {}
        self._points: dict[int, Checkpoint] = {}
        self._records = self._erased = 0
        self._position, self._hash = 0, GENESIS
        self._start, self._seen_known = 0, False

    async def run(self) -> Report:
        """Look at everything. Raises `StorageUnavailable`."""
        head = await self._end()
        await self._read_checkpoints()
        signed = max(self._points, default=0)
        if signed < head:  # each batch is signed in its own transaction
            self._fault("checkpoint", head, None, "The end of the chain is not signed.")
        end = max(head, signed, self._start)
        await self._walk(end)
        if self._position < end and len(self._faults) < MOST_FAULTS:
            self._miss(self._position + 1, end)
        await self._look_behind(end, signed)
        self._name_broken()
        self._compare_known()
        await self._forgive_cut()
        waiting = await self._database.scan(_WAITING)
        return Report(
            self._start + 1,
            self._position,
            self._records,
            waiting[0]["records"],
            self._erased,
            len(self._points),
            self._hash,
            sorted(self._faults, key=lambda found: found.position),
        )

    async def _end(self) -> int:
        head = await self._database.one(_HEAD)
        return 0 if head is None else int(head["position"])

    async def _read_checkpoints(self) -> None:
        """Keep those that are signed; begin behind the last cut."""
        for point in await points_of(self._database):
            if not is_signed(self._master, point):
                self._fault("checkpoint", point.position, None, "No listed master secret has signed this checkpoint.")
                continue
            self._points[point.position] = point
            if point.cut_at is None:
                continue
            if is_cut(self._master, point):
                self._start, self._position, self._hash = point.position, point.position, point.hash
            else:
                means = "No listed master secret has signed that the records up to here were given up."
                self._fault("checkpoint", point.position, None, means)

    async def _walk(self, end: int) -> None:
        # What a cut leaves behind for a moment is not looked at. Without one, nothing is below the first position.
        position, after = self._start + 1 if self._start else -_NO_END, ""
        while rows := await self._database.scan(_PAGE, position=position, id=after, head=end, rows=_ROWS):
            for row in rows:
                await self._look_at(row)
                if len(self._faults) + len(self._broken) >= MOST_FAULTS:
                    return
            position, after = rows[-1]["position"], rows[-1]["id"]

    async def _look_behind(self, end: int, signed: int) -> None:
        """Find records behind the end, and an end that was set back."""
        # The records first: the chain may grow meanwhile.
        beyond = await self._database.scan(_BEYOND, end=end, rows=_ROWS)
        last = await self._end()
        if last < signed:
            self._fault("checkpoint", last, None, "The end of the chain was set back before a signed checkpoint.")
        for row in beyond:
            if row["position"] > last:
                self._fault("inserted", int(row["position"]), row["id"], "It stands behind the end of the chain.")

    async def _look_at(self, row: Row) -> None:
        position, expected = int(row["position"]), self._position + 1
        if position < expected:
            self._fault("inserted", position, row["id"], "Another record has the same position.")
            return
        self._records += 1
        before: str | None = self._hash
        if position > expected:
            self._miss(expected, position - 1)
            there = self._points.get(position - 1)
            before = None if there is None else there.hash
        await self._look_at_personal(row)
        stored = row["hash"] or ""
        if before is not None and record_hash(before, row, row["personal"] or "") != stored:
            self._broken.append(_Broken(row, before))
        point = self._points.get(position)
        if point is not None and point.hash != stored:
            means = "The signed checkpoint has another hash: records before it were changed and chained anew."
            self._fault("checkpoint", position, row["id"], means)
        if self._known is not None and position == self._known.position:
            self._seen_known = stored == self._known.hash
        self._position, self._hash = position, stored

    async def _look_at_personal(self, row: Row) -> None:
        position, record, salt = int(row["position"]), row["id"], row["salt"]
        if salt is not None:
            if personal_digest(salt, row["address"], row["agent"]) != row["personal"]:
                self._fault("changed", position, record, "Its address or agent was changed.")
            return
        self._erased += 1
        if row["address"] or row["agent"]:
            self._fault("changed", position, record, "Its address or agent was put in place of erased ones.")
        elif not await self._was_deleted(row["user_id"]) and not await self._was_deleted(row["actor_id"]):
            self._fault("erased", position, record, "Address and agent were erased, and no user was deleted.")

    async def _was_deleted(self, user_id: str | None) -> bool:
        if user_id is None:
            return False
        if user_id not in self._users:
            self._users[user_id] = await self._database.one(_IS_USER, id=user_id) is not None
        return not self._users[user_id]

    def _miss(self, first: int, last: int) -> None:
        what = "The record at this position is" if first == last else f"The records at positions {first} to {last} are"
        self._fault("removed", first, None, f"{what} missing.")

    def _name_broken(self) -> None:
        """Tell records that stand behind another one than before from those that were changed."""
        hashes = {GENESIS, self._hash}
        for broken in self._broken:
            hashes |= {broken.before, broken.row["hash"] or ""}
        for row, _ in self._broken:
            moved = any(record_hash(other, row, row["personal"] or "") == row["hash"] for other in hashes)
            if moved:
                means = "It was chained behind another record than the one that is before it now."
            else:
                means = "It was changed, or the hash of the one before it was."
            self._fault("moved" if moved else "changed", int(row["position"]), row["id"], means)

    def _compare_known(self) -> None:
        if self._known is None or self._seen_known:
            return
        position = self._known.position
        if position < self._start:
            means = "The known record was given up after its retention; give one that is still there."
        elif position == self._start and self._known.hash == self._hash_of_start():
            return
        else:
            means = "The chain does not have the known hash there: it was replaced, or ends before."
        self._fault("known", position, None, means)

    def _hash_of_start(self) -> str:
        return self._points[self._start].hash if self._start in self._points else GENESIS

    async def _forgive_cut(self) -> None:
        """Take back what is missing because it was given up while this looked."""
        if not any(found.kind == "removed" for found in self._faults):
            return
        cuts = [point for point in await points_of(self._database) if is_cut(self._master, point)]
        last = max((point.position for point in cuts), default=0)
        if last > self._start:
            self._faults = [found for found in self._faults if found.position > last]

    def _fault(self, kind: str, position: int, record: str | None, means: str) -> None:
        self._faults.append(Found(kind, position, record, means))
