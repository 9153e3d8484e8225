"""The rules of passwords. No HTTP."""

from __future__ import annotations

from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.password_factor import PasswordFactor, change_password
from watchword.identity.sessions.holding import Holder


class Passwords:
    """Logging in with a password, and changing it."""

    def __init__(self, kernel: Kernel) -> None:
        self._login = kernel.login
        self._rights = kernel.rights
        self._users = kernel.users
        self._known_devices = kernel.known_devices
        self._factor = PasswordFactor(kernel.hasher, kernel.users)

    async def log_in(
        self,
        typed: str,
        password: str,
        *,
        client: Client,
        replacing: str | None,
        device: str | None = None,
        scope: str | None = None,
        resource: str | None = None,
    ) -> LoggedIn:
        """Log in by username or e-mail address.

        :param replacing: the browser's refresh cookie; its session ends.
        :param device: the browser's device cookie.
        :param scope: like `resource`, what the session is limited to.
        :raises Unauthenticated: `invalid_credentials`, the same for every cause.
        :raises Refused: `invalid_scope`, `invalid_target`.
        """
        asked = self._rights.asked(scope, resource)
        factor = self._factor.prove(password, client.address)
        return await self._login.attempt(
            typed, factor, client=client, client_id=FIRST_PARTY, replacing=replacing, device=device, asked=asked
        )

    def known_device(self, shown: str | None, logged_in: LoggedIn) -> str:
        """Return the device cookie after a log-in."""
        return self._known_devices.remember(shown, logged_in.user.id, logged_in.version)

    async def change(
        self, caller: Holder, *, current: str, new: str, client: Client, device: str | None = None
    ) -> LoggedIn:
        """Change the caller's password: all sessions end, and the caller gets a new one.

        Raises `Unauthenticated` (`invalid_credentials`), `InvalidInput`, `TooManyAttempts`, `Overloaded`.
        """
        factor = self._factor.prove(current, client.address)
        confirmed = await self._login.confirm(caller.sub, factor, client=client, device=device)
        password_hash = await self._users.hash_new_password(
            confirmed.user, new, field="new_password", address=client.address
        )
        return await change_password(
            self._login, self._users, caller, confirmed, password_hash, client=client, client_id=caller.client_id
        )
