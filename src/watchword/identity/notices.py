"""Notices: mails that tell a user what happened to the account, in the unit in which it happened.

They go to confirmed addresses only. Otherwise anyone could register with a stranger's address, and flood it with the
mails of that account.
"""

from __future__ import annotations

from watchword.errors import InvalidInput
from watchword.identity import devices, identifiers
from watchword.identity.audit import Client
from watchword.identity.one_time import UNDO, OneTime
from watchword.identity.outbox import Outbox
from watchword.identity.user_row import User
from watchword.storage.database import Tx


class Notices:
    """What is told of on its own account."""

    def __init__(self, outbox: Outbox, one_time: OneTime) -> None:
        self._outbox = outbox
        self._one_time = one_time

    async def tell(
        self, tx: Tx, template: str, user_id: str, stored: str | None, language: str, **content: str
    ) -> None:
        """Write a notice to a user; to no one without a confirmed address.

        :param stored: the address as it is stored; None where it is not confirmed.
        """
        if stored is not None:
            recipient = identifiers.mailbox(stored)
            await self._outbox.add(
                tx, template, recipient=recipient, language=language, user_id=user_id, content=content
            )

    async def device(self, tx: Tx, user: User, client: Client, *, now: int) -> None:
        """Tell of a log-in from a device that is new, in the log-in's unit."""
        if user.email is None or not self._outbox.enabled:
            return
        # Remembered before the address is confirmed too: the first device would be news afterwards.
        new = await devices.is_new(tx, user.id, client, now=now, seen_before=user.last_login_at is not None)
        if new and user.email_verified_at is not None:
            await self.tell(tx, "new_device", user.id, user.email, client.language, **_from(client))

    async def stopped(self, tx: Tx, user_id: str, client: Client) -> None:
        """Tell that a session was ended because its refresh token was used twice."""
        await self._tell_of(tx, "session_stopped", user_id, client)

    async def key_made(self, tx: Tx, user_id: str, client: Client) -> None:
        """Tell of a new API key, which outlives the session that made it. Its name is the maker's: it is left out."""
        await self._tell_of(tx, "api_key_made", user_id, client)

    async def _tell_of(self, tx: Tx, template: str, user_id: str, client: Client) -> None:
        row = await tx.one("SELECT email FROM ww_users WHERE id = :id AND email_verified_at IS NOT NULL", id=user_id)
        if row is not None:
            await self.tell(tx, template, user_id, row["email"], client.language, **_from(client))

    async def address_changed(self, tx: Tx, before: User, language: str) -> None:
        """Tell the former address, with a link that takes the change back."""
        if before.email is None or before.email_verified_at is None or not self._outbox.enabled:
            return
        try:
            key = identifiers.email(before.email, private=True).key
        except InvalidInput:
            return  # one of an older system, to which no mail can be sent
        undo = await self._one_time.issue(tx, UNDO, key, user_id=before.id, detail={"email": before.email})
        recipient = identifiers.mailbox(before.email)
        await self._outbox.add(
            tx, "address_changed", recipient=recipient, language=language, user_id=before.id, one_time=undo
        )


def _from(client: Client) -> dict[str, str]:
    return {"device": devices.kind_of(client.agent), "address": client.address}
