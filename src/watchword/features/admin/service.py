"""What administrators do to accounts. No HTTP."""

from __future__ import annotations

from typing import Final

from msgspec import UnsetType

from watchword.errors import NotFound
from watchword.features.admin.gate import Gate
from watchword.identity.administration import Metadata
from watchword.identity.administrators import ADMIN, own_account
from watchword.identity.audit import Client
from watchword.identity.kernel import Kernel
from watchword.identity.user_data import UserData
from watchword.identity.user_list import Wanted, page
from watchword.identity.users import User
from watchword.tokens.claims import AccessClaims

_LONGEST_ID: Final = 255


class UserAdministration:
    """Accounts, by someone else.

    No administrator takes away their own rights: each change leaves the one who made it, so there always is one,
    whatever runs at the same time. Every method raises as `Gate.admit`.
    """

    def __init__(self, kernel: Kernel, gate: Gate) -> None:
        self._kernel = kernel
        self._gate = gate

    async def page(self, caller: AccessClaims, wanted: Wanted, *, after: str, limit: int, client: Client) -> list[User]:
        """Return up to `limit` users, oldest first."""
        await self._gate.admit(caller, client)
        return await page(self._kernel.database, wanted, after=after, limit=limit)

    async def show(self, caller: AccessClaims, user_id: str, *, client: Client) -> User:
        """Return one user. Raises `NotFound`."""
        await self._gate.admit(caller, client)
        return await self.find(user_id)

    async def find(self, user_id: str) -> User:
        """Return the user with that id, which another system may have given. Raises `NotFound`."""
        user = await self._kernel.users.find(user_id) if len(user_id) <= _LONGEST_ID and user_id.isprintable() else None
        if user is None:
            raise NotFound("There is no such user.")
        return user

    async def create(
        self,
        caller: AccessClaims,
        *,
        username: str | None,
        email: str | None,
        password: str | None,
        roles: tuple[str, ...],
        data: UserData,
        client: Client,
    ) -> User:
        """Make a user; without a password one who is invited. Raises as `Administration.create`."""
        may = await self._gate.open(caller, client)
        return await may.create(username=username, email=email, password=password, roles=roles, data=data)

    async def rename(
        self,
        caller: AccessClaims,
        user_id: str,
        *,
        username: str | None,
        email: str | None,
        name: str | UnsetType | None,
        client: Client,
    ) -> User:
        """Change names. A new address is not confirmed, and no administrator gives themselves one here.

        Raises `NotFound`, `InvalidInput`, `Conflict` (also `own_account`).
        """
        may = await self._gate.open(caller, client, target=user_id)
        if email is not None:
            _refuse_own(caller, user_id)  # without the password a stolen token would change where a reset goes
        return await may.rename(await self.find(user_id), username=username, email=email, name=name)

    async def metadata(self, caller: AccessClaims, user_id: str, *, client: Client) -> Metadata:
        """Return what is kept with a user. Raises `NotFound`."""
        may = await self._gate.open(caller, client)
        return await may.metadata((await self.find(user_id)).id)

    async def set_metadata(
        self, caller: AccessClaims, user_id: str, *, public: str | None, private: str | None, client: Client
    ) -> Metadata:
        """Replace what is kept with a user; None keeps it. Raises `NotFound`, `InvalidInput`."""
        may = await self._gate.open(caller, client, target=user_id)
        return await may.set_metadata(await self.find(user_id), public=public, private=private)

    async def set_disabled(self, caller: AccessClaims, user_id: str, *, disabled: bool, client: Client) -> User:
        """Disable a user, which ends every session, or enable one. Raises `NotFound`, `Conflict` (`own_account`)."""
        may = await self._gate.open(caller, client, target=user_id)
        if disabled:
            _refuse_own(caller, user_id)
        user = await self.find(user_id)
        return await (may.disable(user.id) if disabled else may.enable(user.id))

    async def delete(self, caller: AccessClaims, user_id: str, *, client: Client) -> None:
        """Delete a user. Raises `NotFound`, `Conflict` (`own_account`)."""
        may = await self._gate.open(caller, client, target=user_id)
        _refuse_own(caller, user_id)
        await may.delete(await self.find(user_id))

    async def set_roles(self, caller: AccessClaims, user_id: str, roles: tuple[str, ...], *, client: Client) -> User:
        """Give a user exactly these roles. Raises `NotFound`, `InvalidInput`, `Conflict` (`own_account`)."""
        may = await self._gate.open(caller, client, target=user_id)
        if ADMIN not in roles:
            _refuse_own(caller, user_id)
        user = await self.find(user_id)
        return await may.change_roles(user.id, lambda _: frozenset(roles))

    async def invite(self, caller: AccessClaims, user_id: str, *, client: Client) -> None:
        """Send a user a link to set a password. Raises as `Administration.invite`."""
        may = await self._gate.open(caller, client, target=user_id)
        await may.invite(await self.find(user_id))


def _refuse_own(caller: AccessClaims, user_id: str) -> None:
    if user_id == caller.sub:
        raise own_account()
