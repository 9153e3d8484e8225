"""Who a request comes from: what a guard yields."""

from __future__ import annotations

import msgspec

from watchword.tokens.claims import AccessClaims


class Caller(msgspec.Struct, frozen=True, gc=False):
    """The holder of a verified access token. Deeply immutable; made for each request, so it is one reference.

    To hold one is to hold the outcome of a check, never a token that was merely read.
    """

    claims: AccessClaims

    @property
    def user_id(self) -> str:
        """The user's id (`sub`); it is never given to another user."""
        return self.claims.sub

    @property
    def session_id(self) -> str | None:
        """The session's id (`sid`); None for a token that was issued to no session."""
        return self.claims.sid

    @property
    def roles(self) -> frozenset[str]:
        """The user's roles when the token was issued."""
        return self.claims.roles

    @property
    def scopes(self) -> frozenset[str]:
        """What the token may be used for."""
        return self.claims.scopes

    @property
    def expires_at(self) -> int:
        """When the token ends, seconds since 1970 UTC."""
        return self.claims.exp

    def has_role(self, role: str) -> bool:
        """Whether the user has this role."""
        return role in self.claims.roles

    def has_scope(self, scope: str) -> bool:
        """Whether the token has this scope."""
        return scope in self.claims.scopes
