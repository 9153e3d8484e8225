"""Leases: which process does a job that one should do for all, such as sweeping.

    if await kernel.leases.take("sweep", kernel.clock.now()):
        …  # one turn

A turn begins with `take`, which takes the lease, renews it, or returns False: another process has it. A long turn calls
`take` again between its parts. `give_up` after a fault and `release` at the stop let another process have it at once;
that of a killed process runs out.

**A lease saves work and protects nothing.** A process may stand still for longer than its lease and then go on. So each
step of a job is a conditional statement, and a second process that does it as well changes nothing.

Clocks: `until` is by the holder's clock, and another process compares it with its own. While clocks differ by less than
a lease's life minus the pause between turns (two minutes by default), one process at a time does the job. A lease that
ends later than twice its life from now was written by a clock that is ahead: it counts as run out, so that no wrong
clock stops a job. Processes whose clocks differ by more do it in turn.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from watchword.errors import StorageUnavailable
from watchword.ids import new_id
from watchword.storage.database import Database
from watchword.tally import Log

LIFE: Final = 180
"""Seconds of a lease: three turns of a job that is done once a minute."""

_log = Log("watchword.leases")

_TAKE = """
INSERT INTO ww_leases (job, holder, until) VALUES (:job, :holder, CAST(:until AS BIGINT))
ON CONFLICT (job) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE ww_leases.holder = excluded.holder OR ww_leases.until <= :now OR ww_leases.until > :far
RETURNING holder
"""
_GIVE_UP = "DELETE FROM ww_leases WHERE job = :job AND holder = :holder"


class Leases:
    """The leases of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = new_id()
        self._perhaps: set[str] = set()  # jobs whose lease may be ours

    async def take(self, job: str, now: int, *, life: int = LIFE) -> bool:
        """Return whether this process does the job until `life` seconds from now. Raises `StorageUnavailable`.

        :param job: the same name in every process; a new one needs nothing else.
        :param life: seconds, the same in every process: at least two pauses between turns.
        """
        known = job in self._perhaps
        self._perhaps.add(job)  # before the first await: it may be taken although this call is cancelled
        row = await self._database.change(
            _TAKE, job=job, holder=self._holder, now=now, until=now + life, far=now + 2 * life
        )
        if row is None:
            self._perhaps.discard(job)
        elif not known:
            _log.debug("lease_taken", job=job)
        return row is not None

    async def give_up(self, job: str) -> None:
        """Let another process have the job at its next turn. Without the database the lease runs out by itself."""
        if job in self._perhaps:
            with suppress(StorageUnavailable):
                await self._database.run(_GIVE_UP, job=job, holder=self._holder)
                self._perhaps.discard(job)

    async def release(self) -> None:
        """Give up every job: the process stops."""
        await asyncio.gather(*(self.give_up(job) for job in self._perhaps))
