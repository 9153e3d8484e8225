"""The rules of the caller's API keys. No HTTP."""

from __future__ import annotations

from watchword.identity.api_keys import KeyRecord, NewKey
from watchword.identity.audit import Client
from watchword.identity.kernel import Kernel
from watchword.tokens.claims import AccessClaims

DEFAULT_SECONDS = 90 * 86_400
DEFAULT_OVERLAP = 86_400


class OwnApiKeys:
    """The keys of the caller."""

    def __init__(self, kernel: Kernel) -> None:
        self._keys = kernel.api_keys
        self._rights = kernel.rights

    async def create(
        self,
        caller: AccessClaims,
        *,
        name: str,
        scope: str | None,
        resource: str | None,
        seconds: int | None,
        client: Client,
    ) -> tuple[KeyRecord, str]:
        """Make a key; return the key itself too, which is never shown again. Raises as `ApiKeys.create`.

        :param scope: None: all that the caller has now.
        :param resource: the only API that it is for; None: any.
        """
        asked = self._rights.asked(scope, resource)
        if scope == "":
            asked = asked._replace(scopes=frozenset())  # a key that shows who its owner is, and may do nothing else
        wanted = NewKey(name, asked, DEFAULT_SECONDS if seconds is None else seconds)
        return await self._keys.create(caller, wanted, client=client)

    async def rotate(
        self, caller: AccessClaims, key_id: str, *, overlap: int | None, client: Client
    ) -> tuple[KeyRecord, KeyRecord, str]:
        """Put a new key in the place of one; return both and the new key itself. Raises as `ApiKeys.rotate`."""
        seconds = DEFAULT_OVERLAP if overlap is None else overlap
        return await self._keys.rotate(caller, key_id, overlap=seconds, client=client)

    async def all(self, caller: AccessClaims) -> list[KeyRecord]:
        """Return the caller's keys."""
        return await self._keys.of(caller.sub)

    async def revoke(self, caller: AccessClaims, key_id: str, *, client: Client) -> None:
        """Revoke one of the caller's keys. Raises `NotFound`."""
        await self._keys.revoke(caller, key_id, client=client)

    def audience(self, key: KeyRecord) -> str | None:
        """Return what a client names as `resource` for this key; None for any, its id for an API that is no more."""
        api = None if key.api is None else self._rights.table.api(key.api)
        return key.api if api is None else api.audience
