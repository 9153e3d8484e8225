"""The rules of introspection (RFC 7662) and revocation (RFC 7009). No HTTP."""

from __future__ import annotations

import msgspec

from watchword import opaque
from watchword.errors import TokenError, Unauthenticated
from watchword.features.oauth.clients import Credentials
from watchword.identity.audit import Client
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.tokens.claims import AccessClaims


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


INACTIVE = Introspection(active=False)


class TokenInspection:
    """Introspects and revokes."""

    def __init__(self, kernel: Kernel) -> None:
        self._guard_keys = kernel.guard_keys
        self._verifier = kernel.verifier
        self._sessions = kernel.sessions
        self._users = kernel.users
        self._issuer = kernel.settings.public_url

    async def admit(self, credentials: Credentials, *, public: bool) -> None:
        """Admit a guard by its key, and the public client where the token is proof enough (RFC 7009 section 2.1).

        Raises `Unauthenticated` (`invalid_client`).
        """
        if credentials.guard_key is not None:
            if await self._guard_keys.find(credentials.guard_key) is not None:
                return
            raise Unauthenticated("This guard key is not in use.", code="invalid_client")
        if not public or credentials.client_id != FIRST_PARTY:
            raise Unauthenticated("This endpoint needs a guard key.", code="invalid_client")

    async def introspect(self, token: str) -> Introspection:
        """Return a token's state now: its times, revocation, session and user, from the database."""
        if opaque.is_refresh(token):
            return await self._introspect_refresh(token)
        try:
            claims = self._verifier.verify(token)
        except TokenError:
            return INACTIVE
        if claims.sid is None or not await self._sessions.is_live(claims.sid):
            return INACTIVE
        user = await self._users.find(claims.sub)
        if user is None or user.disabled_at is not None or (claims.ver or 0) < user.token_version:
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
        """End the session of a refresh or access token; silently ignore anything else.

        Raises `StorageUnavailable`: a revocation that was not stored is never reported as done.
        """
        if opaque.is_refresh(token):
            await self._sessions.log_out(claims=None, presented=token, client=client)
            return
        try:
            claims = self._verifier.verify_expired(token)
        except TokenError:
            return
        await self._sessions.log_out(claims=claims, presented=None, client=client)


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
    )
