"""Forward authentication: reverse proxies ask whether a request may pass."""

from __future__ import annotations

from watchword.features.proxy.routes import ProxyRoutes
from watchword.web.feature import Feature


def feature() -> Feature:
    """Return what this feature declares."""
    return Feature(
        "proxy", ProxyRoutes().table(), "For reverse proxies that ask about every request: nginx, Caddy, Traefik."
    )
