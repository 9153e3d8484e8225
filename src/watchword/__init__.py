"""Watchword: authentication for Python APIs.

    from watchword import Settings, Watchword        the service, by itself or mounted in your application
    from watchword.guard import Guard                for APIs that only verify

The names of the service are loaded when they are first used, so that `watchword.guard` costs nothing of it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watchword.app import TokenUser, Watchword
    from watchword.settings import Settings

__all__ = ["Settings", "TokenUser", "Watchword", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in {"Settings", "TokenUser", "Watchword"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module("watchword.settings" if name == "Settings" else "watchword.app"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "watchword" or missing in sys.stdlib_module_names:
            raise  # a broken installation keeps its traceback
        hint = "in your clone of watchword run `pip install -e '.[server]'`"
        message = f"watchword.{name} needs the server's packages ({missing} is not installed): {hint}"
        raise ModuleNotFoundError(message, name=error.name) from error
