"""Verifies tokens by a service in the same process."""

from __future__ import annotations

from typing import Protocol

from watchword.tokens.claims import AccessClaims
from watchword.tokens.revocations import RevocationSet


class Local(Protocol):
    """Is such a service, with its own keys and revocations."""

    def verify(self, token: str) -> AccessClaims:
        """Return a valid token's claims. :raises TokenError: any other."""
        ...

    @property
    def revocations(self) -> RevocationSet:
        """Return the list by which it refuses tokens, for `caller.watch()`."""
        ...


class LocalVerifier:
    """Makes a service a verifier."""

    __slots__ = ("_service", "_verify")

    def __init__(self, service: Local) -> None:
        if isinstance(service, type) or not callable(getattr(service, "verify", None)):
            raise TypeError(
                "guard: Guard.local takes the service itself, such as Watchword(Settings(…)); "
                "for one at an address write Guard(URL)"
            )
        self._service = service
        self._verify = service.verify

    @property
    def revocations(self) -> RevocationSet:
        """Return the service's list."""
        return self._service.revocations

    def verify(
        self,
        token: str,
        *,
        now: int,  # noqa: ARG002  the service has its own clock
        revocations: RevocationSet | None = None,  # noqa: ARG002  and its own list
    ) -> AccessClaims:
        """Return a valid token's claims. :raises TokenError: any other token."""
        return self._verify(token)
