"""Failed log-ins: a line in the log, sampled, and an audit record. Only these tell why."""

from __future__ import annotations

from watchword.clock import Clock
from watchword.identity import audit
from watchword.identity.audit import Client
from watchword.identity.factors import Candidate, Factor
from watchword.identity.user_row import User
from watchword.storage.database import Database, Tx
from watchword.tally import Log, Sample


class Failures:
    """Says of a log-in that failed what answers must not."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._sample = Sample(Log("watchword.login"), "log_in_failed")

    def log(self, during: str, reason: str, client: Client) -> None:
        """Log one, unless there are too many."""
        self._sample.add(during=during, reason=reason, address=client.address, request_id=client.request_id)

    async def record(
        self, event: str, candidate: Candidate | None, factor: Factor, client: Client, *, outcome: str = "refused"
    ) -> None:
        """Record one in a unit of its own."""
        user = None if candidate is None else candidate.user.id
        now = self._clock.now()

        async def unit(tx: Tx) -> None:
            await audit.record(tx, event, at=now, client=client, outcome=outcome, user=user, detail=factor.detail)

        await self._database.transact(unit)

    @staticmethod
    async def overtaken(tx: Tx, user: User, factor: Factor, client: Client, now: int) -> None:
        """Record, in the log-in's unit, that a user changed meanwhile. Raising would undo the record."""
        await audit.record(tx, "log_in", at=now, client=client, outcome="refused", user=user.id, detail=factor.detail)
