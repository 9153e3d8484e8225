"""The rules of introspection (RFC 7662) and revocation (RFC 7009). No HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from watchword import api_keys, opaque
from watchword.errors import Refused, TokenError, Unauthenticated
from watchword.features.oauth.clients import Credentials, require_guard
from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.service_accounts.account import Account, Shown
from watchword.identity.takes import takes_of
from watchword.tokens.claims import AccessClaims
from watchword.tokens.frozen import thawed
from watchword.tokens.needs import ACCOUNT_PREFIX, KEY_CLIENT, acts_for


class Introspection(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 7662 section 2.2. An inactive token has no other fields."""

    active: bool
    scope: str | None = None
    client_id: str | None = None
    username: str | None = None
    token_type: str | None = None
    exp: int | None = None
    iat: int | None = None
    sub: str | None = None
    aud: tuple[str, ...] | None = None
    iss: str | None = None
    jti: str | None = None
    sid: str | None = None
    roles: tuple[str, ...] | None = None
    act: dict[str, Any] | None = None


INACTIVE = Introspection(active=False)
# Anyone who reads that an app needs a guard key builds one into it, where everyone can read it.
_FOR_APPS = f"An app sends client_id={FIRST_PARTY} beside the token, and no secret."
_FOR_SERVERS = "Only a server may ask: an API with its guard key, or a service account."


class TokenInspection:
    """Introspects and revokes."""

    def __init__(self, kernel: Kernel) -> None:
        self._guard_keys = kernel.guard_keys
        self._verifier = kernel.verifier
        self._sessions = kernel.sessions
        self._api_keys = kernel.api_keys
        self._proving = kernel.proving
        self._throttle = kernel.throttle
        self._account_tokens = kernel.account_tokens
        self._users = kernel.users
        self._revocations = kernel.revocations
        self._issuer = kernel.settings.public_url

    async def admit(self, credentials: Credentials, *, public: bool) -> None:
        """Admit a guard by its key, and the public client where the token is proof enough (RFC 7009 section 2.1).

        Raises `Unauthenticated` (`invalid_client`).
        """
        if credentials.guard_key is not None:
            await require_guard(self._guard_keys, credentials.guard_key, hint=_FOR_APPS if public else "")
        elif not public or credentials.client_id != FIRST_PARTY:
            fault = f"{_FOR_APPS} A server may send its guard key." if public else _FOR_SERVERS
            raise Unauthenticated(fault, code="invalid_client")

    async def prove(self, shown: Shown, *, client: Client) -> Account:
        """Return the service account that asks, and count the request against its limit.

        Raises `Refused` (`invalid_client`), `TooManyAttempts`.
        """
        account = await self._proving.prove(shown, client=client)
        takes = takes_of("inspection", client.address, account.id)
        await self._throttle.take(*takes, client=client, user=account.id)
        return account

    async def introspect_for(self, account: Account, token: str) -> Introspection:
        """Return a token's state for a service account: of its own tokens, or of all where it may introspect.

        Only there it learns the name of a user that it acts for, which may be an e-mail address.
        """
        found = await self.introspect(token)
        if account.introspects:
            return found
        return msgspec.structs.replace(found, username=None) if found.client_id == account.id else INACTIVE

    async def introspect(self, token: str) -> Introspection:
        """Return a token's state now: its times, revocation, session and user, from the database."""
        if opaque.is_refresh(token):
            return await self._introspect_refresh(token)
        try:
            claims = self._verifier.verify_for_any(token)
        except TokenError:
            return INACTIVE
        if is_account_token(claims):
            return _active(claims, None) if await self._account_tokens.is_live(claims) else INACTIVE
        alive = self._api_keys.is_live if claims.client_id == KEY_CLIENT else self._sessions.is_live
        if claims.sid is None or not await alive(claims.sid):
            return INACTIVE
        user = await self._users.find(claims.sub)
        if user is None or user.disabled_at is not None or (claims.ver or 0) < user.token_version:
            return INACTIVE
        if acts_for(claims):  # its actors may have been refused a moment ago, elsewhere
            await self._revocations.catch_up()
            if self._revocations.refused.refuses(claims):
                return INACTIVE
        return _active(claims, user.username or user.email)

    async def _introspect_refresh(self, token: str) -> Introspection:
        found = await self._sessions.find_current(token)
        if found is None:
            return INACTIVE
        return Introspection(
            active=True,
            scope=found.scope,
            client_id=found.client_id,
            token_type="refresh_token",  # noqa: S106 - the name of a kind
            exp=found.idle_expires_at,
            iat=found.rotated_at,
            sub=found.user_id,
            iss=self._issuer,
            sid=found.id,
        )

    async def revoke(self, token: str, *, client: Client) -> None:
        """End the session of a refresh or access token; silently ignore what is no token of ours.

        Raises `StorageUnavailable`: a revocation that was not stored is never reported as done. Nor is one that this
        caller may not do, or that is done elsewhere: `Refused` (`unauthorized_client`, `unsupported_token_type`).
        """
        if api_keys.looks_like(token):
            raise ends_with_key()
        if opaque.is_refresh(token):
            await self._sessions.log_out(claims=None, presented=token, client=client)
            return
        try:
            claims = self._verifier.verify_expired(token)
        except TokenError:
            return
        if is_account_token(claims):
            raise Refused("A service account's token is revoked by it, or by a guard.", code="unauthorized_client")
        if claims.client_id == KEY_CLIENT:
            raise ends_with_key()
        if acts_for(claims):
            raise ends_with_session()
        await self._sessions.log_out(claims=claims, presented=None, client=client)

    async def revoke_for(self, account: Account | None, token: str) -> bool:
        """Refuse a service account's token; tell whether it is one.

        :param account: whose it must be; None for a guard, which may revoke any.
        :raises Refused: `unauthorized_client`: it is another's, or a person's; `unsupported_token_type`: it was issued
            to this account to act for a user, or is an API key.
        """
        if api_keys.looks_like(token):
            raise ends_with_key()
        try:
            claims = None if opaque.is_refresh(token) else self._verifier.verify_expired(token)
        except TokenError:
            return False
        if account is not None and (claims is None or claims.client_id != account.id):
            raise Refused("A client revokes its own tokens only.", code="unauthorized_client")
        if claims is None or not is_account_token(claims):
            if account is not None:
                raise ends_with_session()
            return False
        await self._account_tokens.revoke(claims)
        return True


def ends_with_session() -> Refused:
    """Make the error for a token that was exchanged: alone it cannot be revoked."""
    return Refused("A token that was exchanged ends with its user's session.", code="unsupported_token_type")


def ends_with_key() -> Refused:
    """Make the error for an API key and its tokens. They share one mark, so no token is refused alone."""
    message = "An API key and its tokens end when the key is deleted: DELETE /api-keys/{id}."
    return Refused(message, code="unsupported_token_type")


def is_account_token(claims: AccessClaims) -> bool:
    """Tell whether this is a service account's own token."""
    return claims.sub == claims.client_id and claims.sub.startswith(ACCOUNT_PREFIX)


def _active(claims: AccessClaims, username: str | None) -> Introspection:
    return Introspection(
        active=True,
        scope=" ".join(sorted(claims.scopes)),
        client_id=claims.client_id,
        username=username,
        token_type="Bearer",  # noqa: S106 - the name of a kind
        exp=claims.exp,
        iat=claims.iat,
        sub=claims.sub,
        aud=claims.aud,
        iss=claims.iss,
        jti=claims.jti,
        sid=claims.sid,
        roles=tuple(sorted(claims.roles)),
        act=thawed(claims.extra["act"]) if acts_for(claims) else None,
    )
