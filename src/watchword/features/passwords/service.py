"""The rules of passwords. No HTTP."""

from __future__ import annotations

from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.password_factor import PasswordFactor, change_password
from watchword.tokens.claims import AccessClaims


class Passwords:
    """Logging in with a password, and changing it."""

    def __init__(self, kernel: Kernel) -> None:
        self._login = kernel.login
        self._users = kernel.users
        self._factor = PasswordFactor(kernel.hasher, kernel.users)

    async def log_in(self, typed: str, password: str, *, client: Client, replacing: str | None) -> LoggedIn:
        """Log in by username or e-mail address.

        :param replacing: the browser's refresh cookie; its session ends.
        :raises Unauthenticated: `invalid_credentials`, the same for every cause.
        """
        factor = self._factor.prove(password, client.address)
        return await self._login.attempt(typed, factor, client=client, client_id=FIRST_PARTY, replacing=replacing)

    async def change(self, caller: AccessClaims, *, current: str, new: str, client: Client) -> LoggedIn:
        """Change the caller's password: all sessions end, and the caller gets a new one.

        Raises `Unauthenticated` (`invalid_credentials`), `InvalidInput`, `TooManyAttempts`, `Overloaded`.
        """
        confirmed = await self._login.confirm(caller.sub, self._factor.prove(current, client.address), client=client)
        password_hash = await self._users.hash_new_password(
            confirmed.user, new, field="new_password", address=client.address
        )
        return await change_password(
            self._login, self._users, caller, confirmed, password_hash, client=client, client_id=caller.client_id
        )
