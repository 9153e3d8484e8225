"""The rules of the caller's activity. No HTTP."""

from __future__ import annotations

from watchword.identity.kernel import Kernel
from watchword.identity.trail import reading
from watchword.identity.trail.reading import Deed
from watchword.tokens.claims import AccessClaims

PAGE = 50


class OwnActivity:
    """The audit records about the caller."""

    def __init__(self, kernel: Kernel) -> None:
        self._database = kernel.database

    async def page(self, caller: AccessClaims, *, before: str) -> tuple[list[Deed], str | None]:
        """Return a page of what the caller did and what was done to them, newest first, and the next page's cursor.

        A record has no detail here, and nothing of another user's device.
        """
        found = await reading.of_user(self._database, caller.sub, before=before, limit=PAGE + 1)
        page = found[:PAGE]
        return page, page[-1].id if len(found) > PAGE else None
