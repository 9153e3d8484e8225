"""The rules of log-in by a code. No HTTP."""

from __future__ import annotations

from watchword.errors import Forbidden
from watchword.identity.asking import Asked
from watchword.identity.audit import Client
from watchword.identity.email_code_factor import EmailCodeFactor
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.showing import Brought


class Codes:
    """Logging in by a code."""

    def __init__(self, kernel: Kernel) -> None:
        self._on = kernel.settings.email_login
        self._asks = kernel.asks
        self._one_time = kernel.one_time
        self._login = kernel.login
        self._rights = kernel.rights
        self._known_devices = kernel.known_devices
        self._factor = EmailCodeFactor(kernel.one_time, kernel.showing, kernel.clock)

    async def ask(self, email: str, *, client: Client, device: str | None = None) -> Asked:
        """Send a code to the owner of an address; the same answer where there is none.

        :param device: the device cookie: what strangers ask for does not keep the owner from a code where it is known.


        Raises `InvalidInput`, `Forbidden` (`email_login_off`, `mail_off`), `TooManyAttempts`.
        """
        self.require_on()
        return await self._asks.ask("login", self._asks.address(email), client=client, device=device)

    async def log_in(
        self,
        handle: str,
        code: str,
        *,
        client: Client,
        replacing: str | None,
        device: str | None = None,
        scope: str | None = None,
        resource: str | None = None,
    ) -> LoggedIn:
        """Log in, under the limits of every log-in.

        :param replacing: the browser's refresh cookie; its session ends.
        :param device: the device cookie.
        :param scope: like `resource`, what the session is limited to.
        :raises Unauthenticated: `invalid_credentials`, the same for every cause.
        :raises Forbidden: `email_unverified`: the code was right, and someone else may be in the account.
        :raises Refused: `invalid_scope`, `invalid_target`.
        """
        self.require_on()
        asked = self._rights.asked(scope, resource)
        address = await self._one_time.address_of(handle)
        return await self._login.attempt(
            address or "",
            self._factor.prove(handle, code, client=client, brought=Brought(device=device, session=replacing)),
            client=client,
            client_id=FIRST_PARTY,
            replacing=replacing,
            asked=asked,
        )

    def known_device(self, shown: str | None, logged_in: LoggedIn) -> str:
        """Return the device cookie after a log-in."""
        return self._known_devices.remember(shown, logged_in.user.id, logged_in.version)

    def require_on(self) -> None:
        """Raise `Forbidden` (`email_login_off`) unless an operator has switched it on."""
        if not self._on:
            raise Forbidden("This service sends no codes to log in.", code="email_login_off")
