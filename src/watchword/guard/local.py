"""A service in the same process, as something that judges tokens."""

from __future__ import annotations

from typing import Protocol

from watchword.tokens.claims import AccessClaims
from watchword.tokens.revocations import RevocationSet


class Local(Protocol):
    """A service in the same process: it verifies, by its own keys and its own list of revocations."""

    def verify(self, token: str) -> AccessClaims:
        """The claims of a valid access token. :raises TokenError: for any other."""
        ...


class LocalVerifier:
    """A service in the same process, as a verifier. It knows the time and what has been revoked by itself."""

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
        """The claims of a token that the service accepts. :raises TokenError: for any other."""
        return self._verify(token)
