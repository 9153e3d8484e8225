"""The security scheme of `CallerAuthentication` for drf-spectacular, registered by being imported."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class CallerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # it is partly typed
    """A bearer token, under the name that the FastAPI adapter gives it."""

    target_class = "watchword.guard.drf.CallerAuthentication"
    match_subclasses = True
    name = "AccessToken"

    def get_security_definition(self, _: Any) -> dict[str, str]:
        """Describe it for the OpenAPI document."""
        description = "An access token of the Watchword service."
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description}
