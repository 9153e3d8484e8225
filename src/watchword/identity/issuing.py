"""Access tokens: what is in them, signed with the ring's active key (RFC 9068)."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from watchword.identity.keys.ring import Keys
from watchword.settings import Settings
from watchword.tokens.keys import SigningKey
from watchword.tokens.sign import sign_access

FIRST_PARTY = "watchword"
"""The `client_id` of the product's own doors."""


class AccessGrant(NamedTuple):
    """What an access token says of a session and its user.

    :param issued_at: the row's `rotated_at`, never the moment of signing: a token signed late, or in the grace window,
        still expires before its revocation entry.
    :param not_after: the sooner of the row's `access_until`, which decides the end of revocation entries, and the
        session's end. No token lives longer, whatever this process's settings.
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


class TokenIssuer:
    """Signs access tokens for one issuer and audience."""

    def __init__(self, keys: Keys, settings: Settings) -> None:
        self._keys = keys
        self._issuer = settings.public_url
        self._audience = settings.audience
        self.lifetime = int(settings.access_lifetime.total_seconds())

    def require_key(self) -> SigningKey:
        """Return the key that signs now, to use even if the ring changes.

        Call it before anything is stored: a refresh token used up without an answer would later count as stolen.
        Raises `StorageUnavailable` when nothing could be signed.
        """
        return self._keys.ring.to_sign_with()

    def expires_at(self, grant: AccessGrant) -> int:
        """Return when a grant's access token expires."""
        return min(grant.issued_at + self.lifetime, grant.not_after)

    def access_token(self, grant: AccessGrant, key: SigningKey | None = None) -> str:
        """Sign an access token without personal data; `jti` has 128 random bits.

        Empty scopes and roles are left out: an empty string is no scope (RFC 6749 section 3.3), and validators of RFC
        9068 refuse both. Values are bounded where they are set. With a key nothing here can fail: it runs between the
        commit of a rotation and its answer.

        :param key: from `require_key`, called before the commit; without one the current key signs, and this may raise.
        """
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": grant.user_id,
            "aud": self._audience,
            "exp": self.expires_at(grant),
            "iat": grant.issued_at,
            "jti": secrets.token_urlsafe(16),
            "client_id": grant.client_id,
            "sid": grant.session_id,
            "ver": grant.version,
            "auth_time": grant.auth_time,
            "amr": grant.amr,
        }
        if grant.scope:
            claims["scope"] = grant.scope
        if grant.roles:
            claims["roles"] = grant.roles
        return sign_access(claims, key or self.require_key())
