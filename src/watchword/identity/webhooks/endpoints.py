"""Where webhooks go: endpoints, each with its events and its secret. Every change is recorded.

A secret is sealed as signing keys are. It is shown once, when it is made.
"""

from __future__ import annotations

import msgspec

from watchword.clock import Clock
from watchword.errors import Conflict, FieldError, InvalidInput, NotFound, UniqueViolation
from watchword.identity import audit
from watchword.identity.granting import Operation
from watchword.identity.keys.master import Master
from watchword.identity.sweeping import in_batches
from watchword.identity.webhooks import events
from watchword.ids import new_id
from watchword.settings.values import Unfit
from watchword.storage.database import Database, Row, Tx
from watchword.webhooks import signing
from watchword.webhooks.urls import Target, check

MOST = 20
"""Endpoints of a database: each event is written for each of them."""

FORMER_SECONDS = 86_400
"""How long a secret that was replaced signs beside the new one."""

ABOUT = "webhook secret {}"
ABOUT_FORMER = "former webhook secret {}"
"""What a sealed secret is bound to: its row and its column."""

_ROWS = 500
_COLUMNS = "id, url, events, private_at, created_at, taken_at, failing_since, disabled_at, fault"


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint, without its secret. Times are seconds since 1970 UTC.

    :param private: it may lie in a private network.
    :param taken_at: when it last took a webhook.
    :param failing_since: it has taken none since.
    :param fault: why it did not take the last one.
    """

    id: str
    url: str
    events: tuple[str, ...]
    private: bool
    created_at: int
    taken_at: int | None
    failing_since: int | None
    disabled_at: int | None
    fault: str | None

    @classmethod
    def of(cls, row: Row) -> Endpoint:
        """Read a row with these columns in order."""
        return cls(row[0], row[1], tuple(row[2].split()), row[3] is not None, row[4], row[5], row[6], row[7], row[8])

    @property
    def target(self) -> Target:
        """Return where its webhooks go."""
        return Target(self.url, self.private)


class Endpoints:
    """The endpoints of one database."""

    def __init__(self, database: Database, master: Master, clock: Clock) -> None:
        self._database = database
        self._master = master
        self._clock = clock

    async def all(self) -> list[Endpoint]:
        """Return every endpoint, oldest first."""
        rows = await self._database.all(f"SELECT {_COLUMNS} FROM ww_webhooks ORDER BY id")
        return [Endpoint.of(row) for row in rows]

    async def get(self, webhook_id: str) -> Endpoint:
        """Return an endpoint. Raises `NotFound`."""
        row = await self._database.one(f"SELECT {_COLUMNS} FROM ww_webhooks WHERE id = :id", id=webhook_id)
        return Endpoint.of(_found(row))

    async def add(
        self, url: str, wanted: tuple[str, ...], *, private: bool = False, by: Operation
    ) -> tuple[Endpoint, str]:
        """Add an endpoint, which is told of what happens from now on; return its secret, as its receiver wants it.

        :param private: it may lie in a private network.

        Raises `InvalidInput`; `Conflict` when there are twenty; with the code `name_taken` for a URL that there is.
        """
        target = Target(url, private)
        try:
            check(target)
        except Unfit as error:
            raise InvalidInput(FieldError("url", "unfit", f"The URL {error.message}: {error.hint}.")) from error
        wanted, now, secret, webhook_id = events.checked(wanted), self._clock.now(), signing.make_secret(), new_id()
        made = Endpoint(webhook_id, target.url, wanted, target.private, now, None, None, None, None)

        async def unit(tx: Tx) -> None:
            await by.check(tx)
            there = await tx.all("SELECT id FROM ww_webhooks")
            if len(there) >= MOST:
                raise Conflict(f"There are {MOST} webhooks; remove one first.")
            head = await tx.one("SELECT position FROM ww_audit_head WHERE id = 1")
            await tx.run(
                "INSERT INTO ww_webhooks (id, url, events, private_at, sealed_secret, sealed_former, created_at,"
                " position, failures, rests_until) VALUES (:id, :url, :events, CAST(:private AS BIGINT), :secret, '',"
                " :now, :position, 0, 0)",
                id=webhook_id,
                url=target.url,
                events=" ".join(wanted),
                private=now if target.private else None,
                secret=self._master.seal(secret, about=ABOUT.format(webhook_id)),
                now=now,
                position=0 if head is None else head["position"],
            )
            await self._record(tx, "webhook_created", webhook_id, by, host=target.host)

        try:
            await self._database.transact(unit)
        except UniqueViolation as error:
            raise Conflict("There is a webhook with this URL already.", code="name_taken") from error
        return made, signing.shown(secret)

    async def remove(self, webhook_id: str, *, by: Operation) -> None:
        """Remove an endpoint and what waits for it. Raises `NotFound`.

        What waits goes first, in batches. If this is stopped, the endpoint is disabled and can be removed again.
        """

        async def stop(tx: Tx) -> None:
            await by.check(tx)
            row = await tx.one(
                "UPDATE ww_webhooks SET disabled_at = COALESCE(disabled_at, :now) WHERE id = :id RETURNING id",
                now=self._clock.now(),
                id=webhook_id,
            )
            _found(row)

        async def forget(tx: Tx) -> int:
            return await tx.run(
                "DELETE FROM ww_deliveries WHERE webhook_id = :webhook AND id IN"
                " (SELECT id FROM ww_deliveries WHERE webhook_id = :webhook ORDER BY id LIMIT :rows)",
                webhook=webhook_id,
                rows=_ROWS,
            )

        async def unit(tx: Tx) -> None:
            await by.check(tx)
            # It locks the row first, as what settles deliveries does.
            if await tx.run("DELETE FROM ww_webhooks WHERE id = :id", id=webhook_id):
                await tx.run("DELETE FROM ww_deliveries WHERE webhook_id = :id", id=webhook_id)
                await self._record(tx, "webhook_removed", webhook_id, by)

        await self._database.transact(stop)
        await in_batches(lambda: self._database.transact(forget, upkeep=True), _ROWS)
        await self._database.transact(unit)

    async def enable(self, webhook_id: str, *, by: Operation) -> Endpoint:
        """Send again to an endpoint that was disabled, from where it stopped. Raises `NotFound`."""

        async def unit(tx: Tx) -> Endpoint:
            await by.check(tx)
            row = await tx.one(
                "UPDATE ww_webhooks SET disabled_at = NULL, failing_since = NULL, failures = 0, rests_until = 0,"
                f" fault = NULL WHERE id = :id RETURNING {_COLUMNS}",
                id=webhook_id,
            )
            found = Endpoint.of(_found(row))
            await self._record(tx, "webhook_enabled", webhook_id, by)
            return found

        return await self._database.transact(unit)

    async def rotate_secret(self, webhook_id: str, *, at_once: bool = False, by: Operation) -> str:
        """Replace an endpoint's secret; return the new one. Raises `NotFound`.

        :param at_once: the former one signs no more; else it signs too for a day.
        """
        secret, now = signing.make_secret(), self._clock.now()

        async def unit(tx: Tx) -> None:
            await by.check(tx)
            # This locks the row, so that of two rotations at once neither is lost.
            row = await tx.one(
                "UPDATE ww_webhooks SET former_until = former_until WHERE id = :id RETURNING sealed_secret",
                id=webhook_id,
            )
            former = self._master.unseal(_found(row)["sealed_secret"], about=ABOUT.format(webhook_id))
            await tx.run(
                "UPDATE ww_webhooks SET sealed_secret = :secret, sealed_former = :former, former_until = :until"
                " WHERE id = :id",
                secret=self._master.seal(secret, about=ABOUT.format(webhook_id)),
                former="" if at_once else self._master.seal(former, about=ABOUT_FORMER.format(webhook_id)),
                until=now + FORMER_SECONDS,
                id=webhook_id,
            )
            await self._record(tx, "webhook_secret_rotated", webhook_id, by)

        await self._database.transact(unit)
        return signing.shown(secret)

    async def secrets(self, webhook_id: str) -> list[bytes]:
        """Return the secrets that sign now, the newest first; none for an endpoint that is gone."""
        row = await self._database.one(
            "SELECT sealed_secret, sealed_former, former_until FROM ww_webhooks WHERE id = :id", id=webhook_id
        )
        if row is None:
            return []
        found = [self._master.unseal(row["sealed_secret"], about=ABOUT.format(webhook_id))]
        if row["sealed_former"] and row["former_until"] > self._clock.now():
            found.append(self._master.unseal(row["sealed_former"], about=ABOUT_FORMER.format(webhook_id)))
        return found

    async def _record(self, tx: Tx, event: str, webhook_id: str, by: Operation, **detail: str) -> None:
        await audit.record(
            tx,
            event,
            at=self._clock.now(),
            client=by.client,
            actor=by.actor,
            detail={"webhook": webhook_id, **detail},
        )


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("There is no such webhook.")
    return row
