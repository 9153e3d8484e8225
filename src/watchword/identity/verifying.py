"""The service's own check of access tokens: the guards' core, with the service's revocations."""

from __future__ import annotations

from dataclasses import replace

from watchword import api_keys
from watchword.clock import Clock
from watchword.errors import TokenError
from watchword.identity.keys.ring import KeyRing, Keys
from watchword.identity.revocation import Revocations
from watchword.identity.rights import Rights
from watchword.settings import Settings
from watchword.tokens.claims import AccessClaims
from watchword.tokens.needs import no_key_here
from watchword.tokens.rotation import LONGEST_TOKEN
from watchword.tokens.verify import Policy, Verifier, claimed


class AccessVerifier:
    """Checks access tokens of this issuer. No I/O."""

    def __init__(self, keys: Keys, rights: Rights, revocations: Revocations, settings: Settings, clock: Clock) -> None:
        self._keys = keys
        self._rights = rights
        self._settings = settings
        self._current = self._made()
        self._revocations = revocations.refused
        self._clock = clock

    def verify(self, token: str) -> AccessClaims:
        """Return a valid access token's claims. Raises `TokenError`, which tells an API key from a token."""
        try:
            return self._verifier().verify(token, now=self._clock.now(), revocations=self._revocations)
        except TokenError as error:
            if error.code == "token_malformed" and api_keys.looks_like(token):
                raise no_key_here() from error
            raise

    def verify_for_any(self, token: str) -> AccessClaims:
        """Return a valid token's claims, also for a registered API: only to tell of it. Raises `TokenError`."""
        return self._verifier_for(token).verify(token, now=self._clock.now(), revocations=self._revocations)

    def verify_expired(self, token: str) -> AccessClaims:
        """Return a genuine token's claims, also if expired, revoked or for an API: only for ending its session.

        Raises `TokenError`.
        """
        return self._verifier_for(token).verify_genuine(token, revocations=self._revocations)

    def _verifier_for(self, token: str) -> Verifier:
        """Return a verifier for the registered API that a token says it is for, else the service's own."""
        own = self._verifier()
        audience = claimed(token, "aud")
        if audience is None or audience not in self._rights.table.by_audience:
            return own
        return Verifier(replace(own.policy, audience=audience), own.key_set, cache_size=0)

    def _verifier(self) -> Verifier:
        """Return the verifier; after a change of keys a new one, without the cache of the old keys' tokens.

        One assignment replaces ring and verifier: with several threads, none may combine the new ring and old verifier.
        """
        ring, verifier = self._current
        if self._keys.ring is ring:
            return verifier
        self._current = made = self._made()
        return made[1]

    def _made(self) -> tuple[KeyRing, Verifier]:
        ring = self._keys.ring
        policy = Policy(
            issuer=self._settings.public_url,
            audience=self._settings.audience,
            algorithms=ring.algorithms,
            max_lifetime=LONGEST_TOKEN,
        )
        return ring, Verifier(policy, ring.key_set)
