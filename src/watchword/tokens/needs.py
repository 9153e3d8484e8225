"""What is asked of the holder of an access token, and whether they have it: for the service and for guards alike."""

from __future__ import annotations

from typing import Final, NamedTuple

from watchword.errors import TokenError
from watchword.tokens.claims import AccessClaims

_NONE: Final[frozenset[str]] = frozenset()


class Needs(NamedTuple):
    """What is asked of a caller, besides a valid token.

    :param roles: each of which the user must have.
    :param scopes: each of which the token must have.
    :param max_age: how many seconds ago the user may have logged in at most (RFC 9470), or None.
    """

    roles: frozenset[str] = _NONE
    scopes: frozenset[str] = _NONE
    max_age: int | None = None

    def check(self, claims: AccessClaims, *, now: int | None = None) -> None:
        """Check verified claims.

        :param now: seconds since 1970 UTC, where `max_age` may be asked for.
        :raises TokenError: `scope_missing`, `role_missing`, `reauthentication_required`.
        """
        error = self.lack(claims, now=now)
        if error is not None:
            raise error

    def lack(self, claims: AccessClaims, *, now: int | None = None) -> TokenError | None:
        """Return the error that `check` raises, or None."""
        if not self.scopes <= claims.scopes:
            return TokenError("The token lacks a scope.", code="scope_missing")
        if not self.roles <= claims.roles:
            return TokenError("The token's user lacks a role.", code="role_missing")
        if self.max_age is None:
            return None
        # A token that does not say when its user logged in cannot show that it was recently.
        if now is None or claims.auth_time is None or now - claims.auth_time > self.max_age:
            return TokenError("A more recent log-in is required.", code="reauthentication_required")
        return None


NOTHING: Final = Needs()
"""A valid token is enough."""
