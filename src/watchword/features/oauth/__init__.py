"""The OAuth door: the token endpoint, the key set, and the documents that describe them."""

from __future__ import annotations

from watchword.features.oauth.metadata import MetadataRoutes
from watchword.features.oauth.routes import TokenRoutes
from watchword.features.oauth.service import TokenEndpoint
from watchword.identity.kernel import Kernel
from watchword.web.feature import Feature


def feature(kernel: Kernel) -> Feature:
    """What this feature declares."""
    return Feature("oauth", TokenRoutes(TokenEndpoint(kernel)).table() + MetadataRoutes(kernel).table())
