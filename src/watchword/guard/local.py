"""Verifies tokens by a service in the same process."""

from __future__ import annotations

from typing import Protocol

from watchword.tokens.claims import AccessClaims
from watchword.tokens.revocations import RevocationSet


class Local(Protocol):
    """Verifies by its own keys and its own list of revocations: a service in the same process."""

    def verify(self, token: str) -> AccessClaims:
        """Return the claims of a valid access token. :raises TokenError: for any other."""
        ...


class LocalVerifier:
    """Lets a service in the same process be a verifier. It knows the time and what was revoked."""

    __slots__ = ("_verify",)

    def __init__(self, service: Local) -> None:
        self._verify = service.verify

    def verify(
        self,
        token: str,
        *,
        now: int,  # noqa: ARG002  the service has its own clock
        revocations: RevocationSet | None = None,  # noqa: ARG002  and its own list
    ) -> AccessClaims:
        """Return the claims of a token that the service accepts. :raises TokenError: for any other."""
        return self._verify(token)
