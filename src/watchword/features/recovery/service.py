"""The rules of forgotten passwords. No HTTP."""

from __future__ import annotations

from watchword.identity.asking import Asked
from watchword.identity.audit import Client
from watchword.identity.kernel import Kernel
from watchword.identity.known_devices import Shown
from watchword.identity.showing import Press

RESETS = ("reset", "invite")
"""What sets a password: a link for someone who forgot theirs, and an invitation."""


class Recovery:
    """Setting a password without the old one."""

    def __init__(self, kernel: Kernel) -> None:
        self._asks = kernel.asks
        self._addresses = kernel.addresses
        self._users = kernel.users
        self._known_devices = kernel.known_devices

    async def forgot(self, email: str, *, client: Client) -> Asked:
        """Send a link and a code to the owner of an address; the same answer where there is none.

        Raises `InvalidInput`, `Forbidden` (`mail_off`), `TooManyAttempts`.
        """
        return await self._asks.ask("reset", self._asks.address(email), client=client)

    async def reset(
        self,
        *,
        token: str | None,
        handle: str | None,
        code: str | None,
        new_password: str,
        client: Client,
    ) -> Shown:
        """Set a new password. It ends every session and logs no one in; a second factor stays as it is.

        :raises Refused: `one_time_invalid`.
        :raises TooManyAttempts: wrong codes of this network.
        :raises InvalidInput: the password is not acceptable; neither link nor code is used up.
        :raises Overloaded: no place to hash.
        :raises TooManyAttempts: too many wrong codes from this network.
        """
        self._users.require_fit(new_password, field="new_password")  # before a try of the code is taken
        found = await self._addresses.found(RESETS, token=token, handle=handle, code=code, client=client)
        return await self._addresses.reset_password(found, new_password, client=client, field="new_password")

    def known_device(self, shown: str | None, who: Shown) -> str:
        """Return the device cookie of a browser in which someone has set a password by mail.

        Otherwise a stranger who guesses would keep the owner from logging in with it.
        """
        return self._known_devices.remember(shown, who.user_id, who.version)

    async def reset_by_link(self, press: Press) -> Shown:
        """Set a new password from the page behind the link."""
        return await self.reset(
            token=press.token, handle=None, code=None, new_password=press.new_password, client=press.client
        )
