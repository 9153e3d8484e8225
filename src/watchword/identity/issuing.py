"""Access tokens: what is in them, signed with the ring's active key (RFC 9068)."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from watchword.identity.key_ring import KeyRing
from watchword.settings import Settings
from watchword.tokens.sign import sign_access

FIRST_PARTY = "watchword"
"""The `client_id` of the product's own doors."""


class Grant(NamedTuple):
    """What an access token says of a session and its user.

    :param issued_at: the session row's `rotated_at`, never the moment of signing: a token that is signed late, or in
        the grace window, still expires before its revocation entry does.
    :param not_after: the row's `access_until`, from which the end of revocation entries is computed: no token lives
        longer, even if this process's life setting is longer than that of the one which rotated.
    """

    user_id: str
    session_id: str
    client_id: str
    scope: str
    roles: tuple[str, ...]
    version: int
    auth_time: int
    amr: tuple[str, ...]
    issued_at: int
    not_after: int


class Issuer:
    """Signs access tokens for one issuer and audience."""

    def __init__(self, ring: KeyRing, settings: Settings) -> None:
        self._key = ring.signing
        self._issuer = settings.public_url
        self._audience = settings.audience
        self.lifetime = int(settings.access_lifetime.total_seconds())

    def expires_at(self, grant: Grant) -> int:
        """When the access token of a grant expires."""
        return min(grant.issued_at + self.lifetime, grant.not_after)

    def access_token(self, grant: Grant) -> str:
        """Sign an access token. No e-mail address and no other personal data is in it; `jti` has 128 random bits."""
        return sign_access(
            {
                "iss": self._issuer,
                "sub": grant.user_id,
                "aud": self._audience,
                "exp": self.expires_at(grant),
                "iat": grant.issued_at,
                "jti": secrets.token_urlsafe(16),
                "client_id": grant.client_id,
                "sid": grant.session_id,
                "scope": grant.scope,
                "roles": grant.roles,
                "ver": grant.version,
                "auth_time": grant.auth_time,
                "amr": grant.amr,
            },
            self._key,
        )
