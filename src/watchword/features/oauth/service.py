"""The rules of the token endpoint (RFC 6749). No HTTP."""

from __future__ import annotations

from watchword.errors import Refused, Unauthenticated
from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.password_factor import PasswordFactor
from watchword.identity.sessions.sessions import Tokens

PASSWORD = "password"  # noqa: S105 - the name of a grant
REFRESH = "refresh_token"


class TokenEndpoint:
    """Turns a grant into tokens."""

    def __init__(self, kernel: Kernel) -> None:
        self._login = kernel.login
        self._sessions = kernel.sessions
        self._factor = PasswordFactor(kernel.hasher, kernel.users)
        self.grants = (PASSWORD, REFRESH) if kernel.settings.password_grant else (REFRESH,)

    async def password(self, username: str, password: str, *, client: Client) -> Tokens:
        """Exchange a password (section 4.3), for first-party clients and Swagger's Authorize button.

        Raises `Refused` (`invalid_grant`) alike for every failed log-in.
        """
        try:
            logged_in = await self._login.attempt(
                username, self._factor.prove(password, client.address), client=client, client_id=FIRST_PARTY
            )
        except Unauthenticated as error:
            raise Refused(error.message, code="invalid_grant") from error
        return logged_in.tokens

    async def refresh(self, presented: str, *, client: Client) -> Tokens:
        """Return a session's next tokens (section 6). Raises `Unauthenticated`, which names the failure."""
        return await self._sessions.refresh(presented, client_id=FIRST_PARTY, client=client)
