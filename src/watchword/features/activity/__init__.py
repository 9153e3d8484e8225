"""Activity: what happened to the caller's account."""

from __future__ import annotations

from watchword.features.activity.routes import ActivityRoutes
from watchword.features.activity.service import OwnActivity
from watchword.identity.kernel import Kernel
from watchword.web.feature import Feature


def feature(kernel: Kernel) -> Feature:
    """Return what this feature declares."""
    return Feature(
        "activity", ActivityRoutes(OwnActivity(kernel)).table(), "What happened to your account, and from where."
    )
