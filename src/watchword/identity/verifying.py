"""The service's own check of access tokens: the core that guards use, with the service's own list of revocations."""

from __future__ import annotations

from watchword.clock import Clock
from watchword.identity.key_ring import KeyRing
from watchword.identity.revocation import Follower
from watchword.settings import Settings
from watchword.tokens.claims import AccessClaims
from watchword.tokens.verify import Policy, Verifier

MAX_LIFETIME = 24 * 3600


class AccessVerifier:
    """Checks access tokens of this issuer. No I/O."""

    def __init__(self, ring: KeyRing, follower: Follower, settings: Settings, clock: Clock) -> None:
        policy = Policy(
            issuer=settings.public_url,
            audience=settings.audience,
            algorithms=ring.algorithms,
            max_lifetime=MAX_LIFETIME,
        )
        self._verifier = Verifier(policy, ring.key_set)
        self._revocations = follower.revocations
        self._clock = clock

    def verify(self, token: str) -> AccessClaims:
        """The claims of a valid access token. Raises `TokenError`."""
        return self._verifier.verify(token, now=self._clock.now(), revocations=self._revocations)

    def verify_expired(self, token: str) -> AccessClaims:
        """The claims of a genuine token that may have expired or been revoked: for ending its session, nothing else.

        Raises `TokenError`.
        """
        return self._verifier.verify_genuine(token)
