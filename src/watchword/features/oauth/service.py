"""The rules of the token endpoint (RFC 6749). No HTTP."""

from __future__ import annotations

from functools import partial

from watchword.errors import Refused, Unauthenticated
from watchword.features.oauth.clients import require_guard
from watchword.identity.api_keys import Exchanged
from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.password_factor import PasswordFactor
from watchword.identity.rights import Asked
from watchword.identity.service_accounts.account import Shown
from watchword.identity.sessions.retrying import read_retry_key
from watchword.identity.sessions.sessions import Tokens

PASSWORD = "password"  # noqa: S105 - the name of a grant
REFRESH = "refresh_token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
CLIENT_CREDENTIALS = "client_credentials"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a kind
JWT = "urn:ietf:params:oauth:token-type:jwt"


class TokenEndpoint:
    """Turns a grant into tokens."""

    def __init__(self, kernel: Kernel) -> None:
        self._login = kernel.login
        self._sessions = kernel.sessions
        self._factor = PasswordFactor(kernel.hasher, kernel.users)
        self._legacy = kernel.legacy
        self._api_keys = kernel.api_keys
        self._guard_keys = kernel.guard_keys
        grants: tuple[str, ...] = (PASSWORD, REFRESH) if kernel.settings.password_grant else (REFRESH,)
        self._proving = kernel.proving
        self._account_tokens = kernel.account_tokens
        self._exchanging = kernel.exchanging
        self.grants = (*grants, EXCHANGE, CLIENT_CREDENTIALS)

    async def password(self, username: str, password: str, *, asked: Asked, client: Client) -> Tokens:
        """Exchange a password (section 4.3), for first-party clients and Swagger's Authorize button.

        Raises `Refused` (`invalid_grant`) alike for every failed log-in.
        """
        try:
            logged_in = await self._login.attempt(
                username,
                self._factor.prove(password, client.address),
                client=client,
                client_id=FIRST_PARTY,
                asked=asked,
            )
        except Unauthenticated as error:
            raise Refused(error.message, code="invalid_grant") from error
        return logged_in.tokens

    async def exchange(self, subject_token: str, *, asked: Asked, client: Client) -> Tokens:
        """Exchange a token of the application that was there before for a session (RFC 8693).

        Raises `Refused` (`invalid_request`, section 2.2.2) alike for every token that is not accepted.
        """
        if self._legacy is None:
            raise Refused("There is no other application whose tokens count.", code="invalid_request")
        identifier, factor = self._legacy.read(subject_token)
        try:
            logged_in = await self._login.attempt(identifier, factor, client=client, client_id=FIRST_PARTY, asked=asked)
        except Unauthenticated as error:
            raise Refused(error.message, code="invalid_request") from error
        return logged_in.tokens

    async def exchange_key(self, key: str, *, asked: Asked, client: Client, guard_key: str | None = None) -> Exchanged:
        """Exchange an API key for an access token (RFC 8693). Raises `Refused`, as `ApiKeys.exchange`.

        :param guard_key: of the guard that asks for a caller of its own; it needs none.
        :raises Unauthenticated: `invalid_client`: this guard key is not in use.
        """
        guard = None if guard_key is None else partial(require_guard, self._guard_keys, guard_key)
        return await self._api_keys.exchange(key, asked, client=client, guard=guard)

    async def account_token(
        self, shown: Shown, *, scope: str | None, resource: str | None, client: Client
    ) -> Exchanged:
        """Return a service account's own token (section 4.4). Raises `Refused`, as `Proving` and `AccountTokens`."""
        account = await self._proving.prove(shown, client=client)
        return await self._account_tokens.issue(account, scope, resource, client=client)

    async def exchange_for(
        self, shown: Shown, subject_token: str, *, scope: str | None, resource: str | None, client: Client
    ) -> Exchanged:
        """Return a token by which an API calls another for a user (RFC 8693). Raises `Refused`, as `Exchanging`."""
        account = await self._proving.prove(shown, client=client)
        return await self._exchanging.exchange(account, subject_token, scope, resource, client=client)

    async def refresh(self, presented: str, *, asked: Asked, client: Client, retry_key: str | None = None) -> Tokens:
        """Return a session's next tokens (section 6).

        Raises `Unauthenticated`, which names the failure, and `InvalidInput` for a wrong retry key.
        """
        key = read_retry_key(retry_key, shared=False)
        return await self._sessions.refresh(presented, client_id=FIRST_PARTY, client=client, asked=asked, retry_key=key)

    def asked(self, scope: str | None, resource: str | None) -> Asked:
        """Read what is asked for (section 3.3, RFC 8707). Raises `Refused` (`invalid_scope`, `invalid_target`)."""
        return self._sessions.rights.asked(scope, resource)
