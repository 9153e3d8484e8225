"""The rules of the caller's own sessions. No HTTP."""

from __future__ import annotations

from watchword.errors import TokenError, Unauthenticated
from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.sessions.sessions import SessionView, Tokens
from watchword.tokens.claims import AccessClaims

PAGE = 100


class OwnSessions:
    """The sessions of the caller."""

    def __init__(self, kernel: Kernel) -> None:
        self._sessions = kernel.sessions
        self._verifier = kernel.verifier

    async def refresh(self, presented: str | None, *, client: Client) -> Tokens:
        """Exchange the refresh cookie's token. Raises `Unauthenticated`."""
        if presented is None:
            raise Unauthenticated("There is no refresh cookie. Log in.", code="refresh_token_missing")
        return await self._sessions.refresh(presented, client_id=FIRST_PARTY, client=client)

    async def log_out(self, *, bearer: str | None, presented: str | None, client: Client) -> None:
        """End the session of the access token (even if expired), of the cookie, or both.

        Raises `TokenError` for an access token that is not genuine, unless there is a cookie.
        """
        claims = self._genuine(bearer, needed=presented is None)
        await self._sessions.log_out(claims=claims, presented=presented, client=client)

    def _genuine(self, bearer: str | None, *, needed: bool) -> AccessClaims | None:
        if bearer is None:
            return None
        try:
            return self._verifier.verify_expired(bearer)
        except TokenError:
            if needed:
                raise
            return None

    async def page(self, caller: AccessClaims, *, after: str) -> list[SessionView]:
        """Return a page of the caller's live sessions."""
        return await self._sessions.page(caller.sub, after=after, limit=PAGE)

    async def end(self, caller: AccessClaims, session_id: str, *, client: Client) -> None:
        """End one of the caller's sessions. Raises `NotFound`."""
        await self._sessions.end(caller, session_id, client=client)

    async def end_others(self, caller: AccessClaims, *, client: Client) -> None:
        """End the caller's other sessions."""
        await self._sessions.end_others(caller, client=client)
