"""Sends webhooks: a task for each endpoint that has something to be told, so that a slow one delays no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from watchword.clock import Clock, elapsed
from watchword.errors import NotFound
from watchword.identity.queue import AT_ONCE, CLAIMED_SECONDS
from watchword.identity.trail.chain import Chain
from watchword.identity.webhooks import events
from watchword.identity.webhooks.deliveries import FALTERS, Claimed, Deliveries, Settled
from watchword.identity.webhooks.endpoints import Endpoint, Endpoints
from watchword.ids import new_id
from watchword.meters import UNMETERED, WEBHOOKS, WEBHOOKS_DISABLED, Meters
from watchword.storage.database import Database
from watchword.tally import Log, Sample
from watchword.webhooks import signing
from watchword.webhooks.sending import SECONDS, HttpSender, Outcome

LONGEST: Final = 60.0
"""Seconds of a task before the next turn decides again who sends."""

_ACTIVE = "SELECT id, position, rests_until, failures FROM ww_webhooks WHERE disabled_at IS NULL ORDER BY id"
_ONE = "SELECT rests_until, failures FROM ww_webhooks WHERE id = :id AND disabled_at IS NULL"

_log = Log("watchword.webhooks")


class Teller:
    """Tells the endpoints of one database."""

    def __init__(
        self,
        database: Database,
        endpoints: Endpoints,
        deliveries: Deliveries,
        chain: Chain,
        sender: HttpSender,
        clock: Clock,
        meters: Meters = UNMETERED,
    ) -> None:
        self._database = database
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._chain = chain
        self._sender = sender
        self._clock = clock
        self._meters = meters
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._not_taken = Sample(_log, "webhook_not_taken")

    async def waiting(self) -> list[str]:
        """Return which endpoints have something to be told. Without endpoints it is one small read."""
        rows = await self._database.all(_ACTIVE)
        if not rows:
            return []
        if await self._chain.waits():
            return [row["id"] for row in rows]
        head = await self._database.one("SELECT position FROM ww_audit_head WHERE id = 1")
        end, now = 0 if head is None else head["position"], self._clock.now()
        return [
            row["id"]
            for row in rows
            if row["position"] < end or (row["rests_until"] <= now and await self._deliveries.is_due(row["id"]))
        ]

    async def turn(self, waiting: list[str], failed: Callable[[Exception], object]) -> None:
        """Give audit records their places, and begin to tell each of these endpoints; those of before go on.

        :param failed: called with a fault of ours that ended a task.
        """
        await self._chain.extend(self._clock.now())
        for webhook_id in waiting:
            if webhook_id not in self._tasks:
                task = asyncio.create_task(self._guarded(webhook_id, failed))
                self._tasks[webhook_id] = task
                task.add_done_callback(partial(self._ended, webhook_id))

    async def finish(self) -> None:
        """Wait until every task has told what there is."""
        await asyncio.gather(*self._tasks.values())

    async def stop(self) -> None:
        """End every task. What was handed over and is not noted yet is handed over again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def try_now(self, webhook_id: str) -> Outcome:
        """Send an event that only tries the endpoint, now; return what came of it. Raises `NotFound`."""
        endpoint = await self._endpoints.get(webhook_id)
        claimed = Claimed(f"evt_{new_id().replace('-', '')}_0", "", events.TEST, self._clock.now(), {}, 1)
        return await self._sent(endpoint, claimed)

    def _ended(self, webhook_id: str, _: asyncio.Task[None]) -> None:
        self._tasks.pop(webhook_id, None)

    async def _guarded(self, webhook_id: str, failed: Callable[[Exception], object]) -> None:
        try:
            await self._tell(webhook_id)
        except NotFound:
            pass  # it was removed meanwhile
        except Exception as error:  # noqa: BLE001 - the next turn tries again
            failed(error)

    async def _tell(self, webhook_id: str) -> None:
        began = elapsed()
        while elapsed() - began < LONGEST:
            written = await self._deliveries.write(webhook_id)
            row = await self._database.one(_ONE, id=webhook_id)
            if row is None:
                return
            claimed_at, claimed = elapsed(), list[Claimed]()
            if row["rests_until"] <= self._clock.now():
                # One that falters is tried with one: each of many would wait for the deadline.
                claimed = await self._deliveries.claim(webhook_id, AT_ONCE if row["failures"] < FALTERS else 1)
            if not claimed and not written:
                return
            if claimed:
                endpoint = await self._endpoints.get(webhook_id)
                await asyncio.gather(*(self._hand_over(endpoint, each, claimed_at) for each in claimed))

    async def _hand_over(self, endpoint: Endpoint, delivery: Claimed, claimed_at: float) -> None:
        if elapsed() - claimed_at > CLAIMED_SECONDS - 2 * SECONDS:
            return  # this process stood still: another one may have the delivery, and those behind it
        outcome = await self._sent(endpoint, delivery)
        if outcome.fault:
            settled = await self._deliveries.not_taken(
                endpoint.id, delivery, outcome.fault, gone=outcome.gone, retry_after=outcome.retry_after
            )
        else:
            settled = await self._deliveries.taken(endpoint.id, delivery)
        self._note(endpoint, delivery, outcome, settled)

    async def _sent(self, endpoint: Endpoint, delivery: Claimed) -> Outcome:
        body = events.body(delivery.type, delivery.at, delivery.data)
        secrets = await self._endpoints.secrets(endpoint.id)
        if not secrets:
            return Outcome("the webhook was removed")  # nothing goes out unsigned
        headers = signing.headers(secrets, event_id=delivery.id, at=self._clock.now(), body=body)
        return await self._sender.send(endpoint.target, headers, body)

    def _note(self, endpoint: Endpoint, delivery: Claimed, outcome: Outcome, settled: Settled) -> None:
        """Count and log it. A URL may hold what only its receiver should know, so only its host is told."""
        about = {"webhook": endpoint.id, "host": endpoint.target.host, "fault": outcome.fault}
        self._meters.count(WEBHOOKS, "given_up" if settled.given_up else "not_taken" if outcome.fault else "taken")
        if settled.given_up:
            _log.error("webhook_given_up", event_id=delivery.id, type=delivery.type, tries=delivery.tries, **about)
        elif outcome.fault:
            self._not_taken.add(event_id=delivery.id, type=delivery.type, tries=delivery.tries, **about)
        if settled.disabled:
            self._meters.count(WEBHOOKS_DISABLED)
            hint = f"put it right, then: watchword webhooks enable {endpoint.id}"
            _log.error("webhook_disabled", hint=hint, **about)
