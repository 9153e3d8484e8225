"""Asks for mails with links and codes. Whether anyone has the address is found out when the mail is sent.

So every address gets the same answer, after the same statements, and counts against the same limits. Asking for what
opens an account that is there counts for the network only: a stranger who asks must not keep the owner from a mail.
`posting` counts what is really sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from watchword.errors import Forbidden
from watchword.identity import identifiers
from watchword.identity.audit import Client
from watchword.identity.identifiers import Identifier
from watchword.identity.known_devices import LONGEST
from watchword.identity.one_time import CODE_SECONDS, Issued, OneTime
from watchword.identity.outbox import Outbox
from watchword.identity.takes import address_takes, takes_of
from watchword.identity.throttle import Throttle
from watchword.settings import Settings
from watchword.storage.database import Database, Tx

_TEMPLATES: Final = {
    "reset": "reset_password",
    "invite": "invitation",
    "verify": "confirm_address",
    "register": "confirm_registration",
    "change": "confirm_change",
    "login": "login_code",
}


COUNTED_WHEN_SENT: Final = ("reset", "login", "verify")
"""Purposes of mails for an account that is there. Their code works once the mail is sent, and not before."""


DEVICE: Final = "device"
"""In what is kept of a mail: the cookie of the browser that asked."""


class Asked(NamedTuple):
    """What the client that asked is given.

    :param handle: sent back with the code.
    :param expires_in: seconds that the code may be used.
    :param id: of the link and the code; not told.
    """

    handle: str
    expires_in: int
    id: str


class Asks:
    """Writes what is asked for into the outbox."""

    def __init__(
        self, database: Database, outbox: Outbox, one_time: OneTime, throttle: Throttle, settings: Settings
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._one_time = one_time
        self._throttle = throttle
        self._private = settings.private_email

    def require_mail(self) -> None:
        """Refuse what needs mail. Raises `Forbidden` (`mail_off`)."""
        if not self._outbox.enabled:
            raise Forbidden("This service sends no mail.", code="mail_off")

    def address(self, text: str) -> Identifier:
        """Read an address. One of a closed network may be stored from before. Raises `InvalidInput`."""
        return identifiers.email(text, private=True)

    def new_address(self, text: str) -> Identifier:
        """Read an address that an account is to have. Raises `InvalidInput`."""
        return identifiers.email(text, private=self._private)

    async def ask(
        self,
        purpose: str,
        address: Identifier,
        *,
        client: Client,
        user_id: str | None = None,
        device: str | None = None,
        detail: Mapping[str, str] | None = None,
    ) -> Asked:
        """Write a mail with a link and a code for an address.

        :param user_id: whose account it is about, where the caller has proved it.
        :param device: the device cookie, for a mail that is counted when it is sent.
        :param detail: what is done when it is used.
        :raises Forbidden: `mail_off`.
        :raises TooManyAttempts: the network has had its share, or the mailbox of `register` and `change`.
        """
        self.require_mail()
        if device is not None and len(device) <= LONGEST:
            detail = {**(detail or {}), DEVICE: device}
        if purpose in COUNTED_WHEN_SENT:
            await self.count_network(client)
        else:
            await self.count(address, client)

        async def unit(tx: Tx) -> Issued:
            return await self.write(tx, purpose, address, client=client, user_id=user_id, detail=detail)

        issued = await self._database.transact(unit)
        return Asked(issued.handle, CODE_SECONDS, issued.id)

    async def count(self, address: Identifier, client: Client) -> None:
        """Count a mail against the limits of its mailbox and of the client's network. Raises `TooManyAttempts`."""
        mailbox = identifiers.same_mailbox(address.key)
        await self._throttle.take(*takes_of("mail", client.address, mailbox), client=client)

    async def count_network(self, client: Client) -> None:
        """Count a mail against the limit of the client's network. Raises `TooManyAttempts`."""
        await self._throttle.take(*address_takes("mail_address", client.address), client=client)

    async def write(
        self,
        tx: Tx,
        purpose: str,
        address: Identifier,
        *,
        client: Client,
        user_id: str | None = None,
        detail: Mapping[str, str] | None = None,
    ) -> Issued:
        """Write the mail in the caller's unit, uncounted."""
        told = {"email": address.text, **(detail or {})}
        issued = await self._one_time.issue(tx, purpose, address.key, user_id=user_id, detail=told)
        await self._outbox.add(
            tx, _TEMPLATES[purpose], recipient=None, language=client.language, user_id=user_id, one_time=issued
        )
        return issued
