"""Health: whether the process lives and can serve."""

from __future__ import annotations

from watchword.features.health.routes import HealthRoutes
from watchword.features.health.service import Health
from watchword.identity.kernel import Kernel
from watchword.web.feature import Feature


def feature(kernel: Kernel) -> Feature:
    """Return what this feature declares."""
    return Feature(
        "health",
        HealthRoutes(Health(kernel)).table(),
        "For load balancers and orchestrators: whether this process lives, and whether to send it requests.",
    )
