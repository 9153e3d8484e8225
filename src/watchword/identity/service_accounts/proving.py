"""Find out whether a client is the service account that it says it is.

Whatever is wrong, the answer is the same; the log has the reason. A secret has 256 random bits, so one SHA-256 is
enough, and guessing is hopeless; failures are counted by address so that they cannot fill logs.
"""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any, Final

from watchword import opaque
from watchword.clock import Clock
from watchword.errors import Refused, TokenError
from watchword.identity import audit
from watchword.identity.audit import Client
from watchword.identity.service_accounts import assertion
from watchword.identity.service_accounts.account import COLUMNS, SECRET_PREFIX, Account, Shown, is_account_id
from watchword.identity.takes import takes_of
from watchword.identity.throttle import Throttle
from watchword.settings import Settings
from watchword.storage.database import Database, Row, Tx
from watchword.storage.ephemeral import Ephemeral, is_first
from watchword.storage.ephemeral_sql import put_in
from watchword.tally import Log, Sample

_FIND: Final = f"SELECT {COLUMNS}, secret_hash, former_hash, former_until FROM ww_clients WHERE id = :id"
_HOUR: Final = 3600
_USED: Final = "The assertion's jti was used before."
_RESTORED: Final = "The assertion may be older than the backup that was restored. Sign another one in a minute."
RESTORED: Final = "restored_at"
"""Names the time of a restored backup, kept for as long as assertions from before it may last."""


class Proving:
    """Checks what clients show.

    :param used: has the ids of assertions, in the database: elsewhere a restart would forget them.
    """

    def __init__(
        self,
        database: Database,
        ephemeral: Ephemeral,
        used: Ephemeral,
        throttle: Throttle,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ephemeral = ephemeral
        self._used = used
        self._throttle = throttle
        self._clock = clock
        self._refusals = Sample(Log("watchword.clients"), "client_refused")
        self._audiences = (settings.public_url, f"{settings.public_url}/token")

    async def prove(self, shown: Shown, *, client: Client) -> Account:
        """Return the enabled account that a client is.

        Raises `Refused` (`invalid_client`) alike for every failure, `TooManyAttempts` after many of them, or after many
        assertions.
        """
        now = self._clock.now()
        row = await self._find(shown.client_id)
        fault = "there is no such client" if row is None else await self._fault(row, shown, now, client)
        if row is None or fault:
            self._log(row, fault, client)
            await self._throttle.take(*takes_of("client_proof", client.address, None), client=client)
            if row is not None:
                await self._note(row["id"], "refused", now, client)
            raise not_accepted()
        account = Account.of(row)
        await self._note(account.id, "ok", now, client)
        return account

    async def _find(self, client_id: str) -> Row | None:
        return await self._database.one(_FIND, id=client_id) if is_account_id(client_id) else None

    def _log(self, row: Row | None, reason: str, client: Client) -> None:
        """Say why, unless there is too much to say. An id that is no account's could be a secret in the wrong place."""
        named = {} if row is None else {"client_id": row["id"]}
        self._refusals.add(**named, reason=reason, address=client.address, request_id=client.request_id)

    async def _fault(self, row: Row, shown: Shown, now: int, client: Client) -> str:
        """Return what is wrong, for the log; '' if the client is this account."""
        if row["disabled_at"] is not None:
            return "the account is disabled"
        if shown.assertion is not None:
            if row["public_key"] is None:
                return "the account has a secret and no key: it sends no assertion"
            return await self._fault_of_assertion(row, shown.assertion, now, client)
        if row["secret_hash"] is None:
            return "the account has a key and no secret: it sends an assertion"
        if not shown.secret or not opaque.looks_like(shown.secret, SECRET_PREFIX):
            return f"there is no secret, or none that begins with {SECRET_PREFIX}"
        found = opaque.fingerprint(shown.secret.encode())
        former = row["former_hash"]
        if hmac.compare_digest(found, row["secret_hash"]):
            return ""
        if former is None or not hmac.compare_digest(found, former):
            return "the secret is wrong"
        return "" if now < row["former_until"] else "the secret was replaced, and its overlap is over"

    async def _fault_of_assertion(self, row: Row, text: str, now: int, client: Client) -> str:
        """Check an assertion, and use up its id. Raises `TooManyAttempts`.

        After a restored backup none counts that could have been used before: the backup does not know which were.

        Each account's are limited, since each leaves a row until it expires. What was used before does not count:
        anyone who overheard it could use up the limit.
        """
        jwk: dict[str, Any] = json.loads(row["public_key"])
        try:
            found = assertion.read_assertion(text, jwk, client_id=row["id"], audiences=self._audiences, now=now)
        except TokenError as error:
            return error.message
        restored_at = await self._used.get(RESTORED, now)
        if restored_at is not None and found.usable_from <= int(restored_at):
            return _RESTORED
        used = sha256(f"{row['id']} {found.jti}".encode("utf-8", "surrogatepass")).hexdigest()
        name, lifetime = f"assertion:{used}", found.expires_at - now
        if (await self._used.count(name, by=0, lifetime=lifetime, now=now)).amount:
            return _USED
        takes = takes_of("client", client.address, f"{row['id']} assertions")
        await self._throttle.take(*takes, client=client, user=row["id"])
        first = (await self._used.count(name, lifetime=lifetime, now=now)).amount == 1
        return "" if first else _USED

    async def _note(self, client_id: str, outcome: str, now: int, client: Client) -> None:
        """Record the first of an hour, and when the account was used."""
        name = f"client_{outcome}:{sha256(client_id.encode()).hexdigest()[:40]}"
        if not await is_first(self._ephemeral, name, lifetime=_HOUR, now=now):
            return

        async def unit(tx: Tx) -> None:
            if outcome == "ok":
                await tx.run("UPDATE ww_clients SET last_used_at = :now WHERE id = :id", now=now, id=client_id)
            await audit.record(tx, "client_used", at=now, client=client, outcome=outcome, detail={"client": client_id})

        await self._database.transact(unit)


async def refuse_from_before(tx: Tx, now: int) -> None:
    """Refuse each assertion that could have been used until now."""
    await put_in(tx, RESTORED, str(now), until=now + assertion.LONGEST + 2 * assertion.AHEAD)


def not_accepted() -> Refused:
    """Make the one answer to every client that did not prove who it is."""
    return Refused("The client is unknown, or did not prove who it is.", code="invalid_client")
