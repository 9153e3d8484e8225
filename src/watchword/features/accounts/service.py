"""The rules of accounts. No HTTP."""

from __future__ import annotations

from watchword.errors import Forbidden, Unauthenticated
from watchword.identity.audit import Client
from watchword.identity.kernel import Kernel
from watchword.identity.login import Confirmed
from watchword.identity.password_factor import PasswordFactor
from watchword.identity.sessions.sessions import require_live
from watchword.identity.throttle import takes_of
from watchword.identity.users import User
from watchword.storage.database import Tx
from watchword.tokens.claims import AccessClaims


class Accounts:
    """The caller's account."""

    def __init__(self, kernel: Kernel) -> None:
        self._open = kernel.settings.registration == "open"
        self._users = kernel.users
        self._login = kernel.login
        self._throttle = kernel.throttle
        self._clock = kernel.clock
        self._factor = PasswordFactor(kernel.hasher, kernel.users)

    async def register(self, *, username: str | None, email: str | None, password: str, client: Client) -> User:
        """Make an account. Each counts against the address's limit; "taken" has its own limit.

        Raises `Forbidden` (`registration_closed`), `TooManyAttempts`, `InvalidInput`, `Conflict`, `Overloaded`.
        """
        if not self._open:
            raise Forbidden("This service does not let people register themselves.", code="registration_closed")
        async with self._throttle.attempt(*takes_of("register", client.address, None), client=client) as attempt:
            user = await self._users.create(username=username, email=email, password=password, client=client)
            attempt.counts = True
        return user

    async def profile(self, caller: AccessClaims) -> User:
        """Return the caller. Raises `Unauthenticated` when the account is closed or disabled."""
        user = await self._users.find(caller.sub)
        if user is None or user.disabled_at is not None:
            raise Unauthenticated("This account was closed or disabled.", code="token_revoked")
        return user

    async def change(
        self, caller: AccessClaims, *, username: str | None, email: str | None, password: str | None, client: Client
    ) -> User:
        """Change the username or the e-mail address. The latter can recover the account and needs the password.

        Raises `Unauthenticated`, `InvalidInput`, `Conflict`, `TooManyAttempts`, `Overloaded`.
        """
        user = await self.profile(caller)
        if email is None and username in (None, user.username):
            return user  # no write, because no limit bounds these requests
        if email is not None:
            user = (await self._confirm(caller, password or "", client)).user
        now = self._clock.now()

        async def check(tx: Tx) -> None:
            await require_live(tx, caller, now)

        return await self._users.change_identifiers(user, username=username, email=email, client=client, check=check)

    async def close(self, caller: AccessClaims, *, password: str, client: Client) -> None:
        """Delete the account and all its data.

        Raises `Unauthenticated`, `TooManyAttempts`, `Overloaded`.
        """
        confirmed = await self._confirm(caller, password, client)
        now = self._clock.now()

        async def check(tx: Tx) -> None:
            await require_live(tx, caller, now)

        await self._users.delete(confirmed.user, client=client, check=check)

    async def _confirm(self, caller: AccessClaims, password: str, client: Client) -> Confirmed:
        return await self._login.confirm(caller.sub, self._factor.prove(password, client.address), client=client)
