"""The rules of the caller's own sessions. No HTTP."""

from __future__ import annotations

from watchword.errors import TokenError, Unauthenticated
from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.sessions.holding import Holder
from watchword.identity.sessions.retrying import read_retry_key
from watchword.identity.sessions.sessions import SessionView, Tokens
from watchword.tokens.claims import AccessClaims
from watchword.tokens.needs import has_session

PAGE = 100


class OwnSessions:
    """The sessions of the caller."""

    def __init__(self, kernel: Kernel) -> None:
        self._sessions = kernel.sessions
        self._verifier = kernel.verifier

    async def refresh(
        self,
        presented: str | None,
        *,
        client: Client,
        scope: str | None = None,
        resource: str | None = None,
        retry_key: str | None = None,
    ) -> Tokens:
        """Exchange the refresh cookie's token.

        Raises `Unauthenticated`, `Refused` (`invalid_scope`, `invalid_target`), `InvalidInput` for a wrong retry key.

        :param scope: like `resource`, what the access token is narrowed to.
        """
        if presented is None:
            raise Unauthenticated("There is no refresh cookie. Log in.", code="refresh_token_missing")
        key = read_retry_key(retry_key, shared=True)
        asked = self._sessions.rights.asked(scope, resource)
        return await self._sessions.refresh(presented, client_id=FIRST_PARTY, client=client, asked=asked, retry_key=key)

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
            return self._of_its_user(self._verifier.verify_expired(bearer))
        except TokenError:
            if needed:
                raise
            return None

    def _of_its_user(self, claims: AccessClaims) -> AccessClaims:
        if not has_session(claims):
            raise TokenError("This token has no session that it could end.")
        return claims

    async def page(self, caller: Holder, *, after: str) -> list[SessionView]:
        """Return a page of the caller's live sessions."""
        return await self._sessions.page(caller.sub, after=after, limit=PAGE)

    async def end(self, caller: Holder, session_id: str, *, client: Client) -> None:
        """End one of the caller's sessions. Raises `NotFound`."""
        await self._sessions.end(caller, session_id, client=client)

    async def end_others(self, caller: Holder, *, client: Client) -> None:
        """End the caller's other sessions."""
        await self._sessions.end_others(caller, client=client)
