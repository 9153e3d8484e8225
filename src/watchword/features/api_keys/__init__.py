"""API keys of the caller."""

from __future__ import annotations

from watchword.features.api_keys.routes import ApiKeyRoutes
from watchword.features.api_keys.service import OwnApiKeys
from watchword.identity.kernel import Kernel
from watchword.web.feature import Feature


def feature(kernel: Kernel) -> Feature:
    """Return what this feature declares."""
    return Feature("api_keys", ApiKeyRoutes(OwnApiKeys(kernel)).table(), "Keys for your scripts and jobs.")
