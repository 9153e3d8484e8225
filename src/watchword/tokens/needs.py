"""What is asked of the holder of an access token, and whether they have it: for the service and for guards alike."""

from __future__ import annotations

from typing import Final, NamedTuple

from watchword.errors import TokenError
from watchword.tokens.claims import AccessClaims

KEY_CLIENT: Final = "api_key"
"""The `client_id` of access tokens that were exchanged for an API key."""
ACCOUNT_PREFIX: Final = "wwc_"
"""How the id of a service account begins; no user's id does."""
_NONE: Final[frozenset[str]] = frozenset()


class Needs(NamedTuple):
    """What is asked of a caller, besides a valid token.

    :param roles: each of which the user must have.
    :param scopes: each of which the token must have.
    :param max_age: how many seconds ago the user may have logged in at most (RFC 9470), or None.
    :param api_keys: whether an API key may stand for its owner; never unless it is said.
    """

    roles: frozenset[str] = _NONE
    scopes: frozenset[str] = _NONE
    max_age: int | None = None
    api_keys: bool = False

    def check(self, claims: AccessClaims, *, now: int | None = None) -> None:
        """Check verified claims.

        :param now: seconds since 1970 UTC, where `max_age` may be asked for.
        :raises TokenError: `scope_missing`, `role_missing`, `reauthentication_required`; `token_invalid` for a key, and
            for a service account where no scope is asked for.
        """
        error = self.lack(claims, now=now)
        if error is not None:
            raise error

    def lack(self, claims: AccessClaims, *, now: int | None = None) -> TokenError | None:
        """Return the error that `check` raises, or None."""
        if claims.client_id == KEY_CLIENT and not self.api_keys:
            return no_key_here()
        if claims.sub == claims.client_id and not self.scopes:
            return no_account_here()
        if not self.scopes <= claims.scopes:
            missing = " ".join(sorted(self.scopes - claims.scopes))
            return TokenError(f"The token lacks these scopes: {missing:.200}", code="scope_missing")
        if not self.roles <= claims.roles:
            return lacks_roles(self.roles - claims.roles)
        if self.max_age is None:
            return None
        # A token that does not say when its user logged in cannot show that it was recently.
        if now is None or claims.auth_time is None or now - claims.auth_time > self.max_age:
            return TokenError("A more recent log-in is required.", code="reauthentication_required")
        return None


def lacks_roles(missing: frozenset[str]) -> TokenError:
    """Make the error for a user without these roles. What a route needs is no secret, no more than its scopes are."""
    return TokenError(f"The token's user lacks these roles: {' '.join(sorted(missing)):.200}", code="role_missing")


def no_key_here() -> TokenError:
    """Make the error for an API key, or a token that was exchanged for one, where none is accepted."""
    return TokenError("An API key is not accepted here. Log in.")


def no_account_here() -> TokenError:
    """Make the error for a service account where no scope says what a program may do."""
    return TokenError("A service account is let in only where scopes are asked for. Log in.")


def acts_for(claims: AccessClaims) -> bool:
    """Tell whether a service account acts with this token for its user: no such token ends the user's session."""
    return "act" in claims.extra


def has_session(claims: AccessClaims) -> bool:
    """Tell whether the token belongs to a session that its holder may end: not an API key's, nor a program's."""
    return claims.client_id not in (KEY_CLIENT, claims.sub) and not acts_for(claims)


def is_machine(claims: AccessClaims) -> bool:
    """Tell whether a token is not simply a person's: `Needs` decides, also where nothing is asked for."""
    return claims.client_id in (KEY_CLIENT, claims.sub)


NOTHING: Final = Needs()
"""A valid token is enough."""
