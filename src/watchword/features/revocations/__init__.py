"""The revocation feed, for guards in other processes."""

from __future__ import annotations

from watchword.features.revocations.routes import RevocationRoutes
from watchword.features.revocations.service import Revocations
from watchword.identity.kernel import Kernel
from watchword.web.feature import Feature


def feature(kernel: Kernel) -> Feature:
    """Return what this feature declares."""
    return Feature(
        "revocations",
        RevocationRoutes(Revocations(kernel)).table(),
        "For guards, which verify tokens by themselves: what has been revoked.",
    )
