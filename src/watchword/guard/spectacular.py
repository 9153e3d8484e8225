"""Describes `CallerAuthentication` to drf-spectacular. The import registers it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class CallerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes a bearer token, by the same name as the FastAPI adapter."""

    target_class = "watchword.guard.drf.CallerAuthentication"
    match_subclasses = True
    name = "AccessToken"

    def get_security_definition(self, _: Any) -> dict[str, str]:
        """Return the scheme."""
        description = "An access token of the Watchword service."
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description}
