"""The first administrator: a link that works once, for half an hour, and only while there is no administrator."""

from __future__ import annotations

from typing import Final

from watchword.errors import Conflict
from watchword.identity.administrators import ADMIN, any_there
from watchword.identity.audit import Client
from watchword.identity.kernel import Kernel
from watchword.identity.one_time import Issued
from watchword.identity.redeeming import worthless
from watchword.identity.user_row import User
from watchword.storage.database import Tx

PURPOSE: Final = "first_admin"

# It locks one row, so that of several links that are used at once the second finds the first one's administrator.
_ALONE = (
    "INSERT INTO ww_meta (name, value) VALUES ('first_admin', '')"
    " ON CONFLICT (name) DO UPDATE SET value = ww_meta.value RETURNING value"
)
_LAST = "SELECT value FROM ww_meta WHERE name = 'first_admin'"
_USED = "UPDATE ww_meta SET value = :used WHERE name = 'first_admin'"


class FirstAdministrator:
    """Makes the first administrator of a database."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def offer(self) -> str | None:
        """Return a new link's token; None where there is an administrator. The database keeps its hash only."""

        async def unit(tx: Tx) -> Issued | None:
            if await any_there(tx):
                return None
            last = await tx.one(_LAST)
            return await self._kernel.one_time.issue(
                tx, PURPOSE, "", detail={"after": "" if last is None else last["value"]}
            )

        issued = await self._kernel.database.transact(unit)
        derived = None if issued is None else await self._kernel.one_time.derive(issued.id, issued.seed)
        return None if derived is None else derived.token

    async def create(
        self, token: str, *, username: str | None, email: str | None, password: str, client: Client
    ) -> User:
        """Make the first administrator. However many try at once, one succeeds.

        :raises Refused: `one_time_invalid`.
        :raises Conflict: there is an administrator; otherwise raises as `Users.create`, and the link is not used up.
        """
        found = await self._kernel.one_time.find(token, (PURPOSE,))
        if found is None:
            raise worthless()

        async def alone(tx: Tx) -> None:
            last = await tx.one(_ALONE)
            if await any_there(tx):
                raise Conflict("There is an administrator already: ask them for the role.")
            # A link that was offered before another one was used is worth nothing, though that administrator be gone.
            if last is None or last["value"] != found.detail.get("after"):
                raise worthless()
            if not await self._kernel.one_time.use(tx, found):
                raise worthless()
            await tx.run(_USED, used=found.id)

        return await self._kernel.users.create(
            username=username, email=email, password=password, roles=(ADMIN,), client=client, check=alone
        )
