"""The service's own check of access tokens: the guards' core, with the service's revocations."""

from __future__ import annotations

from watchword.clock import Clock
from watchword.identity.keys.ring import KeyRing, Keys
from watchword.identity.revocation import Revocations
from watchword.settings import Settings
from watchword.tokens.claims import AccessClaims
from watchword.tokens.rotation import LONGEST_TOKEN
from watchword.tokens.verify import Policy, Verifier


class AccessVerifier:
    """Checks access tokens of this issuer. No I/O."""

    def __init__(self, keys: Keys, revocations: Revocations, settings: Settings, clock: Clock) -> None:
        self._keys = keys
        self._settings = settings
        self._current = self._made()
        self._revocations = revocations.refused
        self._clock = clock

    def verify(self, token: str) -> AccessClaims:
        """Return a valid access token's claims. Raises `TokenError`."""
        return self._verifier().verify(token, now=self._clock.now(), revocations=self._revocations)

    def verify_expired(self, token: str) -> AccessClaims:
        """Return a genuine token's claims, also if expired or revoked: only for ending its session.

        Raises `TokenError`.
        """
        return self._verifier().verify_genuine(token)

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
