"""The rules of accounts. No HTTP."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from watchword.errors import FieldError, InvalidInput, Unauthenticated
from watchword.identity import administrators
from watchword.identity.asking import Asked
from watchword.identity.audit import Client
from watchword.identity.factors import Confirmed
from watchword.identity.granting import unchecked
from watchword.identity.kernel import Kernel
from watchword.identity.known_devices import REGISTERED
from watchword.identity.password_factor import PasswordFactor
from watchword.identity.redeeming import closed
from watchword.identity.results import counted
from watchword.identity.sessions.holding import Holder
from watchword.identity.sessions.sessions import require_live
from watchword.identity.takes import takes_of
from watchword.identity.user_data import UserData, checked_name
from watchword.identity.users import User
from watchword.meters import REGISTRATIONS
from watchword.storage.database import Tx


class Accounts:
    """The caller's account."""

    def __init__(self, kernel: Kernel) -> None:
        self._open = kernel.settings.registration == "open"
        self._verification = kernel.settings.email_verification
        self._sends_mail = kernel.settings.sends_mail
        self._asks = kernel.asks
        self._administered = kernel.settings.admin
        self._users = kernel.users
        self._login = kernel.login
        self._throttle = kernel.throttle
        self._clock = kernel.clock
        self._meters = kernel.meters
        self._known_devices = kernel.known_devices
        self._factor = PasswordFactor(kernel.hasher, kernel.users)

    async def register(
        self, *, username: str | None, email: str | None, password: str, name: str | None = None, client: Client
    ) -> User | Asked:
        """Make an account, or, where addresses have to be confirmed first, send a link that makes it.

        Then the answer is the same whether or not the address has an account. Each counts against the network's limit;
        "taken" has its own limit.
        Raises `Forbidden` (`registration_closed`), `TooManyAttempts`, `InvalidInput`, `Conflict`, `Overloaded`.
        """
        with counted(self._meters, REGISTRATIONS):
            if not self._open:
                raise closed()
            async with self._throttle.attempt(*takes_of("register", client.address, None), client=client) as attempt:
                data = UserData(None if name is None else checked_name(name))
                made = await self._make(username, email, password, data, client)
                attempt.counts = True
        return made

    def known_device(self, shown: str | None, made: User | Asked) -> str:
        """Return the device cookie of a browser in which someone has registered.

        It shows the account when the address is confirmed in the same browser, and makes no known device of it.
        """
        return self._known_devices.remember(shown, made.id, REGISTERED)

    async def _make(
        self, username: str | None, email: str | None, password: str, data: UserData, client: Client
    ) -> User | Asked:
        if self._verification == "required":
            return await self._make_later(username, email, password, data, client)
        if self._verification == "off" or email is None:
            return await self._users.create(
                username=username, email=email, password=password, data=data, client=client, check=unchecked
            )
        address = self._asks.new_address(email)
        await self._asks.count(address, client)

        async def also(tx: Tx, user: User) -> None:
            await self._asks.write(tx, "verify", address, client=client, user_id=user.id)

        return await self._users.create(
            username=username, email=email, password=password, data=data, client=client, check=unchecked, also=also
        )

    async def _make_later(
        self, username: str | None, email: str | None, password: str, data: UserData, client: Client
    ) -> Asked:
        """Keep what was asked for with the link. A taken username is told; a taken address only to its owner."""
        if email is None:
            raise InvalidInput(FieldError("email", "required", "An e-mail address is needed."))
        named, password_hash = await self._users.prepare(
            username=username, email=email, password=password, client=client
        )
        detail = {"password_hash": password_hash}
        if "username" in named:
            detail |= {"username": named["username"].text, "username_key": named["username"].key}
        if data.name is not None:
            detail["name"] = data.name
        return await self._asks.ask("register", named["email"], client=client, detail=detail)

    async def profile(self, caller: Holder) -> User:
        """Return the caller. Raises `Unauthenticated` when the account is closed or disabled."""
        user = await self._users.find(caller.sub)
        if user is None or user.disabled_at is not None:
            raise Unauthenticated("This account was closed or disabled.", code="token_revoked")
        return user

    async def change(
        self,
        caller: Holder,
        *,
        username: str | None,
        email: str | None,
        password: str | None,
        name: str | UnsetType | None = UNSET,
        client: Client,
        device: str | None = None,
    ) -> User:
        """Change the username, the name or the e-mail address, which can recover the account and needs the password.

        An address is changed here only where `changes_at_once` says so.
        Raises `Unauthenticated`, `InvalidInput`, `Conflict`, `TooManyAttempts`, `Overloaded`.
        """
        user = await self.profile(caller)
        if email is None and username in (None, user.username) and name in (UNSET, user.name):
            return user  # no write, because no limit bounds these requests
        if email not in (None, user.email) and not self.changes_at_once(user):
            message = "POST /profile/email changes the address, once the new one is confirmed."
            raise InvalidInput(FieldError("email", "needs_confirmation", message))
        if email is not None:
            user = (await self._confirm(caller, password or "", client, device)).user
        now = self._clock.now()

        async def check(tx: Tx) -> None:
            await require_live(tx, caller, now)

        return await self._users.change_identifiers(
            user, username=username, email=email, name=name, client=client, check=check
        )

    def changes_at_once(self, user: User) -> bool:
        """Tell whether a new address is the account's before it is confirmed.

        Not in place of a confirmed one: that one can take the account back, also from the owner of the new address, who
        has set a password by mail.
        """
        return self._verification == "off" and not (self._sends_mail and user.email_verified_at is not None)

    async def close(self, caller: Holder, *, password: str, client: Client, device: str | None = None) -> None:
        """Delete the account and all its data.

        Raises `Unauthenticated`, `TooManyAttempts`, `Overloaded`; `Conflict` (`own_account`) for an administrator;
        `TooEarly` (`closing_too_early`) while the address before can take the account back.
        """
        confirmed = await self._confirm(caller, password, client, device)
        now = self._clock.now()

        async def check(tx: Tx) -> None:
            await require_live(tx, caller, now)
            if self._administered:
                await administrators.refuse_to_close(tx, caller.sub)

        await self._users.delete(confirmed.user, client=client, check=check)

    async def _confirm(self, caller: Holder, password: str, client: Client, device: str | None) -> Confirmed:
        factor = self._factor.prove(password, client.address)
        return await self._login.confirm(caller.sub, factor, client=client, device=device)
