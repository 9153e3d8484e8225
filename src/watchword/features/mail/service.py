"""The rules of e-mail addresses. No HTTP."""

from __future__ import annotations

from watchword.identity.asking import Asked
from watchword.identity.audit import Client
from watchword.identity.kernel import Kernel
from watchword.identity.one_time import UNDO
from watchword.identity.password_factor import PasswordFactor
from watchword.identity.redeeming import CONFIRMS
from watchword.identity.sessions.holding import Holder
from watchword.identity.showing import NOTHING, Brought, Press
from watchword.identity.takes import takes_of


class MailedAddresses:
    """Confirming and changing addresses."""

    def __init__(self, kernel: Kernel) -> None:
        self._asks = kernel.asks
        self._addresses = kernel.addresses
        self._login = kernel.login
        self._users = kernel.users
        self._throttle = kernel.throttle
        self._factor = PasswordFactor(kernel.hasher, kernel.users)

    async def ask_again(self, email: str, *, client: Client) -> Asked:
        """Send a link and a code to an address that is not confirmed; the same answer for every other.

        Raises `InvalidInput`, `Forbidden` (`mail_off`), `TooManyAttempts`.
        """
        return await self._asks.ask("verify", self._asks.address(email), client=client)

    async def confirm(
        self,
        *,
        token: str | None,
        handle: str | None,
        code: str | None,
        client: Client,
        brought: Brought = NOTHING,
    ) -> None:
        """Confirm an address.

        :param brought: what shows the account besides.
        :raises InvalidInput: nothing does; `password` is `required`.
        :raises Unauthenticated: the password is wrong.

        Raises `Refused` (`one_time_invalid`), `Conflict`, `Forbidden`, `TooManyAttempts`, `Overloaded`.
        """
        found = await self._addresses.found(CONFIRMS, token=token, handle=handle, code=code, client=client)
        await self._addresses.confirm(found, client=client, brought=brought)

    async def confirm_by_link(self, press: Press) -> None:
        """Confirm an address from the page behind the link."""
        await self.confirm(token=press.token, handle=None, code=None, client=press.client, brought=press.brought)

    async def ask_to_change(
        self, caller: Holder, email: str, *, password: str, client: Client, device: str | None = None
    ) -> Asked:
        """Send a link and a code to a new address, which becomes the account's when one of them is used.

        Whether another account has it is not told: then its owner gets another mail.

        :raises Unauthenticated: the password is wrong.
        :raises InvalidInput: the address cannot be one.
        :raises TooManyAttempts: of this account, this network or to this mailbox.
        """
        address = self._asks.new_address(email)
        self._asks.require_mail()
        factor = self._factor.prove(password, client.address)
        user = (await self._login.confirm(caller.sub, factor, client=client, device=device)).user
        await self._throttle.take(*takes_of("change", client.address, user.id), client=client, user=user.id)
        old_key = "" if user.email is None else self._asks.address(user.email).key
        return await self._asks.ask("change", address, client=client, user_id=user.id, detail={"old_key": old_key})

    async def undo(self, token: str, *, client: Client) -> None:
        """Take a change of address back. Raises `Refused` (`one_time_invalid`), `Conflict` (`email_taken`)."""
        await self._addresses.undo(await self._addresses.found((UNDO,), token=token, client=client), client=client)

    async def undo_by_link(self, press: Press) -> None:
        """Take a change back from the page behind the link."""
        await self.undo(press.token, client=press.client)
