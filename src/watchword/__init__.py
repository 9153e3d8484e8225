"""Watchword: authentication for Python APIs.

    from watchword import Settings, Watchword        the service, by itself or mounted in your application
    from watchword.guard import Guard                for APIs that only verify

The names of the service are loaded when they are first used, so that `watchword.guard` costs nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watchword.app import TokenUser, Watchword
    from watchword.settings import Settings

__all__ = ["Settings", "TokenUser", "Watchword", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Watchword":
        from watchword.app import Watchword

        return Watchword
    if name == "TokenUser":
        from watchword.app import TokenUser

        return TokenUser
    if name == "Settings":
        from watchword.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
