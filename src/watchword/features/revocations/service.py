"""Who may follow the feed. No HTTP."""

from __future__ import annotations

from watchword.errors import Unauthenticated
from watchword.hosts import is_loopback
from watchword.identity.audit import Client
from watchword.identity.feed import FeedPage, read_cursor
from watchword.identity.kernel import Kernel


class Revocations:
    """The feed, for permitted readers."""

    def __init__(self, kernel: Kernel) -> None:
        self._feed = kernel.feed
        self._guard_keys = kernel.guard_keys
        self._on_loopback = kernel.settings.is_on_loopback

    async def page(
        self, *, after: str | None, known_keys: str | None, wait: bool, secret: str | None, client: Client
    ) -> FeedPage:
        """Return what came after a cursor.

        :param secret: the guard key, not needed when both the public URL and the client are loopback's.
        :raises Unauthenticated: `guard_key_needed`, `guard_key_invalid`.
        :raises InvalidInput: a cursor that no answer gave.
        """
        await self._admit(secret, client)
        return await self._feed.page(read_cursor(after), known_keys=known_keys, wait=wait)

    async def _admit(self, secret: str | None, client: Client) -> None:
        if secret is not None:
            if await self._guard_keys.find(secret) is None:
                raise Unauthenticated("This guard key is not in use.", code="guard_key_invalid")
        elif not (self._on_loopback and is_loopback(client.address)):
            raise Unauthenticated(
                "The feed needs a guard key: make one with `watchword guards create NAME`.", code="guard_key_needed"
            )
