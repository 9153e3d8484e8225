"""The service's own check of access tokens: the core that guards use, with the service's own list of revocations."""

from __future__ import annotations

from watchword.clock import Clock
from watchword.identity.key_ring import Keys
from watchword.identity.revocation import Follower
from watchword.settings import Settings
from watchword.tokens.claims import AccessClaims
from watchword.tokens.verify import Policy, Verifier

MAX_LIFETIME = 24 * 3600


class AccessVerifier:
    """Checks access tokens of this issuer. No I/O."""

    def __init__(self, keys: Keys, follower: Follower, settings: Settings, clock: Clock) -> None:
        self._keys = keys
        self._settings = settings
        self._ring = keys.ring
        self._verifier = self._made()
        self._revocations = follower.revocations
        self._clock = clock

    def verify(self, token: str) -> AccessClaims:
        """The claims of a valid access token. Raises `TokenError`."""
        if self._keys.ring is not self._ring:
            self._follow_keys()
        return self._verifier.verify(token, now=self._clock.now(), revocations=self._revocations)

    def verify_expired(self, token: str) -> AccessClaims:
        """The claims of a genuine token that may have expired or been revoked: for ending its session, nothing else.

        Raises `TokenError`.
        """
        if self._keys.ring is not self._ring:
            self._follow_keys()
        return self._verifier.verify_genuine(token)

    def _follow_keys(self) -> None:
        """The keys have changed: another verifier, with nothing remembered of the old keys' tokens."""
        self._ring = self._keys.ring
        self._verifier = self._made()

    def _made(self) -> Verifier:
        policy = Policy(
            issuer=self._settings.public_url,
            audience=self._settings.audience,
            algorithms=self._ring.algorithms,
            max_lifetime=MAX_LIFETIME,
        )
        return Verifier(policy, self._ring.key_set)
