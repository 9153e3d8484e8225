"""The service's own check of access tokens: the core that guards use, with the service's own list of revocations."""

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
        """The claims of a valid access token. Raises `TokenError`."""
        return self._verifier().verify(token, now=self._clock.now(), revocations=self._revocations)

    def verify_expired(self, token: str) -> AccessClaims:
        """The claims of a genuine token that may have expired or been revoked: for ending its session, nothing else.

        Raises `TokenError`.
        """
        return self._verifier().verify_genuine(token)

    def _verifier(self) -> Verifier:
        """When the keys have changed: another one, with nothing remembered of the old keys' tokens.

        Ring and verifier are replaced together, in one assignment: a host verifies in several threads at once, and
        none may meet the new ring beside the old verifier.
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
