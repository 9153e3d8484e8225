"""The gate that every request of an administrator passes, after its token was accepted."""

from __future__ import annotations

from watchword.identity import administrators
from watchword.identity.administration import Administration
from watchword.identity.audit import Client
from watchword.identity.kernel import Kernel
from watchword.identity.takes import takes_of
from watchword.storage.database import Tx, Unit
from watchword.tokens.claims import AccessClaims


class Gate:
    """Lets administrators in, by what the database says now."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def admit(self, caller: AccessClaims, client: Client) -> None:
        """Check the caller and count the request.

        Raises `Unauthenticated`, `TokenError` (`role_missing`), `TooManyAttempts`.
        """
        await administrators.look_at(self._kernel.database, caller, self._kernel.clock.now())
        await self._kernel.throttle.take(*takes_of("admin", client.address, caller.sub), client=client, user=caller.sub)

    async def open(self, caller: AccessClaims, client: Client, *, target: str = "") -> Administration:
        """Admit the caller, and return what they may do. Each change checks them again, in its own unit.

        :param target: the user that a change is about.
        """
        await self.admit(caller, client)
        return Administration(self._kernel, client=client, actor=caller.sub, check=self.check(caller, target))

    def check(self, caller: AccessClaims, target: str = "") -> Unit[None]:
        """Return what a change awaits first: the caller may have lost the role meanwhile."""
        now = self._kernel.clock.now()

        async def check(tx: Tx) -> None:
            await administrators.require(tx, caller, target, now)

        return check
