"""The OAuth door: tokens, introspection, revocation, key set and metadata."""

from __future__ import annotations

from watchword.features.oauth.inspection import TokenInspection
from watchword.features.oauth.inspection_routes import InspectionRoutes
from watchword.features.oauth.metadata import MetadataRoutes
from watchword.features.oauth.routes import TokenRoutes
from watchword.features.oauth.service import PASSWORD, TokenEndpoint
from watchword.identity.kernel import Kernel
from watchword.web.feature import Feature

_ABOUT = "The same in the words of OAuth 2.0: for libraries and for machines."


def feature(kernel: Kernel) -> Feature:
    """Return what this feature declares."""
    endpoint = TokenEndpoint(kernel)
    tokens = TokenRoutes(endpoint).table()
    inspection = InspectionRoutes(TokenInspection(kernel)).table()
    flow = "/token" if PASSWORD in endpoint.grants else None
    return Feature("oauth", tokens + inspection + MetadataRoutes(kernel).table(), _ABOUT, password_flow=flow)
