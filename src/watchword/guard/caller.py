"""Who a request comes from: what a guard yields."""

from __future__ import annotations

import msgspec

from watchword.tokens.claims import AccessClaims


class Caller(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The holder of a verified access token. Deeply immutable, and shared by all requests with the same token.

    To hold one is to hold the outcome of a check, never a token that was merely read.

    `user_id` is the token's `sub`, never given to another user; `session_id` its `sid`, None where it was issued to no
    session; `roles` are the user's when it was issued; `scopes` what it may be used for; `expires_at` its end, in
    seconds since 1970 UTC; `claims` all that it says.
    """

    user_id: str
    session_id: str | None
    roles: frozenset[str]
    scopes: frozenset[str]
    expires_at: int
    claims: AccessClaims

    @classmethod
    def of(cls, claims: AccessClaims) -> Caller:
        """The caller that a token's claims tell of."""
        return cls(
            user_id=claims.sub,
            session_id=claims.sid,
            roles=claims.roles,
            scopes=claims.scopes,
            expires_at=claims.exp,
            claims=claims,
        )

    def has_role(self, role: str) -> bool:
        """Whether the user has this role."""
        return role in self.roles

    def has_scope(self, scope: str) -> bool:
        """Whether the token has this scope."""
        return scope in self.scopes
