"""Sends what is in the outbox. It finds out here, and not while a client waits, whose an address is.

So the answer to a request for a mail takes the same time and has the same bytes whether or not there is an account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from watchword.clock import Clock, minute
from watchword.identity.asking import COUNTED_WHEN_SENT, DEVICE
from watchword.identity.identifiers import mailbox, masked
from watchword.identity.known_devices import KnownDevices
from watchword.identity.one_time import OneTime, open_undo
from watchword.identity.outbox import Claimed, Outbox
from watchword.identity.queue import AT_ONCE
from watchword.identity.takes import Take
from watchword.identity.throttle import Throttle
from watchword.settings import Settings
from watchword.storage.database import Database, Row
from watchword.tally import Log

if TYPE_CHECKING:
    from watchword.mail.message import Mail
    from watchword.mail.sending import Outcome, Sender
    from watchword.mail.templates import Templates

_log = Log("watchword.mail")

STILL_USEFUL = 600
"""Seconds that an earlier link must still work, or another mail is sent beyond the limit."""


class _Addressed(NamedTuple):
    """Who a mail goes to, and what it then is.

    :param user_id: whose it is; a link is theirs from now on.
    :param before: the account's former address, masked, which can take it back; "" if none can.
    :param until: when that ends.
    """

    recipient: str
    template: str
    user_id: str | None = None
    before: str = ""
    until: str = ""


class Post:
    """Sends the outbox of one database.

    :param templates: called by `load`, or for the first mail: starting need not wait for them.
    :param sender: what takes the mails.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        one_time: OneTime,
        throttle: Throttle,
        known_devices: KnownDevices,
        templates: Callable[[], Templates],
        sender: Sender,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._one_time = one_time
        self._throttle = throttle
        self._known_devices = known_devices
        self._templates = templates
        self._sender = sender
        self._clock = clock
        self._root = settings.public_url.rstrip("/")
        self._service = settings.pages_name or "Watchword"

    async def load(self) -> None:
        """Read and translate the templates, which takes a tenth of a second: in a thread, so that requests go on.

        Raises `SettingsError` for one of the operator's that fails.
        """
        await asyncio.to_thread(lambda: self._templates().check())

    async def turn(self) -> int:
        """Send what is due; return how many rows there were. Raises `StorageUnavailable`."""
        handled = batch = len(await self._batch())
        while batch == AT_ONCE:
            batch = len(await self._batch())
            handled += batch
        return handled

    async def _batch(self) -> list[Claimed]:
        claimed = await self._outbox.claim()
        ready: list[tuple[Claimed, Mail]] = []
        for row in claimed:
            prepared = await self._prepared(row)
            if prepared is not None:
                ready.append(prepared)
        if ready:
            await self._settle(ready, await self._sender.send([mail for _, mail in ready]))
        return claimed

    async def _settle(self, ready: Sequence[tuple[Claimed, Mail]], outcomes: Sequence[Outcome]) -> None:
        for (row, _), outcome in zip(ready, outcomes, strict=True):
            if outcome is None:
                await self._outbox.sent(row)
            else:
                await self._not_sent(row, outcome.message, final=outcome.final)

    async def _not_sent(self, row: Claimed, fault: str, *, final: bool) -> None:
        given_up = await self._outbox.not_sent(row, fault, final=final)
        tell = _log.error if given_up else _log.warning
        tell("mail_given_up" if given_up else "mail_not_sent", mail=row.id, template=row.template, fault=fault)

    async def _prepared(self, row: Claimed) -> tuple[Claimed, Mail] | None:
        """Return the mail beside its row; None when there is no one to send it to, or it cannot be sent."""
        from watchword.mail.message import Mail

        if row.expires_at <= self._clock.now():
            await self._not_sent(row, "it would come too late", final=True)
            return None
        addressed = await self._addressed(row)
        if addressed is None:
            await self._outbox.sent(row)
            return None
        row = row._replace(user_id=row.user_id or addressed.user_id)
        values = {**row.content, "service": self._service, "at": minute(row.created_at)}
        values |= {"before": addressed.before, "until": addressed.until}
        if addressed.template == row.template and row.one_time_id is not None and row.seed is not None:
            derived = await self._one_time.derive(row.one_time_id, row.seed)
            if derived is None:  # a credential changed meanwhile, which refuses the link: it is of no use any more
                await self._outbox.sent(row)
                return None
            if addressed.user_id is not None:
                await self._one_time.bind(row.one_time_id, addressed.user_id)
            values |= {"link": f"{self._root}/links/{derived.token}", "code": derived.code}
        try:
            said = self._templates().render(addressed.template, row.language, values)
        except Exception as error:  # noqa: BLE001 - a template of the operator's may do anything, and the others go on
            await self._not_sent(row, f"the template failed: {type(error).__name__}", final=False)
            return None
        return row, Mail(row.id, addressed.recipient, *said, at=row.created_at)

    async def _addressed(self, row: Claimed) -> _Addressed | None:
        if row.recipient is not None:
            return _Addressed(row.recipient, row.template)
        waiting = await self._database.one(
            "SELECT purpose, address_key, user_id, detail FROM ww_one_time WHERE id = :id", id=row.one_time_id
        )
        if waiting is None:
            return None
        key = waiting["address_key"]
        owner = await self._database.one(
            "SELECT id, email, email_verified_at, disabled_at, token_version FROM ww_users WHERE email_key = :key",
            key=key,
        )
        if waiting["purpose"] in ("register", "change"):
            # The address is to become someone's. Its owner is told where it belongs to an account already.
            if owner is not None:
                return _Addressed(mailbox(owner["email"]), "already_registered", owner["id"])
            wished = msgspec.json.decode(waiting["detail"], type=dict[str, str])["email"]
            before = await self._address_now(waiting["user_id"]) if waiting["purpose"] == "change" else ""
            return _Addressed(mailbox(wished), row.template, before=before)
        if owner is None or owner["disabled_at"] is not None:
            return None
        if waiting["purpose"] == "verify" and owner["email_verified_at"] is not None:
            return None
        asked_by_anyone = waiting["user_id"] is None
        if asked_by_anyone and row.tries == 1 and not await self._may_send(waiting, owner):
            return None
        undo = await open_undo(self._database, owner["id"], now=self._clock.now(), but=key)
        before, until = ("", "") if undo is None else (masked(undo.email), minute(undo.expires_at))
        return _Addressed(mailbox(owner["email"]), row.template, owner["id"], before, until)

    async def _address_now(self, user_id: str) -> str:
        """Return the confirmed address that an account has before a change, masked; "" without one."""
        row = await self._database.one(
            "SELECT email FROM ww_users WHERE id = :id AND email_verified_at IS NOT NULL", id=user_id
        )
        return "" if row is None else masked(row["email"])

    async def _may_send(self, waiting: Row, owner: Row) -> bool:
        """Tell whether the mailbox may get one more of this kind; each kind and each exact address has its own limit.

        What is asked for in a browser in which the owner has logged in is counted apart: strangers do not use that up.
        Beyond it a link to set a password is sent still, unless an earlier one works long enough: no stranger who asks
        closes the owner's way back.
        """
        purpose = waiting["purpose"]
        if purpose not in COUNTED_WHEN_SENT:
            return True
        shown = msgspec.json.decode(waiting["detail"], type=dict[str, str]).get(DEVICE)
        known = self._known_devices.recognise(shown, owner["id"], owner["token_version"]) is not None
        subject = f"{purpose} {waiting['address_key']}"
        if await self._throttle.grants(Take("mail", f"known {subject}" if known else subject)):
            return True
        if purpose != "reset":
            return False
        earlier = await self._database.one(
            "SELECT id FROM ww_one_time WHERE user_id = :user AND purpose = 'reset' AND used_at IS NULL"
            " AND expires_at > :until LIMIT 1",
            user=owner["id"],
            until=self._clock.now() + STILL_USEFUL,
        )
        return earlier is None
