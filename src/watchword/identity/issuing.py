"""Access tokens: what is in them, signed with the ring's active key (RFC 9068)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from watchword.identity.keys.ring import Keys
from watchword.identity.own_claims import NO_CLAIMS, MappedClaims, OwnClaims
from watchword.settings import Settings
from watchword.storage.database import Row
from watchword.tokens.keys import SigningKey
from watchword.tokens.needs import KEY_CLIENT
from watchword.tokens.sign import sign_access

FIRST_PARTY = "watchword"
"""The `client_id` of the product's own doors."""

NO_ACCOUNTS = frozenset((FIRST_PARTY, KEY_CLIENT))
"""Each `client_id` with no service account behind it: the id of no user and the name of no service account."""


class AccessGrant(NamedTuple):
    """What an access token says of a session and its user, or of a service account.

    :param auth_time: None for a service account: no one logged in.
    :param issued_at: the row's `rotated_at`, never the moment of signing: a token signed late, or in the grace window,
        still expires before its revocation entry.
    :param audience: an API's; None: the service's own.
    :param rights: the version of the tables of rights that gave scope and audience. Without one the token is refused as
        soon as any right is taken away.
    :param not_after: the sooner of the row's `access_until`, which decides the end of revocation entries, and the
        session's end. No token lives longer, whatever this process's settings.
    :param narrowed: log-in or refresh asked for fewer scopes than there were (`narrowing`).
    :param act: who acts for the user (RFC 8693 section 4.1).
    :param claims: the service's own, bounded and without reserved names (`own_claims`).
    """

    user_id: str
    session_id: str
    client_id: str
    scope: str
    roles: tuple[str, ...]
    version: int
    auth_time: int | None
    amr: tuple[str, ...]
    issued_at: int
    not_after: int
    audience: str | None = None
    rights: int | None = None
    claims: Mapping[str, Any] = NO_CLAIMS
    act: Mapping[str, Any] | None = None
    narrowed: bool = False


class TokenIssuer:
    """Signs access tokens: the only place that does."""

    def __init__(self, keys: Keys, settings: Settings, own_claims: OwnClaims | None = None) -> None:
        self._keys = keys
        self.own_claims: OwnClaims = own_claims or MappedClaims(settings.claims)
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

    def claims_of(self, user_id: str, roles: tuple[str, ...], row: Row) -> Mapping[str, Any]:
        """Return a user's own claims from a row with the columns that they need. Raises `ClaimsFault`."""
        return self.own_claims.of(user_id, roles, [row[name] for name in self.own_claims.columns])

    def access_token(self, grant: AccessGrant, key: SigningKey | None = None) -> str:
        """Sign an access token; `jti` has 128 random bits. Only `WATCHWORD_CLAIMS` puts a user's data into it.

        Empty scopes and roles are left out: an empty string is no scope (RFC 6749 section 3.3), and validators of RFC
        9068 refuse both. Values are bounded where they are set. With a key nothing here can fail: it runs between the
        commit of a rotation and its answer.

        :param key: from `require_key`, called before the commit; without one the current key signs, and this may raise.
        """
        claims: dict[str, Any] = {
            **grant.claims,  # first: whatever they are called, what follows counts
            "iss": self._issuer,
            "sub": grant.user_id,
            "aud": self._audience if grant.audience is None else grant.audience,
            "exp": self.expires_at(grant),
            "iat": grant.issued_at,
            "jti": secrets.token_urlsafe(16),
            "client_id": grant.client_id,
            "sid": grant.session_id,
            "ver": grant.version,
        }
        if grant.auth_time is not None:
            claims["auth_time"] = grant.auth_time
        if grant.amr:
            claims["amr"] = grant.amr
        if grant.act is not None:
            claims["act"] = grant.act
        if grant.narrowed:
            claims["narrowed"] = True
        if grant.scope:
            claims["scope"] = grant.scope
        # Nothing refuses a plain token by the version of rights.
        if grant.rights is not None and (grant.scope or claims["aud"] != self._audience):
            claims["rver"] = grant.rights
        if grant.roles:
            claims["roles"] = grant.roles
        return sign_access(claims, key or self.require_key())
